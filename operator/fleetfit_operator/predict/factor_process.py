"""A new device as a draw from the population of known devices.

A Gaussian process on the logarithm of latency: its mean is the average known device, scaled to the readings, its
covariance between graphs comes from how known devices deviate from that average. It is right where the mix is loose: on
graphs on which known devices disagree in the same few ways.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from fleetfit_operator.predict.kernel_groups import FloatArray

_SCALE_VARIANCE: Final = 0.04
"""Variance of what the average device's scale is off by after it was set to the readings."""


@dataclass(frozen=True, slots=True)
class FactorProcess:
    """A fitted process.

    Attributes:
        scale: What is added to the logarithms of each known device.
        loadings: Weights of the known devices' deviations.
        offset: What is added to the average.
        left_out: Errors at each reading if it were left out, as logarithms.
    """

    scale: FloatArray
    loadings: FloatArray
    offset: float
    left_out: FloatArray

    @classmethod
    def fit(cls, log_devices: FloatArray, log_latency: FloatArray, noise: FloatArray) -> Self:
        """Return the process through the readings.

        Args:
            log_devices: Logarithms of seconds on known devices, by reading and device.
            log_latency: Logarithms of the readings.
            noise: Variance of each reading.
        """
        weights = 1.0 / (_SCALE_VARIANCE / 4 + noise)
        scale = np.average(log_latency[:, None] - log_devices, axis=0, weights=weights)
        aligned = log_devices + scale
        mean = aligned.mean(axis=1)
        deviations = (aligned - mean[:, None]) / np.sqrt(max(1, aligned.shape[1] - 1))
        covariance = deviations @ deviations.T + _SCALE_VARIANCE + np.diag(noise)
        inverse = np.linalg.inv(covariance)
        weights = inverse @ (log_latency - mean)
        return cls(
            scale=scale,
            loadings=deviations.T @ weights,
            offset=float(_SCALE_VARIANCE * weights.sum()),
            left_out=-weights / np.diag(inverse),
        )

    def log_latency(self, log_devices: FloatArray) -> FloatArray:
        """Return the logarithm of seconds for graphs, given those on known devices."""
        aligned = log_devices + self.scale
        mean = aligned.mean(axis=1)
        deviations = (aligned - mean[:, None]) / np.sqrt(max(1, aligned.shape[1] - 1))
        return np.asarray(mean + deviations @ self.loadings + self.offset)
