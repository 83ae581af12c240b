"""Fits the smooth guess of kernels' factors to the times of whole graphs.

The logarithm of a graph's latency is linear in the factors' logarithms for small steps, with the kernels' shares in
the latency as weights. So the process is fitted in a few such steps. It is held at those points that tell the most of
all others (a Cholesky decomposition with pivots), which keeps the model small.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from fleetfit_operator.predict.kernel_costs import FACTOR_LIMIT
from fleetfit_operator.predict.kernel_groups import FloatArray, IntArray
from fleetfit_operator.predict.kernel_process import VARIANCE, KernelProcess, Scaling, covariance
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from scipy.sparse import csr_matrix

_POINTS: Final = 512
_STEPS: Final = 3
_NOISE: Final = 0.004
"""Variance of the logarithm of a graph's latency that kernels do not explain."""
_JITTER: Final = 1e-4
_SMALLEST_VARIANCE: Final = 1e-3
_DIGITS: Final = 5


@dataclass(frozen=True, slots=True)
class PricedKernels:
    """Kernels of graphs before their factors are known.

    Attributes:
        graph: Graph of each kernel.
        features: What its factor hangs on.
        base_s: Seconds without a factor.
        call_s: Seconds of a call.
    """

    graph: IntArray
    features: FloatArray
    base_s: FloatArray
    call_s: float


def fit_process(kernels: PricedKernels, latency_s: FloatArray) -> KernelProcess:
    """Return the process of the device that took `latency_s` for the graphs."""
    distinct, position = np.unique(kernels.features.round(_DIGITS), axis=0, return_inverse=True)
    position = position.ravel()
    scaling = Scaling.of(kernels.features)
    points = scaling.points(distinct)
    chosen = points[_telling(points)]
    root = cholesky(covariance(chosen, chosen) + _JITTER * np.eye(len(chosen)), lower=True)
    basis = solve_triangular(root, covariance(points, chosen).T, lower=True).T
    weights = np.zeros(len(chosen))
    for _ in range(_STEPS):
        factors = np.clip(basis @ weights, -FACTOR_LIMIT, FACTOR_LIMIT)
        costs = kernels.base_s * np.exp(factors[position])
        totals = kernels.call_s + np.bincount(kernels.graph, costs, minlength=len(latency_s))
        shares = csr_matrix(
            (costs / totals[kernels.graph], (kernels.graph, position)), shape=(len(totals), len(points))
        )
        slopes = shares @ basis
        wanted = np.log(latency_s) - np.log(totals) + slopes @ weights
        spread = cho_factor(slopes @ slopes.T + _NOISE * np.eye(len(totals)), lower=True)
        weights = slopes.T @ cho_solve(spread, wanted)
    return KernelProcess(scaling, chosen, solve_triangular(root.T, weights, lower=False))


def _telling(points: FloatArray) -> IntArray:
    """Return the points that tell the most of all: each step takes the one of which the least is known."""
    left = np.full(len(points), VARIANCE)
    columns = np.zeros((min(_POINTS, len(points)), len(points)))
    chosen: list[int] = []
    while len(chosen) < len(columns):
        best = int(np.argmax(left))
        if left[best] < _SMALLEST_VARIANCE:
            break
        known = columns[: len(chosen)]
        column = covariance(points, points[best : best + 1])[:, 0] - known.T @ known[:, best]
        columns[len(chosen)] = column / np.sqrt(left[best])
        left = np.maximum(left - columns[len(chosen)] ** 2, 0)
        left[best] = 0
        chosen.append(best)
    return np.array(chosen)
