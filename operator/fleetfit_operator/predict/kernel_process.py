"""A smooth guess of how well a device does at a kernel: the mean of a Gaussian process over kernels.

Trees are flat between and beyond the sizes that were timed; this bends with the size, so it holds better for families
of networks that nobody timed. Kernels of one kind are alike by their features, those of different kinds only a little.
`kernel_costs` says what the features are; nothing of devices is known here.
"""

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np

from fleetfit_operator.predict.kernel_groups import FloatArray

KINDS: Final = 2
"""The first features that name a kind: the group, and whether it runs on integers."""
_NUMBERS_FROM: Final = 3
_OF_KIND: Final = 0.1
_OF_SIZE: Final = 0.1
_OF_ANY_KIND: Final = 0.05
VARIANCE: Final = _OF_KIND + _OF_SIZE + _OF_ANY_KIND
"""Variance of the logarithm of a factor of which nothing is known."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """Brings features to mean 0 and variance 1.

    Attributes:
        mean: Mean of each feature.
        deviation: Standard deviation of each; infinite where it never changes, which leaves it out.
    """

    mean: FloatArray
    deviation: FloatArray

    @classmethod
    def of(cls, features: FloatArray) -> Self:
        """Return the scaling of the features that some kernels have."""
        numbers = features[:, _NUMBERS_FROM:]
        deviation = numbers.std(axis=0)
        return cls(numbers.mean(axis=0), np.where(deviation > 0, deviation, np.inf))

    def points(self, features: FloatArray) -> FloatArray:
        """Return kernels as points: what kind, then where."""
        count = max(1, int(np.isfinite(self.deviation).sum()))
        scaled = (features[:, _NUMBERS_FROM:] - self.mean) / self.deviation
        return np.hstack([features[:, :KINDS], scaled / np.sqrt(count)])


def covariance(left: FloatArray, right: FloatArray) -> FloatArray:
    """Return the covariance of the logarithms of the factors at points of two lists."""
    same_group = left[:, :1] == right[:, 0]
    same_format = left[:, 1:2] == right[:, 1]
    a, b = left[:, KINDS:], right[:, KINDS:]
    squares = np.maximum((a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T, 0)
    alike = np.exp(-squares / 2)
    of_kind = (same_group & same_format) * (_OF_KIND + _OF_SIZE * alike)
    return np.asarray(of_kind + same_format * (_OF_ANY_KIND * alike))


@dataclass(frozen=True, slots=True)
class KernelProcess:
    """The process of a device, known at some points.

    Attributes:
        scaling: Brings features to points.
        points: Where it is held.
        coefficients: Weight of each of them.
    """

    scaling: Scaling
    points: FloatArray
    coefficients: FloatArray

    def log_factors(self, features: FloatArray) -> FloatArray:
        """Return the expected logarithm of the factor of each kernel."""
        return np.asarray(covariance(self.scaling.points(features), self.points) @ self.coefficients)

    def to_json(self) -> dict[str, Any]:
        """Return the process as a JSON document."""
        return {
            "mean": self.scaling.mean.tolist(),
            "deviation": [each if np.isfinite(each) else None for each in self.scaling.deviation.tolist()],
            "points": self.points.round(4).tolist(),
            "coefficients": self.coefficients.tolist(),
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Return the process of a JSON document."""
        deviation = [np.inf if each is None else each for each in document["deviation"]]
        scaling = Scaling(np.array(document["mean"]), np.array(deviation))
        return cls(scaling, np.array(document["points"]), np.array(document["coefficients"]))
