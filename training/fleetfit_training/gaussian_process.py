"""Regression by a Gaussian process with a linear and a squared exponential part.

Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, algorithm 2.1; hyperparameters are the
best of a small grid by marginal likelihood. For some hundred to a thousand points.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final, Self

import numpy as np
from fleetfit_operator.predict.kernel_groups import FloatArray
from scipy.linalg import cho_factor, cho_solve

_LENGTHS: Final = (0.5, 1.0, 2.0, 4.0)
_NOISES: Final = (0.001, 0.003, 0.01, 0.05, 0.2)
_LINEAR: Final = (0.0, 1.0)
_CHUNK_ROWS: Final = 4000


@dataclass(frozen=True, slots=True)
class _Covariance:
    """Prior covariance; `length` is in standard deviations of the features, per dimension."""

    length: float
    linear: float

    def between(self, left: FloatArray, right: FloatArray) -> FloatArray:
        dimensions = left.shape[1]
        inner = left @ right.T
        squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * inner
        radial = np.exp(-np.maximum(squares, 0.0) / (2 * self.length**2 * dimensions))
        return np.asarray(radial + self.linear * inner / dimensions)


@dataclass(frozen=True, slots=True)
class GaussianProcess:
    """A fitted process: its mean is a weighted sum of covariances with the points."""

    points: FloatArray
    weights: FloatArray
    covariance: _Covariance
    centre: FloatArray
    scale: FloatArray
    mean: float
    deviation: float

    @classmethod
    def fit(cls, features: FloatArray, targets: FloatArray) -> Self:
        """Return the process through the points; constant features are ignored."""
        centre, scale = features.mean(axis=0), features.std(axis=0)
        scale = np.where(scale > 0, scale, np.inf)
        points = (features - centre) / scale
        points = points[:, np.isfinite(scale)]
        mean, deviation = float(targets.mean()), float(targets.std()) or 1.0
        normal = (targets - mean) / deviation
        _, covariance, weights = min(_candidates(points, normal), key=lambda candidate: candidate[0])
        return cls(points, weights, covariance, centre, scale, mean, deviation)

    def predict(self, features: FloatArray) -> FloatArray:
        """Return the mean of the process at each row."""
        points = ((features - self.centre) / self.scale)[:, np.isfinite(self.scale)]
        parts = [
            self.covariance.between(points[begin : begin + _CHUNK_ROWS], self.points) @ self.weights
            for begin in range(0, len(points), _CHUNK_ROWS)
        ]
        return np.asarray(np.concatenate(parts) * self.deviation + self.mean)


def _candidates(points: FloatArray, normal: FloatArray) -> Iterator[tuple[float, _Covariance, FloatArray]]:
    """Yield negative log marginal likelihood, covariance and weights for each point of the grid."""
    for length, linear in product(_LENGTHS, _LINEAR):
        covariance = _Covariance(length, linear)
        prior = covariance.between(points, points)
        for noise in _NOISES:
            factor = cho_factor(prior + noise * np.eye(len(points)), lower=True)
            weights = cho_solve(factor, normal)
            likelihood = 0.5 * normal @ weights + np.log(np.diag(factor[0])).sum()
            yield float(likelihood), covariance, weights
