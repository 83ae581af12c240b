"""Which networks make the best reference set: those whose times tell the most about all others.

A device is taken to be known by the prices of the physical terms of kernels and of a call, each unknown by a factor of
e. To first order the logarithm of a graph's latency then hangs on the logarithms of the prices by each one's share in
the latency, so reading graphs is a linear experiment, and every set of them leaves an expected variance of all others
(Bayesian A-optimal design; Chaloner and Verdinelli, Statistical Science 1995). Networks are taken greedily, each the
one that leaves the least. Only features and usual prices enter, and no latencies of networks that are tested on.

Knows nothing of files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from fleetfit_api.suite import Precision
from fleetfit_operator.predict.graph_table import GraphTable
from fleetfit_operator.predict.kernel_costs import kernel_terms
from fleetfit_operator.predict.kernel_groups import FloatArray

from fleetfit_training.graph_set import TrainingGraph
from fleetfit_training.kernel_chains import KERNEL_CHAINS
from fleetfit_training.kernel_fit import fit_prices
from fleetfit_training.network_families import NETWORK_FAMILIES
from fleetfit_training.random_networks import RANDOM_FAMILIES
from fleetfit_training.training_data import TrainingData

READING_VARIANCE: Final = 0.05**2
_CANDIDATE_FAMILIES: Final = KERNEL_CHAINS.keys() | RANDOM_FAMILIES.keys()
_SMALLEST_PRICE: Final = 1e-15


@dataclass(frozen=True, slots=True)
class UsualCosts:
    """What graphs cost on the usual device.

    Attributes:
        latency_s: Seconds of each graph; not a number where no device has timed it.
        prices: Price of each physical term of kernels.
        call_s: Seconds of a call.
    """

    latency_s: FloatArray
    prices: FloatArray
    call_s: float

    @staticmethod
    def of(data: TrainingData) -> "UsualCosts":
        """Return the middle of the devices that were measured, by logarithm."""
        log_s = np.log([each.mean_s for each in data.devices])
        timed = np.isfinite(log_s).any(axis=0)
        latency_s = np.full(len(data.names), np.nan)
        latency_s[timed] = np.exp(np.nanmedian(log_s[:, timed], axis=0))
        fits = [fit_prices(data.table.rows(each.timed), each.mean_s[each.timed]) for each in data.devices]
        prices = np.maximum([each for _, each in fits], _SMALLEST_PRICE)
        return UsualCosts(
            latency_s, np.exp(np.log(prices).mean(axis=0)), float(np.median([call_s for call_s, _ in fits]))
        )


class ReferenceDesign:
    """The experiment of reading some of the graphs.

    Args:
        graphs: The graph set.
        table: Its features.
        usual: What it costs on the usual device.
    """

    def __init__(self, graphs: Sequence[TrainingGraph], table: GraphTable, usual: UsualCosts) -> None:
        costs = table.run @ (kernel_terms(table.kernels) * usual.prices)
        shares = np.hstack([costs, np.full((len(table), 1), usual.call_s)])
        self._shares: FloatArray = shares / shares.sum(axis=1, keepdims=True)
        self._row = {graph.name: row for row, graph in enumerate(graphs)}
        self._names = [graph.name for graph in graphs]
        # What the predictor is tested on teaches nothing here.
        taught = ~np.isin([graph.family for graph in graphs], list(NETWORK_FAMILIES))
        self._targets: FloatArray = self._shares[taught]
        self._usable: npt.NDArray[np.bool_] = np.array([_is_safe(graph) for graph in graphs])
        self._latency_s = usual.latency_s

    def choose(self, count: int, longest_s: float) -> list[str]:
        """Return the names of the chosen graphs, the most telling first; ties go to the first of the set.

        Args:
            count: How many.
            longest_s: Longest usual time of one, in seconds.

        Raises:
            ValueError: there are not so many that are short enough.
        """
        candidates = self._rows(longest_s)
        if len(candidates) < count:
            raise ValueError(
                f"only {len(candidates)} graphs take at most {longest_s:g} s, {count} are wanted"
            )
        uncertain = np.eye(self._shares.shape[1])
        chosen: list[int] = []
        for _ in range(count):
            free = candidates[~np.isin(candidates, chosen)]
            chosen.append(int(free[np.argmax(self._gains(uncertain, free))]))
            uncertain = _after(uncertain, self._shares[chosen[-1]])
        return [self._names[row] for row in chosen]

    def candidates(self, longest_s: float) -> list[str]:
        """Return the names of the graphs that may be chosen: which every provider runs, in at most so many seconds."""
        return [self._names[row] for row in self._rows(longest_s)]

    def left_unknown(self, names: Sequence[str]) -> float:
        """Return the part of the expected variance of all graphs that remains once these have been read, 0 to 1.

        Raises:
            KeyError: there is no graph of that name.
        """
        before = uncertain = np.eye(self._shares.shape[1])
        for name in names:
            uncertain = _after(uncertain, self._shares[self._row[name]])
        return self._variance(uncertain) / self._variance(before)

    def _rows(self, longest_s: float) -> npt.NDArray[np.int64]:
        return np.flatnonzero(self._usable & (self._latency_s <= longest_s))

    def _gains(self, uncertain: FloatArray, rows: npt.NDArray[np.int64]) -> FloatArray:
        """Return by how much reading each of some graphs cuts the mean variance of the targets."""
        directions = self._shares[rows] @ uncertain
        read = READING_VARIANCE + np.einsum("ij,ij->i", directions, self._shares[rows])
        gains: FloatArray = np.mean((self._targets @ directions.T) ** 2, axis=0) / read
        return gains

    def _variance(self, uncertain: FloatArray) -> float:
        return float(np.mean(np.einsum("ij,jk,ik->i", self._targets, uncertain, self._targets)))


def _after(uncertain: FloatArray, share: FloatArray) -> FloatArray:
    """Return the covariance of the prices once a graph with these shares has been read."""
    direction = uncertain @ share
    left: FloatArray = uncertain - np.outer(direction, direction) / (READING_VARIANCE + share @ direction)
    return left


def _is_safe(graph: TrainingGraph) -> bool:
    """Return whether every provider that was tried runs the graph; OpenVINO 1.24 crashes on some int8 tokens."""
    risky = graph.family == "random-tokens" and graph.precision is not Precision.FP32
    return graph.family in _CANDIDATE_FAMILIES and not risky
