"""A graph as one vector of generic features: what surrogates of devices that ran whole graphs learn from.

Counts per kind of work and size, work and traffic per kind, of what runs and of what is written: some devices also run
nodes that no output needs. Nothing here is particular to a search space.
"""

from typing import Final

import numpy as np

from fleetfit_operator.predict.graph_table import GraphTable
from fleetfit_operator.predict.kernel_groups import FloatArray, Group

SIZE_BINS: Final = 4
"""Tensors of a graph by size: the largest, half of it, a quarter, smaller."""
_MEGA: Final = 1e6


def graph_vectors(table: GraphTable) -> FloatArray:
    """Return one row of features per graph; columns are the same for every table."""
    columns: list[FloatArray] = []
    bins = _size_bins(table)
    for counts in (table.run, table.written):
        columns.extend(_columns(table, counts, bins))
    columns.append(table.depth)
    return np.column_stack(columns)


def _columns(table: GraphTable, counts: FloatArray, bins: FloatArray) -> list[FloatArray]:
    kernels = table.kernels
    columns: list[FloatArray] = []
    for group in Group:
        of_group = counts * (kernels.group == group)
        columns.extend((of_group * (bins == size)).sum(axis=1) for size in range(SIZE_BINS))
        columns.append(of_group @ kernels.macs / _MEGA)
        columns.append(of_group @ kernels.traffic_bytes / _MEGA)
    columns.append(counts.sum(axis=1))
    columns.append(counts @ kernels.macs / _MEGA)
    columns.append(counts @ kernels.traffic_bytes / _MEGA)
    return columns


def _size_bins(table: GraphTable) -> FloatArray:
    """Return the bin of each kernel's output in each graph."""
    written = np.maximum(1.0, table.kernels.write_bytes)
    used = (table.run + table.written) > 0
    largest = np.where(used, written, 1.0).max(axis=1, keepdims=True, initial=1.0)
    return np.asarray(np.clip(np.floor(np.log2(largest / written) + 0.01), 0, SIZE_BINS - 1))
