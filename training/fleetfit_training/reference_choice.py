"""Chooses the graphs whose times tell the most about all others, on what known devices say of them.

A Bayesian design (Chaloner and Verdinelli, Statistical Science 1995): before anything is read, the logarithm of a new
device's latency is the usual one plus an unknown scale, plus deviations like those of the known devices, plus physical
costs whose prices are unknown by a factor of e. The last keep a device in view that is unlike all known ones. Greedily,
each step takes the graph that leaves the smallest standard deviation of all, on average.
"""

from typing import Final

import numpy as np
from fleetfit_operator.predict.kernel_groups import FloatArray, IntArray
from scipy.optimize import nnls

_READING_VARIANCE: Final = 0.003
_PRICE_RIDGE: Final = 0.03
_UNSEEN_SHARE: Final = 0.1
"""Share of the latency that a physical cost is given which the usual device has no price for."""


def choose_references(log_devices: FloatArray, terms: FloatArray, count: int) -> IntArray:
    """Return the rows of the chosen graphs, the most telling first.

    Args:
        log_devices: Logarithms of seconds on the known devices, by graph and device.
        terms: Physical costs, by graph and term.
        count: Number of graphs to choose.
    """
    directions = _directions(log_devices, terms)
    covariance = np.eye(directions.shape[1])
    chosen: list[int] = []
    while len(chosen) < count:
        of_graphs = directions @ covariance
        variances = np.einsum("ij,ij->i", of_graphs, directions)
        between = of_graphs @ directions.T
        left = variances[:, None] - between**2 / (variances + _READING_VARIANCE)
        deviations = np.sqrt(np.maximum(left, 0.0)).sum(axis=0)
        deviations[chosen] = np.inf
        best = int(np.argmin(deviations))
        chosen.append(best)
        shift = covariance @ directions[best]
        covariance = covariance - np.outer(shift, shift) / (variances[best] + _READING_VARIANCE)
    return np.array(chosen)


def _directions(log_devices: FloatArray, terms: FloatArray) -> FloatArray:
    """Return in what ways a device's logarithm of latency can deviate, one column each, in standard deviations."""
    level = np.ones((len(log_devices), 1))
    deviations = log_devices - log_devices.mean(axis=0)
    deviations = deviations - deviations.mean(axis=1, keepdims=True)
    shares = _shares(terms / np.exp(log_devices.mean(axis=1, keepdims=True)))
    return np.hstack([level, deviations / np.sqrt(max(1, log_devices.shape[1] - 1)), shares])


def _shares(relative: FloatArray) -> FloatArray:
    """Return the share of each physical cost in the usual latency of each graph."""
    largest = relative.max(axis=0)
    used = relative[:, largest > 0] / largest[largest > 0]
    count = used.shape[1]
    stacked = np.vstack([used, _PRICE_RIDGE * np.eye(count)])
    prices, _ = nnls(stacked, np.concatenate([np.ones(len(used)), np.zeros(count)]))
    return np.asarray(used * np.where(prices > 0, prices, _UNSEEN_SHARE / used.mean(axis=0)))
