"""Simulated users: what each of them likes, and what they say of it.

A user's true QoE has the shape of the formula with weights and a tolerance of their own, so that the mean over users
has no weights at all:

    accuracy share ** a  *  min(1, tolerance * target / latency) ** l

A rating is that times a level that all raters have in common, plus what the user always adds, plus noise, clipped.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np

from benchmarks.select.devices import Devices, FloatArray

USERS_PER_NODE: Final = 40
TARGET_S: Final = 0.007
"""Latency target of the deployment: few devices run the accurate variants within it."""
PRIOR_WEIGHTS: Final = (3.0, 1.0)
"""Weights of accuracy and latency that the deployment declares."""
_WEIGHT_SPREAD, _TOLERANCE_SPREAD = 0.3, 0.2
_LEVEL, _BIAS_SIGMA, _NOISE_SIGMA = 0.93, 0.05, 0.15


class Taste(Enum):
    """What a population of users likes: middle weights of accuracy and latency."""

    PATIENT = (5.0, 0.4)
    HURRIED = (0.5, 2.0)

    @property
    def other(self) -> "Taste":
        """The opposite taste."""
        return Taste.HURRIED if self is Taste.PATIENT else Taste.PATIENT


@dataclass(frozen=True, slots=True)
class Users:
    """The users of every device.

    Attributes:
        qoe: True QoE (devices x users x variants).
        bias: What each user always adds to ratings (devices x users).
    """

    qoe: FloatArray
    bias: FloatArray

    @property
    def mean_qoe(self) -> FloatArray:
        """True mean QoE of each device's users (devices x variants)."""
        return np.asarray(self.qoe.mean(axis=1))

    def rating(self, device: int, user: int, variant: int, rng: np.random.Generator) -> float:
        """Return what a user says of a variant; it may lie outside 0 to 1 as the runtime clips it."""
        noise = self.bias[device, user] + rng.normal(0.0, _NOISE_SIGMA)
        return float(np.clip(_LEVEL * self.qoe[device, user, variant] + noise, 0.0, 1.0))


def draw_users(devices: Devices, taste: Taste, rng: np.random.Generator) -> Users:
    """Return users of a taste for every device."""
    count, _ = devices.shape
    accuracy_weight, latency_weight = (
        middle * np.exp(rng.normal(0.0, _WEIGHT_SPREAD, (count, USERS_PER_NODE, 1))) for middle in taste.value
    )
    tolerance = np.exp(rng.normal(0.0, _TOLERANCE_SPREAD, (count, USERS_PER_NODE, 1)))
    share = devices.accuracy / devices.accuracy.max()
    on_time = np.minimum(1.0, tolerance * TARGET_S / devices.latency_s[:, None, :])
    return Users(
        qoe=share**accuracy_weight * on_time**latency_weight,
        bias=rng.normal(0.0, _BIAS_SIGMA, (count, USERS_PER_NODE)),
    )
