"""The quality of experience that a variant gives the users of a node, by a formula; ratings move it from there.

    QoE = (accuracy / best accuracy of the suite)       ** accuracy weight
        * min(1, latency target / latency at percentile) ** latency weight
        * min(1, energy target / energy)                 ** energy weight
        * min(1, memory target / memory)                 ** memory weight

It is 1 for the most accurate variant that answers within the target. Below a target users notice nothing, so being
faster still earns nothing; beyond it QoE falls with the ratio. The best accuracy is the suite's, feasible here or not:
so the QoE of a variant means the same on every node. A weight of 0 ignores its aspect. Where the user sets no target
for energy or memory the thriftiest variant of the node is the target; an aspect that is not known of all variants on
a node is left out there, since it would count against those that are known.

A predicted latency is uncertain, and QoE bends at the target: its value at the expected latency is more than may be
expected. What counts is therefore the mean over the spread of the prediction. For a latency that is lognormal around
the expected one, with x = ln(expected / target) and standard deviation s of the logarithm, and Phi the normal
distribution function, the mean of min(1, target / latency) ** w is exactly

    Phi(-x / s) + exp(w * w * s * s / 2 - w * x) * Phi(x / s - w * s)

and the same with 2 w is the mean of its square, which gives the standard deviation. Energy and memory count with their
expected values.

This module knows nothing of limits, pins or what runs now. It works on arrays: one node's variants, or rows of nodes.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from fleetfit_api.qoe import Qoe
from numpy.typing import ArrayLike, NDArray
from scipy.special import erfcx, ndtr

# Finer differences are rounding noise of the arithmetic; without them equal figures are equal on every machine.
_DECIMALS = 6
# A prediction without a spread; the formula then is that of a single value within the rounding.
_SMALLEST_SIGMA: Final = 1e-9
_LATENCY_BOUNDS_S: Final = (1e-300, 1e300)

Figures = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class QoeTerms:
    """Weights and targets of a deployment.

    Attributes:
        accuracy_weight: Exponent of accuracy.
        latency_weight: Exponent of latency.
        energy_weight: Exponent of energy.
        memory_weight: Exponent of memory.
        latency_target_s: Latency target in seconds.
        energy_target_j: Energy target in joules; None for that of the thriftiest variant.
        memory_target_bytes: Memory target in bytes; None for that of the smallest variant.
        best_accuracy: Accuracy of the suite's best variant.
    """

    accuracy_weight: float
    latency_weight: float
    energy_weight: float
    memory_weight: float
    latency_target_s: float
    energy_target_j: float | None
    memory_target_bytes: float | None
    best_accuracy: float


@dataclass(frozen=True, slots=True)
class ExpectedQoe:
    """QoE over the spread of predictions, entry by entry.

    Attributes:
        mean: Expected QoE, 0 to 1, rounded to six decimals.
        sigma: Its standard deviation, rounded alike.
    """

    mean: Figures
    sigma: Figures


def qoe_terms(qoe: Qoe, best_accuracy: float) -> QoeTerms:
    """Return the weights and targets that count: of the profile, and those that the user set instead."""
    weights = qoe.resolved_weights()
    return QoeTerms(
        accuracy_weight=weights.accuracy or 0.0,
        latency_weight=weights.latency or 0.0,
        energy_weight=weights.energy or 0.0,
        memory_weight=weights.memory or 0.0,
        latency_target_s=qoe.latency_target_milliseconds / 1000.0,
        energy_target_j=qoe.energy_target_joules,
        memory_target_bytes=qoe.memory_target_bytes,
        best_accuracy=best_accuracy,
    )


def expected_qoe(
    terms: QoeTerms,
    latency_s: ArrayLike,
    log_sigma: ArrayLike,
    accuracy: ArrayLike,
    energy_share: ArrayLike = 1.0,
    memory_share: ArrayLike = 1.0,
) -> ExpectedQoe:
    """Return the expected QoE; arguments are broadcast against each other, variants on the last axis.

    Args:
        terms: Weights and targets.
        latency_s: Expected latencies in seconds at the percentile of the target; infinite where unknown.
        log_sigma: Standard deviations of their logarithms.
        accuracy: Accuracies, 0 to 1.
        energy_share: `target_share` of energy.
        memory_share: `target_share` of memory.
    """
    certain: Figures = (
        np.minimum(1.0, np.asarray(accuracy, dtype=np.float64) / terms.best_accuracy) ** terms.accuracy_weight
        if terms.best_accuracy > 0
        else np.ones_like(np.asarray(accuracy, dtype=np.float64))
    )
    if terms.energy_weight:
        certain = certain * np.asarray(energy_share, dtype=np.float64) ** terms.energy_weight
    if terms.memory_weight:
        certain = certain * np.asarray(memory_share, dtype=np.float64) ** terms.memory_weight
    excess = np.log(np.clip(latency_s, *_LATENCY_BOUNDS_S)) - math.log(terms.latency_target_s)
    sigma = np.maximum(np.asarray(log_sigma, dtype=np.float64), _SMALLEST_SIGMA)
    spread = _Spread(excess, sigma)
    mean = spread.mean_share(terms.latency_weight)
    square = spread.mean_share(2.0 * terms.latency_weight)
    expected: Figures = np.clip(certain * mean, 0.0, 1.0)
    sigma_of_qoe: Figures = certain * np.sqrt(np.maximum(square - mean * mean, 0.0))
    return ExpectedQoe(mean=_rounded(expected), sigma=_rounded(sigma_of_qoe))


def target_share(costs: ArrayLike, target: float | None) -> Figures:
    """Return min(1, target / cost) for costs with variants on the last axis.

    Without a target it is the smallest cost of the row. A row in which a cost is unknown (not a number) is 1 all over.
    """
    given = np.asarray(costs, dtype=np.float64)
    known = np.isfinite(given).all(axis=-1, keepdims=True)
    positive = np.maximum(np.where(known, given, 1.0), _LATENCY_BOUNDS_S[0])
    wanted = positive.min(axis=-1, keepdims=True) if target is None else target
    share: Figures = np.where(known, np.minimum(1.0, wanted / positive), 1.0)
    return share


def quality_of_experience(qoe: Qoe, accuracy: float, best_accuracy: float, latency_s: float) -> float:
    """Return the QoE at a latency that is known, 0 to 1; energy and memory are left out."""
    return float(expected_qoe(qoe_terms(qoe, best_accuracy), latency_s, 0.0, accuracy).mean)


def qoe_gain(from_qoe: float, to_qoe: float) -> float:
    """Return by how much a QoE is better, without the rounding noise that a difference brings back."""
    return round(to_qoe - from_qoe, _DECIMALS)


def _rounded(values: Figures) -> Figures:
    rounded: Figures = np.round(values, _DECIMALS)
    return rounded


class _Spread:
    """Latencies that are lognormal, relative to the target.

    Args:
        excess: Logarithms of expected latency over target.
        sigma: Standard deviations of the logarithms, above 0.
    """

    def __init__(self, excess: Figures, sigma: Figures) -> None:
        self._excess = excess
        self._sigma = sigma
        self._relative = excess / sigma
        self._within_target = ndtr(-self._relative)
        self._density = 0.5 * np.exp(-0.5 * self._relative * self._relative)

    def mean_share(self, weight: float) -> Figures:
        """Return the mean of min(1, target / latency) ** weight, without ever leaving the range of numbers.

        Left of the bend the second term of the formula is a huge number times a tiny one; there it is written with
        the scaled complementary error function, erfcx(t) = exp(t * t) * erfc(t).
        """
        bend = self._relative - weight * self._sigma
        left = self._density * erfcx(np.maximum(-bend, 0.0) / math.sqrt(2.0))
        exponent = 0.5 * (weight * self._sigma) ** 2 - weight * self._excess
        right = np.exp(np.minimum(exponent, 0.0)) * ndtr(bend)
        share: Figures = self._within_target + np.where(bend < 0, left, right)
        return share
