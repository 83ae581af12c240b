"""The devices and variants of the simulated fleet, from public measurements. Real latencies, real accuracies."""

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

DATA: Final = Path(__file__).resolve().parents[2] / "training/data/nasbench201/latency_ms.csv.gz"
ARMS: Final = 20
_LOWEST_ACCURACY = 0.5
_ACCURACY_COLUMN = "cifar100_accuracy_percent"


@dataclass(frozen=True, slots=True)
class Devices:
    """Variants on devices.

    Attributes:
        names: Names of the devices.
        accuracy: Accuracy of each variant, 0 to 1.
        latency_s: Latency in seconds (devices x variants).
    """

    names: tuple[str, ...]
    accuracy: FloatArray
    latency_s: FloatArray

    @classmethod
    def load(cls, path: Path = DATA) -> Self:
        """Read the measurements and keep the variants.

        The rule for variants, fixed before anything was run: for 20 equally spaced accuracies from 50 % to the best,
        the architecture that is fastest (geometric mean over devices) of those not taken that reach it.
        """
        with gzip.open(path, "rt", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row[_ACCURACY_COLUMN]]
        names = tuple(column for column in rows[0] if column not in {"architecture", _ACCURACY_COLUMN})
        accuracy = np.array([float(row[_ACCURACY_COLUMN]) for row in rows]) / 100.0
        latency_s = np.array([[float(row[name]) for row in rows] for name in names]) / 1000.0
        arms = _front(accuracy, np.log(latency_s).mean(axis=0))
        return cls(names, accuracy[arms], latency_s[:, arms])

    @property
    def shape(self) -> tuple[int, int]:
        """Number of devices and of variants."""
        return len(self.names), len(self.accuracy)


def _front(accuracy: FloatArray, log_latency: FloatArray) -> list[int]:
    taken: list[int] = []
    for least in np.linspace(_LOWEST_ACCURACY, accuracy.max(), ARMS):
        left = [i for i in range(len(accuracy)) if i not in taken]
        reach = [i for i in left if accuracy[i] >= least - 1e-9] or left
        taken.append(min(reach, key=lambda i: (log_latency[i], i)))
    return taken
