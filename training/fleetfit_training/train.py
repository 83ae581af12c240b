"""Trains the shipped predictor and says how good it is: `fleetfit train`.

Reads measurements, prints errors on settings and families that were held out, and writes the model. The same data gives
the same model. Takes about four minutes.
"""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from fleetfit_operator.predict.assumed_graph import AssumedGraph
from fleetfit_operator.predict.kernel_costs import KernelCosts, kernel_terms
from fleetfit_operator.predict.kernel_groups import FloatArray
from fleetfit_operator.predict.known_devices import KnownDevices
from fleetfit_operator.predict.model_metadata import IntervalScale, ModelMetadata
from fleetfit_operator.predict.reference_set import REFERENCE_SET_FILE, ReferenceSet
from fleetfit_runtime.probe.networks import REFERENCE_NETWORKS

from fleetfit_training.evaluation import (
    Costs,
    HeldOut,
    hold_out,
    interval_factor,
    known_devices,
    learn_costs,
    learn_costs_by_family,
    scores,
)
from fleetfit_training.kernel_fit import fit_prices
from fleetfit_training.memory import fit_memory
from fleetfit_training.nasbench201 import read_nasbench
from fleetfit_training.network_families import NETWORK_FAMILIES
from fleetfit_training.reference_networks import FEATURES_PATH
from fleetfit_training.training_data import TrainingData, data_digest, read_training_data

INTERVAL_FLOOR: Final = 0.05
_FEW_READINGS: Final = 5


def run(arguments: argparse.Namespace) -> None:
    """Evaluate, train on everything and write the model.

    Args:
        arguments: `data`, the directory of measurements, and `output`, where the model is written.
    """
    data = read_training_data(arguments.data)
    references = data.rows(REFERENCE_NETWORKS)
    costs, without_family = learn_costs(data), learn_costs_by_family(data)
    held_out = {
        "unseen_setting": list(hold_out(data, references, dict.fromkeys(NETWORK_FAMILIES, costs))),
        "unseen_family": list(hold_out(data, references, without_family)),
    }
    figures = {name: scores(results) for name, results in held_out.items()}
    for name, each in figures.items():
        print(name, each, file=sys.stderr)  # noqa: T201 - a command's report
    known = learn_devices(data, costs, arguments.data)
    few = list(hold_out(data, references[:_FEW_READINGS], without_family))
    metadata = ModelMetadata(
        data_digest=data_digest(arguments.data),
        trained_on=datetime.now(UTC).date(),
        set_version=ReferenceSet.load(FEATURES_PATH.parent).version,
        tail_ratio=float(np.nanmedian([np.nanmedian(each.p95_s / each.mean_s) for each in data.devices])),
        intervals=(_scale(_FEW_READINGS, few), _scale(len(references), held_out["unseen_family"])),
        memory=fit_memory(data, arguments.data),
        assumed_graph=assumed_graph(data),
        sources={device.name: device.measured_on for device in data.devices}
        | {"nasbench201": "public latencies of 27 devices, MIT licence"},
        scores=figures,
    )
    write_model(arguments.output, known, metadata)


def write_model(output: Path, known: KnownDevices, metadata: ModelMetadata) -> None:
    """Write the model's files; the reference set's features are copied beside them."""
    output.mkdir(parents=True, exist_ok=True)
    known.write(output)
    (output / "metadata.json").write_text(metadata.model_dump_json(indent=1) + "\n")
    target = output / REFERENCE_SET_FILE
    if target.resolve() != FEATURES_PATH.resolve():
        target.write_text(FEATURES_PATH.read_text())


def learn_devices(data: TrainingData, settings: Costs, directory: Path) -> KnownDevices:
    """Return all known devices: settings that timed the graph set, then the public ones."""
    costs = dict(settings)
    measured = known_devices(data, costs)
    for name, each in public_devices(
        directory, np.array([each.prices for each in settings.values()])
    ).items():
        costs[f"nasbench201/{name}"] = each
    leaders = np.arange(len(costs)) < len(measured.names)
    return KnownDevices(tuple(costs), tuple(costs.values()), leaders, measured.term_prices)


def public_devices(directory: Path, known_prices: FloatArray) -> dict[str, KernelCosts]:
    """Return what kernels cost on the public devices.

    They ran one search space only: prices of terms that it does not have are those of known devices, in the proportion
    of the prices that both have.
    """
    public = read_nasbench(directory / "nasbench201")
    live = np.flatnonzero(~public.cut_off)[::10]
    table = public.graphs.rows(live)
    present = (table.run @ kernel_terms(table.kernels)).max(axis=0) > 0
    usual = np.exp(np.log(np.maximum(known_prices, 1e-15)).mean(axis=0))
    devices = {}
    for name in public.devices:
        call_s, prices = fit_prices(table, public.column(name)[live])
        shared = present & (prices > 0)
        ratio = np.exp(np.median(np.log(prices[shared] / usual[shared])))
        devices[name] = KernelCosts(call_s, np.where(present, prices, usual * ratio), None)
    return devices


def assumed_graph(data: TrainingData) -> AssumedGraph:
    """Return the usual graph for a number of weights."""
    table = data.table
    macs, weights = table.run @ table.kernels.macs, np.maximum(4.0, table.weight_bytes)
    written = table.run @ table.kernels.write_bytes
    return AssumedGraph(
        macs_per_parameter=float(np.median(4 * macs / weights)),
        activation_bytes_per_parameter=float(np.median(4 * written / weights)),
        kernel_count=round(float(np.median(table.run.sum(axis=1)))),
    )


def _scale(readings: int, results: list[HeldOut]) -> IntervalScale:
    errors = np.concatenate([each.predicted_log - each.measured_log for each in results])
    spreads = np.concatenate([each.spread for each in results])
    factor = interval_factor(errors, spreads, INTERVAL_FLOOR)
    return IntervalScale(readings=readings, factor=factor, floor=INTERVAL_FLOOR)
