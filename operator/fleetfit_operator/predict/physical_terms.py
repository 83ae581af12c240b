"""The physical cost of a graph as a vector: what a device has to do, whatever device it is.

A device's latency is close to a non-negative mix of these terms. They carry the prediction for a device unlike all
known ones. Units are multiply-accumulates, bytes and counts; prices come from the device's readings.
"""

import numpy as np

from fleetfit_operator.predict.graph_table import GraphTable
from fleetfit_operator.predict.kernel_groups import BoolArray, FloatArray, Group

_HEAVY = (Group.CONVOLUTION, Group.POINTWISE, Group.DEPTHWISE, Group.MATRIX, Group.PRODUCT)
_ELEMENTWISE = (Group.POOL, Group.BINARY, Group.ACTIVATION)


def run_terms(table: GraphTable) -> FloatArray:
    """Return the terms of what runs of each graph, one row each."""
    return np.hstack([_terms(table, table.run), table.depth[:, None], np.ones((len(table), 1))])


def written_terms(table: GraphTable) -> tuple[FloatArray, BoolArray]:
    """Return the terms of each graph as it is written, then those of what runs, and which of them are the latter.

    For devices that may also run what no output needs; the terms of what runs are optional for a mix.
    """
    written = np.hstack([_terms(table, table.written), table.depth[:, None], np.ones((len(table), 1))])
    running = _terms(table, table.run)
    return np.hstack([written, running]), np.arange(written.shape[1] + running.shape[1]) >= written.shape[1]


def _terms(table: GraphTable, counts: FloatArray) -> FloatArray:
    kernels = table.kernels
    is_heavy, is_light = np.isin(kernels.group, _HEAVY), np.isin(kernels.group, _ELEMENTWISE)
    columns = [
        counts @ (kernels.macs * (kernels.group == group) * (kernels.integer == integer))
        for group in _HEAVY
        for integer in (False, True)
    ]
    columns += [
        counts @ kernels.traffic_bytes,
        counts @ (kernels.traffic_bytes * is_light),
        counts @ (kernels.traffic_bytes * kernels.half),
        counts @ (~kernels.free).astype(np.float64),
        counts @ is_heavy.astype(np.float64),
        counts @ (kernels.group == Group.POOL).astype(np.float64),
    ]
    return np.column_stack(columns)
