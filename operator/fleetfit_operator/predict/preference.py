"""What users really like, as corrections of the QoE formula that few ratings suffice for.

The formula is a product of shares to the power of weights. With g = weight * log share of an aspect, and for latency
what the others leave of log prior (an expectation over the latency's spread),

    log QoE = log prior + sum over aspects of (e^t - 1) g + e^t(latency) * r * h

- t, per aspect: its weight is in truth e^t times the declared one.
- r, 0 to 1: how round the bend at the latency target is. Users differ in the delay that they notice, so that their
  mean loses a little before the target already; h = latency weight * log((1 + ratio^(1/s))^-s) - g(latency).
- A level that raters have in common explains ratings and is left out of the QoE: some give 0.8 for what is perfect.

Found is the maximum of the posterior: squared errors weighted by voices, and priors at 0 that weigh as much as
`prior_strength` voices. Without ratings QoE is the prior, exactly. It is monotone in every aspect for all t and r.
Knows no trees and no nodes.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from fleetfit_operator.predict.ensemble import FloatArray

VOICE_SIGMA: Final = 0.25
"""How much scores of users who are served alike scatter."""
_LATENCY: Final = 1  # place of latency among the aspects
_ASPECTS: Final = 4
_SIZE: Final = 1 + _ASPECTS + 1  # level, aspects, roundness
# What a change by 1 of each does to the QoE where choices are made: it turns voices into the prior's precision.
_EFFECTS: Final = np.array([3.0, *[0.15] * _ASPECTS, 0.1])
_LARGEST_LOG_FACTOR: Final = float(np.log(10.0))
_LOWEST: Final = np.array([*[-_LARGEST_LOG_FACTOR] * (_SIZE - 1), 0.0])
_HIGHEST: Final = np.array([*[_LARGEST_LOG_FACTOR] * (_SIZE - 1), 1.0])
_ROUNDING: Final = 0.15
_LEAST_SHARE = 1e-6
_MOST_STEPS, _MOST_HALVINGS, _SMALLEST_STEP = 25, 12, 1e-9


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of the formula: exponents."""

    accuracy: float
    latency: float
    energy: float
    memory: float


@dataclass(frozen=True, slots=True)
class Aspects:
    """What the formula says of variants on nodes, by aspect; columns of any shape that broadcast.

    Attributes:
        prior: QoE by the formula, 0 to 1.
        logs: g of accuracy, latency, energy and memory, at most 0.
        rounder: h.
    """

    prior: FloatArray
    logs: tuple[FloatArray, FloatArray, FloatArray, FloatArray]
    rounder: FloatArray

    @classmethod
    def of(
        cls,
        weights: Weights,
        prior: FloatArray,
        latency_ratio: FloatArray,
        shares: tuple[FloatArray, FloatArray, FloatArray],
    ) -> Self:
        """Return the aspects; `shares` are those of accuracy, energy and memory."""
        accuracy, energy, memory = (
            weight * np.log(np.maximum(share, _LEAST_SHARE)) if weight else np.zeros(())
            for weight, share in zip((weights.accuracy, weights.energy, weights.memory), shares, strict=True)
        )
        latency = np.minimum(np.log(np.maximum(prior, _LEAST_SHARE)) - (accuracy + energy + memory), 0.0)
        steep = np.logaddexp(0.0, np.log(np.maximum(latency_ratio, _LEAST_SHARE)) / _ROUNDING)
        return cls(
            prior,
            (accuracy, latency, energy, memory),
            (-weights.latency * _ROUNDING) * steep - latency,
        )


@dataclass(frozen=True, slots=True)
class Preference:
    """What users prefer.

    Attributes:
        values: Level, t of accuracy, latency, energy and memory, and r.
        inverse: Their covariance for errors of a voice of 1.
    """

    values: FloatArray
    inverse: FloatArray

    @property
    def level(self) -> float:
        """The raters' common level."""
        return float(np.exp(self.values[0]))

    @property
    def covariance(self) -> FloatArray:
        """Covariance of t and r for errors of a voice of 1."""
        return self.inverse[1:, 1:]

    def qoe(self, aspects: Aspects) -> FloatArray:
        """Return the expected QoE, 0 to 1."""
        return np.asarray(np.minimum(aspects.prior * np.exp(_log_change(self.values, aspects)), 1.0))

    def slopes(self, aspects: Aspects, qoe: FloatArray) -> FloatArray:
        """Return how an expected QoE changes with t and r (..., 5)."""
        return np.stack(
            np.broadcast_arrays(*(qoe * each for each in _log_slopes(self.values, aspects))), axis=-1
        )

    def leverage(self, slopes: FloatArray) -> FloatArray:
        """Return the variance of a QoE with such slopes, for errors of a voice of 1."""
        variance: FloatArray = np.einsum("...j,jk,...k->...", slopes, self.covariance, slopes)
        return np.maximum(variance, 0.0)

    def ratings(self, aspects: Aspects) -> tuple[FloatArray, FloatArray]:
        """Return expected ratings, QoE times level, and how they change with all values (rows x 6)."""
        return _ratings(self.values, aspects)


def fit_preference(
    aspects: Aspects, scores: FloatArray, voices: FloatArray, prior_strength: float
) -> Preference:
    """Return what explains the ratings best.

    Args:
        aspects: What the formula says of each rated variant on its node, one-dimensional.
        scores: Mean score of each, 0 to 1.
        voices: Weight of each.
        prior_strength: Voices that weigh as much as the declared weights.
    """
    fit = _Fit(aspects, scores, voices, prior_strength)
    values = np.zeros(_SIZE)
    loss = fit.loss(values)
    for _ in range(_MOST_STEPS):
        values, smaller = fit.descend(values, loss)
        if loss - smaller <= _SMALLEST_STEP:
            break
        loss = smaller
    return Preference(values, np.asarray(np.linalg.inv(fit.curvature(values)), dtype=np.float64))


class _Fit:
    """Damped Gauss-Newton."""

    def __init__(
        self, aspects: Aspects, scores: FloatArray, voices: FloatArray, prior_strength: float
    ) -> None:
        self._aspects = aspects
        self._scores = scores
        self._voices = voices
        self._penalty = prior_strength * _EFFECTS**2

    def loss(self, values: FloatArray) -> float:
        residual = self._scores - _ratings(values, self._aspects)[0]
        return float(self._voices @ residual**2 + self._penalty @ values**2)

    def curvature(self, values: FloatArray) -> FloatArray:
        _, slopes = _ratings(values, self._aspects)
        return np.asarray((slopes * self._voices[:, None]).T @ slopes + np.diag(self._penalty))

    def descend(self, values: FloatArray, loss: float) -> tuple[FloatArray, float]:
        """Return where a step, halved until it helps, leads to, and the loss there."""
        expected, slopes = _ratings(values, self._aspects)
        gradient = slopes.T @ (self._voices * (self._scores - expected)) - self._penalty * values
        step = np.linalg.solve(self.curvature(values), gradient)
        for halvings in range(_MOST_HALVINGS):
            there = np.clip(values + step * 0.5**halvings, _LOWEST, _HIGHEST)
            smaller = self.loss(there)
            if smaller < loss:
                return there, smaller
        return values, loss


def _log_change(values: FloatArray, aspects: Aspects) -> FloatArray:
    change: FloatArray = np.zeros(())
    for factor, log in zip(np.expm1(values[1:-1]), aspects.logs, strict=True):
        if factor:
            change = change + float(factor) * log
    rounded = float(np.exp(values[1 + _LATENCY]) * values[-1])
    return change + rounded * aspects.rounder if rounded else change


def _log_slopes(values: FloatArray, aspects: Aspects) -> list[FloatArray]:
    """Return how the logarithm of the QoE changes with t and r."""
    factors = np.exp(values[1:-1])
    slopes = [float(factor) * log for factor, log in zip(factors, aspects.logs, strict=True)]
    slopes.append(float(factors[_LATENCY]) * aspects.rounder)
    slopes[_LATENCY] = slopes[_LATENCY] + float(values[-1]) * slopes[-1]
    return slopes


def _ratings(values: FloatArray, aspects: Aspects) -> tuple[FloatArray, FloatArray]:
    expected = np.exp(values[0]) * aspects.prior * np.exp(_log_change(values, aspects))
    slopes = np.broadcast_arrays(expected, *(expected * each for each in _log_slopes(values, aspects)))
    return expected, np.stack(slopes, axis=1)
