"""What a known device takes for any graph, summed up from its kernels.

    latency(graph) = call + sum_k count_k * price(kernel_k) * exp(f(kernel_k, graph))

The price is physical (multiply-accumulates, bytes and a fee per kernel, each with a non-negative price of the device),
the factor f is how well the device does at that size, in such company: the mean of LightGBM's guess and that of a
Gaussian process, which err in different ways. All is learnt from whole graphs, so a kernel that was never timed alone
has its cost too. Unlike a surrogate of whole graphs this holds for families nobody measured.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import lightgbm
import numpy as np

from fleetfit_operator.predict.graph_table import GraphTable
from fleetfit_operator.predict.kernel_groups import FloatArray, Group, IntArray, KernelArrays
from fleetfit_operator.predict.kernel_process import KernelProcess

_HEAVY: Final = (Group.CONVOLUTION, Group.POINTWISE, Group.DEPTHWISE, Group.MATRIX, Group.PRODUCT)
_LIGHT: Final = tuple(group for group in Group if group not in _HEAVY)
_LANES: Final = 16
SMALLEST_PRICE_S: Final = 2e-7
FACTOR_LIMIT: Final = 2.0
"""Largest absolute logarithm of a kernel's factor: strange input gets a sober answer."""
FEATURE_NAMES: Final = (
    "kind of kernel", "int8", "16-bit floats", "rows", "depth", "columns", "groups", "window", "stride",
    "multiply-accumulates", "bytes read", "bytes of weights", "bytes written", "work per byte", "columns fill lanes",
    "inputs fill lanes", "weights of the graph", "tensors of the graph", "kernels of the graph",
    "convolutions that fill lanes",
)  # fmt: skip
LARGER_IS_SLOWER: Final = frozenset({"weights of the graph"})
"""Features whose factor may only rise: what does not fit into a cache is read from further away."""


class Counting(StrEnum):
    """Which kernels of a graph a device runs."""

    RUN = "run"
    LAUNCHED = "launched"
    COMPILED = "compiled"

    def of(self, table: GraphTable) -> FloatArray:
        """Return how often each kernel runs, by graph and kernel."""
        return {"run": table.run, "launched": table.launched, "compiled": table.compiled}[self]


def kernel_terms(kernels: KernelArrays) -> FloatArray:
    """Return the physical terms of each kernel, one row each."""
    columns = [(~kernels.free).astype(np.float64)]
    for integer in (False, True):
        columns += [
            kernels.macs * (kernels.group == group) * (kernels.integer == integer) for group in _HEAVY
        ]
        moved = (kernels.read_bytes + kernels.write_bytes) * (kernels.integer == integer)
        columns += [moved * (kernels.group == group) for group in _LIGHT]
        columns.append(moved * np.isin(kernels.group, _HEAVY))
    columns.append(kernels.weight_bytes)
    columns.append(kernels.traffic_bytes * kernels.half)
    return np.column_stack(columns)


@dataclass(frozen=True, slots=True)
class KernelRows:
    """Every kernel of every graph as one row.

    Attributes:
        graph: Row of the graph in its table.
        kernel: Kernel in the table.
        count: How often it runs there.
        features: What its factor is predicted from, in the order of FEATURE_NAMES.
    """

    graph: IntArray
    kernel: IntArray
    count: FloatArray
    features: FloatArray

    @classmethod
    def of(cls, table: GraphTable, counting: Counting) -> "KernelRows":
        """Return the rows of a table."""
        counts = counting.of(table)
        graph, kernel = np.nonzero(counts)
        described, company = _described(table.kernels), _company(table, counts)
        return cls(graph, kernel, counts[graph, kernel], np.hstack([described[kernel], company[graph]]))


def _described(kernels: KernelArrays) -> FloatArray:
    rows, depth, columns, groups, window, stride = kernels.sizes.T
    log_macs, log_bytes = np.log1p(kernels.macs), np.log1p(kernels.traffic_bytes)
    return np.column_stack(
        [
            kernels.group, kernels.integer, kernels.half, np.log1p(rows), np.log1p(depth), np.log1p(columns),
            np.log1p(groups), window, stride, log_macs, np.log1p(kernels.read_bytes), np.log1p(kernels.weight_bytes),
            np.log1p(kernels.write_bytes), log_macs - log_bytes, columns % _LANES == 0,
            (depth // np.maximum(1, window)) % _LANES == 0,
        ]
    ).astype(np.float64)  # fmt: skip


def _company(table: GraphTable, counts: FloatArray) -> FloatArray:
    """Return what a kernel's company is like, one row per graph."""
    kernels = table.kernels
    _, depth, columns, _, window, _ = kernels.sizes.T
    convolves = np.isin(kernels.group, (Group.CONVOLUTION, Group.POINTWISE))
    fills = convolves & (columns % _LANES == 0) & ((depth // np.maximum(1, window)) % _LANES == 0)
    share = (counts @ fills) / np.maximum(1.0, counts @ convolves)
    return np.column_stack(
        [np.log1p(table.weight_bytes), np.log1p(table.peak_bytes), np.log1p(counts.sum(axis=1)), share]
    )


@dataclass(frozen=True, slots=True)
class KernelCosts:
    """A known device.

    Attributes:
        call_s: Seconds of a call, whatever the graph.
        prices: Seconds per unit of each physical term.
        booster: Predicts the logarithm of a kernel's factor; None for a device of which only prices are known.
        counting: Which kernels of a graph it runs.
        process: Predicts the same logarithm; half of each counts.
    """

    call_s: float
    prices: FloatArray
    booster: lightgbm.Booster | None
    counting: Counting = Counting.RUN
    process: KernelProcess | None = None

    def log_latency(self, table: GraphTable) -> FloatArray:
        """Return the logarithm of the seconds that graphs take."""
        rows = KernelRows.of(table, self.counting)
        costs = self._row_costs(table, rows)
        return np.asarray(np.log(self.call_s + np.bincount(rows.graph, costs, minlength=len(table))))

    def contributions(self, table: GraphTable) -> FloatArray:
        """Return what each feature does to the logarithm of each graph's latency, in the order of FEATURE_NAMES.

        They are those of the booster's guess. A kernel's contributions count by its share in the graph's latency.
        """
        rows = KernelRows.of(table, self.counting)
        result = np.zeros((len(table), len(FEATURE_NAMES)))
        if self.booster is None or not len(rows.graph):
            return result
        costs = self._row_costs(table, rows)
        totals = self.call_s + np.bincount(rows.graph, costs, minlength=len(table))
        parts = np.asarray(self.booster.predict(rows.features, pred_contrib=True, num_threads=1))[:, :-1]
        guesses = 1 if self.process is None else 2
        np.add.at(result, rows.graph, parts / guesses * (costs / totals[rows.graph])[:, None])
        return result

    def _row_costs(self, table: GraphTable, rows: KernelRows) -> FloatArray:
        prices = kernel_terms(table.kernels) @ self.prices + SMALLEST_PRICE_S
        guesses = [np.zeros(len(rows.graph))]
        if self.booster is not None and len(rows.graph):
            guesses = [np.asarray(self.booster.predict(rows.features, num_threads=1))]
        if self.process is not None:
            guesses.append(self.process.log_factors(rows.features))
        factors = np.mean(guesses, axis=0)
        return np.asarray(
            rows.count * prices[rows.kernel] * np.exp(np.clip(factors, -FACTOR_LIMIT, FACTOR_LIMIT))
        )
