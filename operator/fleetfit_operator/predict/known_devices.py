"""The devices that the predictor knows: what their kernels cost, as `fleetfit train` writes it."""

import gzip
import json
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final, Self

import lightgbm
import numpy as np

from fleetfit_operator.predict.graph_table import GraphTable
from fleetfit_operator.predict.kernel_costs import Counting, KernelCosts
from fleetfit_operator.predict.kernel_groups import BoolArray, FloatArray
from fleetfit_operator.predict.kernel_process import KernelProcess
from fleetfit_operator.predict.mixture import Columns
from fleetfit_operator.predict.physical_terms import run_terms

DEVICES_FILE: Final = "devices.json.gz"


@dataclass(frozen=True, slots=True)
class KnownDevices:
    """Known devices.

    Attributes:
        names: Their names.
        costs: What kernels cost on each.
        leaders: Which of them ran graphs of every kind in ONNX Runtime; only these share in the mix that a new device
            is held to.
        term_prices: Usual seconds per unit of each physical term.
    """

    names: tuple[str, ...]
    costs: tuple[KernelCosts, ...]
    leaders: BoolArray
    term_prices: FloatArray

    def log_latency(self, table: GraphTable) -> FloatArray:
        """Return the logarithm of seconds by graph and device."""
        return np.column_stack([each.log_latency(table) for each in self.costs])

    def columns(self, table: GraphTable) -> Columns:
        """Return what a new device is mixed of, for some graphs."""
        terms = run_terms(table)
        return Columns(
            devices=np.exp(self.log_latency(table)),
            terms=terms,
            optional=np.zeros(terms.shape[1], dtype=bool),
            leaders=self.leaders,
            usual_prices=self.term_prices,
        )

    def write(self, directory: Path) -> None:
        """Write the devices; the same devices give the same file."""
        devices = [
            {
                "name": name,
                "leader": bool(leader),
                "counting": costs.counting,
                "callSeconds": costs.call_s,
                "prices": costs.prices.tolist(),
                "process": costs.process.to_json() if costs.process else None,
                "booster": costs.booster.model_to_string() if costs.booster else None,
            }
            for name, leader, costs in zip(self.names, self.leaders, self.costs, strict=True)
        ]
        content = {"termPrices": self.term_prices.tolist(), "devices": devices}
        (directory / DEVICES_FILE).write_bytes(gzip.compress(json.dumps(content).encode(), mtime=0))

    @classmethod
    def load(cls, directory: Traversable) -> Self:
        """Load what `write` wrote."""
        document: dict[str, Any] = json.loads(gzip.decompress((directory / DEVICES_FILE).read_bytes()))
        content = document["devices"]
        return cls(
            names=tuple(each["name"] for each in content),
            costs=tuple(
                KernelCosts(
                    each["callSeconds"],
                    np.array(each["prices"]),
                    lightgbm.Booster(model_str=each["booster"]) if each["booster"] else None,
                    Counting(each["counting"]),
                    KernelProcess.from_json(each["process"]) if each["process"] else None,
                )
                for each in content
            ),
            leaders=np.array([each["leader"] for each in content], dtype=bool),
            term_prices=np.array(document["termPrices"]),
        )
