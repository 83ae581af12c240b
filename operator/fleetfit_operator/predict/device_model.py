"""A new device after a few readings: the mix and the factor process, weighted by what they would have got wrong.

Members are weighted by (mean squared left-out error)^(-0.2 K) for K readings. All mixes together are again one mix, so
a device is one weight per known device and cost term, and the factor process on top.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np

from fleetfit_operator.predict.factor_process import FactorProcess
from fleetfit_operator.predict.kernel_groups import FloatArray
from fleetfit_operator.predict.mixture import Columns, Ridge, fit_mixes

RIDGES: Final = (
    *(Ridge(strength, factor, all_terms) for all_terms in (False, True) for strength in (0.0003, 0.003, 0.03)
      for factor in (0.3, 10.0, 100.0)),
    Ridge(0.3, 0.3),
)  # fmt: skip
FACTOR_NOISES: Final = (0.003, 0.01)
_SHARPNESS_PER_READING: Final = 0.2
_SMALLEST_ERROR: Final = 1e-4
_LARGEST_ERROR: Final = 1.0
_SMALLEST_LATENCY_S: Final = 1e-9
_USUAL_ERROR: Final = 0.1
"""What a prediction is usually off by; it counts like one more left-out reading, since few say little of the error."""


_MODEL_VARIANCE: Final = 0.003
"""Variance of the logarithm of what a mix is off by at an exact reading; readings count by it and their own noise."""
_WHOLE: Final = 1e-3
_RESOLUTIONS_S: Final = (1e-3, 1e-4)


def resolution_noise(latency_s: FloatArray) -> FloatArray:
    """Return the variance of the logarithm of readings that only their resolution gives.

    Readings that are all whole milliseconds (or tenths) were rounded: each is off by up to half a step.
    """
    for step_s in _RESOLUTIONS_S:
        steps = latency_s / step_s
        if np.all(np.abs(steps - np.round(steps)) < _WHOLE):
            return np.asarray((step_s / latency_s) ** 2 / 12)
    return np.zeros(len(latency_s))


@dataclass(frozen=True, slots=True)
class DeviceModel:
    """What is known of a device.

    Attributes:
        weights: Weight of each column of the mix.
        factors: Factor processes with their shares in the prediction, which the mix makes up to 1.
        log_scale: What is added to the logarithm, so that half of the readings lie above. Squares of relative errors
            draw a mix that fits badly below them.
        left_out_error: Mean squared logarithm of what was predicted over what was read, at readings left out and at one
            more that was off by the usual error.
        readings: Number of readings.
    """

    weights: FloatArray
    factors: tuple[tuple[FactorProcess, float], ...]
    log_scale: float
    left_out_error: float
    readings: int

    @classmethod
    def fit(
        cls,
        readings: Columns,
        latency_s: FloatArray,
        ridges: Sequence[Ridge] = RIDGES,
        noise: FloatArray | None = None,
    ) -> Self:
        """Return the model of a device.

        Args:
            readings: Columns of the graphs that were timed.
            latency_s: What they took.
            ridges: Strengths of the mix to try.
            noise: Variance of the logarithm of each reading; by default what the readings' resolution makes of them.
        """
        log_devices, log_latency = np.log(readings.devices), np.log(latency_s)
        noise = resolution_noise(latency_s) if noise is None else noise
        trust = _MODEL_VARIANCE / (_MODEL_VARIANCE + noise)
        mixes = fit_mixes(readings, latency_s, trust, ridges)
        factors = [FactorProcess.fit(log_devices, log_latency, noise + own) for own in FACTOR_NOISES]
        left_out = np.array([*(each.left_out for each in mixes), *(each.left_out for each in factors)])
        errors = np.average(np.minimum(left_out**2, _LARGEST_ERROR), axis=1, weights=trust)
        logarithms = -_SHARPNESS_PER_READING * len(latency_s) * np.log(errors + _SMALLEST_ERROR)
        shares = np.exp(logarithms - logarithms.max())
        shares /= shares.sum()
        of_mixes = shares[: len(mixes)]
        total = max(float(of_mixes.sum()), np.finfo(np.float64).tiny)
        unscaled = cls(
            weights=np.asarray(sum(s * mix.weights for s, mix in zip(of_mixes / total, mixes, strict=True))),
            factors=tuple(
                (factor, float(s)) for factor, s in zip(factors, shares[len(mixes) :], strict=True)
            ),
            log_scale=0.0,
            left_out_error=_usual_square(shares @ left_out, trust),
            readings=len(latency_s),
        )
        return replace(unscaled, log_scale=float(np.median(log_latency - unscaled.log_latency(readings))))

    def log_latency(self, graphs: Columns) -> FloatArray:
        """Return the logarithm of the seconds that graphs take."""
        return self._parts(graphs)[0]

    def log_latency_and_spread(self, graphs: Columns) -> tuple[FloatArray, FloatArray]:
        """Return the logarithm of seconds and an uncalibrated spread around it.

        The spread is what left-out readings were wrong by, and more where the members disagree.
        """
        expected, mixed = self._parts(graphs)
        others = [factor.log_latency(np.log(graphs.devices)) + self.log_scale for factor, _ in self.factors]
        disagreement = np.mean([(other - mixed) ** 2 for other in others], axis=0)
        return expected, np.sqrt(self.left_out_error + disagreement)

    def _parts(self, graphs: Columns) -> tuple[FloatArray, FloatArray]:
        mixed = np.log(np.maximum(graphs.design @ self.weights, _SMALLEST_LATENCY_S))
        total = np.asarray(mixed * (1.0 - sum(share for _, share in self.factors)))
        log_devices = np.log(graphs.devices)
        for factor, share in self.factors:
            total = total + share * factor.log_latency(log_devices)
        return total + self.log_scale, mixed + self.log_scale


def _usual_square(errors: FloatArray, trust: FloatArray) -> float:
    """Return the mean square of errors, drawn to the usual one."""
    mean = np.average(np.minimum(errors**2, _LARGEST_ERROR), weights=trust)
    return float((len(errors) * mean + _USUAL_ERROR**2) / (len(errors) + 1))
