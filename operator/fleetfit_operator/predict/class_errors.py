"""What the nodes of one hardware class together say about the predictor's errors; see `calibration` for the model.

Without names of nodes and without predictions. Errors are logarithms of measured over predicted latency, in two
columns: of the 95th percentile, which everything is decided by, and of the median.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import sqrt
from typing import Final

import numpy as np

from fleetfit_operator.predict.class_spread import (
    WITHIN_CLASS_SHARE,
    Spread,
    VariantTimings,
    estimated_spread,
)

# Of what the predictor can be wrong by, at least this is taken to be common to the class.
_SMALLEST_CLASS_SHARE: Final = 0.5
# Errors further from the class's median than this many robust standard deviations teach the class no more than these:
# a faulty node must not move its class. What noise and the assumed spread explain is never far, since among few nodes
# some are near each other by chance; fewer than 3 nodes have no median to speak of.
_FARTHEST: Final = 3.0
_FEWEST_FOR_MEDIAN: Final = 3
_MAD_TO_SD: Final = 1.4826


@dataclass(frozen=True, slots=True)
class ClassError:
    """The log error of one variant that the nodes of a class have in common.

    Attributes:
        nodes: Nodes that have timed it.
        weight: Sum of their weights, each 1 over the variance of its error around the common one.
        weighted_p95: Sum of weight times error of the p95.
        weighted_p50: Sum of weight times error of the median.
        prior: Variance of the common error before anything was timed.
    """

    nodes: int
    weight: float
    weighted_p95: float
    weighted_p50: float
    prior: float

    @property
    def variance(self) -> float:
        """Variance of the common error after what was timed."""
        return 1.0 / (self.weight + 1.0 / self.prior)

    @property
    def p95(self) -> float:
        """The common log error of the p95: between 0 and what was timed."""
        return self.weighted_p95 * self.variance

    @property
    def p50(self) -> float:
        """The common log error of the median."""
        return self.weighted_p50 * self.variance

    @property
    def sigmas(self) -> float:
        """The mean error as timed, in standard deviations that the predictor claims for it."""
        if self.weight <= 0:
            return 0.0
        return self.weighted_p95 / self.weight / sqrt(self.prior + 1.0 / self.weight)

    def without(self, weight: float, errors: tuple[float, float]) -> "ClassError":
        """Return what the other nodes say, given what one of them has added."""
        if self.nodes <= 1:
            return ClassError(0, 0.0, 0.0, 0.0, self.prior)
        return ClassError(
            self.nodes - 1,
            max(0.0, self.weight - weight),
            self.weighted_p95 - weight * errors[0],
            self.weighted_p50 - weight * errors[1],
            self.prior,
        )


@dataclass(frozen=True, slots=True)
class ClassErrors:
    """What the nodes of a class say.

    Attributes:
        spread: How unlike they are.
        by_variant: The common errors of the variants that at least one of them has timed.
    """

    spread: Spread
    by_variant: Mapping[str, ClassError]


def class_errors(timings: Mapping[str, VariantTimings]) -> ClassErrors:
    """Return what the timings of a class say; errors are taken as `tamed` leaves them."""
    spread = estimated_spread(list(timings.values()))
    return ClassErrors(spread, {name: _common(each, spread) for name, each in timings.items()})


def tamed(timings: VariantTimings) -> VariantTimings:
    """Return the timings with errors that are far from the median drawn near."""
    errors = timings.errors
    if len(errors) < _FEWEST_FOR_MEDIAN:
        return timings
    middle = np.median(errors, axis=0)
    seen = _MAD_TO_SD * np.median(np.abs(errors - middle), axis=0)
    explained = sqrt(float(np.median(timings.noise)) + WITHIN_CLASS_SHARE * timings.prior)
    reach = _FARTHEST * np.maximum(seen, explained)
    return replace(timings, errors=np.clip(errors, middle - reach, middle + reach))


def weight_of(noise: float, spread: Spread) -> float:
    """Return what one node's error of this noise counts in its class."""
    return 1.0 / (spread.between + noise)


def _common(timings: VariantTimings, spread: Spread) -> ClassError:
    weights = 1.0 / (spread.between + timings.noise)
    sums = weights @ timings.errors
    prior = max(timings.prior - spread.between, _SMALLEST_CLASS_SHARE * timings.prior)
    return ClassError(len(weights), float(weights.sum()), float(sums[0]), float(sums[1]), prior)
