"""Other ways to choose, for comparison: they see the same predictions and ratings, and choose anew at every rating.

None of them minds how often a node changes. Their parameters are the best of some on the seeds from 100 to 107.
"""

from typing import Final, Protocol

import numpy as np

from benchmarks.select.devices import Devices, FloatArray
from benchmarks.select.users import PRIOR_WEIGHTS, TARGET_S

LINUCB_ALPHA: Final = 0.1
EPSILON: Final = 0.01
KNOWN_DEVICES: Final = (
    "1080ti_1", "1080ti_32", "1080ti_256", "silver_4114", "silver_4210r", "samsung_a50", "pixel3",
    "essential_ph_1", "samsung_s7",
)  # fmt: skip
"""The devices that the published protocol learns from."""


class Rival(Protocol):
    """Chooses a variant for a device and hears what its users say."""

    def choose(self, device: int) -> int:
        """Return the variant to serve now."""
        ...

    def hear(self, device: int, variant: int, score: float) -> None:
        """Take a rating."""
        ...


class LinUcb:
    """Linear upper confidence bounds on features that all devices share.

    Args:
        devices: Accuracies of the variants.
        expected_s: Expected latencies in seconds (devices x variants).
        alpha: Width of the bound.
    """

    def __init__(self, devices: Devices, expected_s: FloatArray, alpha: float = LINUCB_ALPHA) -> None:
        accuracy = np.broadcast_to(devices.accuracy / devices.accuracy.max(), expected_s.shape)
        on_time = np.minimum(1.0, TARGET_S / expected_s)
        ratio = np.log(expected_s / TARGET_S)
        self._features = np.stack(
            [
                np.ones_like(ratio),
                accuracy,
                np.log(accuracy),
                ratio,
                on_time,
                accuracy * on_time,
                prior_qoe(devices, expected_s),
            ],
            axis=-1,
        )
        size = self._features.shape[-1]
        self._inverse = np.eye(size)
        self._sum = np.zeros(size)
        self._alpha = alpha

    def choose(self, device: int) -> int:
        """Return the variant with the highest bound."""
        features = self._features[device]
        width = np.sqrt(np.einsum("ij,jk,ik->i", features, self._inverse, features))
        return int(np.argmax(features @ (self._inverse @ self._sum) + self._alpha * width))

    def hear(self, device: int, variant: int, score: float) -> None:
        """Update the regression by one rating."""
        row = self._features[device, variant]
        moved = self._inverse @ row
        self._inverse -= np.outer(moved, moved) / (1.0 + row @ moved)
        self._sum += score * row


class EpsilonGreedy:
    """The best mean of ratings per device and variant, the formula counting as one rating; now and then any variant.

    Args:
        devices: Accuracies of the variants.
        expected_s: Expected latencies in seconds (devices x variants).
        rng: Draws when and what to try.
        epsilon: Share of choices that are random.
    """

    def __init__(
        self,
        devices: Devices,
        expected_s: FloatArray,
        rng: np.random.Generator,
        epsilon: float = EPSILON,
    ) -> None:
        self._sum = prior_qoe(devices, expected_s)
        self._count = np.ones_like(self._sum)
        self._rng = rng
        self._epsilon = epsilon

    def choose(self, device: int) -> int:
        """Return the best mean, or any variant."""
        if self._rng.random() < self._epsilon:
            return int(self._rng.integers(self._sum.shape[1]))
        return int(np.argmax(self._sum[device] / self._count[device]))

    def hear(self, device: int, variant: int, score: float) -> None:
        """Take a rating into the mean."""
        self._sum[device, variant] += score
        self._count[device, variant] += 1.0


class Fixed:
    """The same variant for ever, per device.

    Args:
        variants: Variant of each device.
    """

    def __init__(self, variants: FloatArray | list[int]) -> None:
        self._variants = [int(each) for each in variants]

    def choose(self, device: int) -> int:
        """Return the device's variant."""
        return self._variants[device]

    def hear(self, device: int, variant: int, score: float) -> None:
        """Learn nothing."""


def prior_qoe(devices: Devices, expected_s: FloatArray) -> FloatArray:
    """Return the formula's QoE at expected latencies."""
    accuracy_weight, latency_weight = PRIOR_WEIGHTS
    share = devices.accuracy / devices.accuracy.max()
    return np.asarray(share**accuracy_weight * np.minimum(1.0, TARGET_S / expected_s) ** latency_weight)


def best_single(true: FloatArray) -> Fixed:
    """Return the one variant that is best for all devices together, known by an oracle."""
    return Fixed([int(true.mean(axis=0).argmax())] * len(true))


def nearest_device(devices: Devices, true: FloatArray) -> Fixed:
    """Return for each device what is best, known by an oracle, on the known device whose latencies are most alike."""
    log_s = np.log(devices.latency_s)
    known = [devices.names.index(name) for name in KNOWN_DEVICES if name in devices.names]
    best = []
    for device in range(len(devices.names)):
        apart = [
            np.inf if each == device else float(np.abs(log_s[each] - log_s[device]).mean()) for each in known
        ]
        best.append(int(true[known[int(np.argmin(apart))]].argmax()))
    return Fixed(best)
