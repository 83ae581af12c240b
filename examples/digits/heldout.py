"""The split of the digits into training and held-out images, the same on every machine.

Held-out images are for measuring alone: neither training nor the calibration of int8 may see them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HELD_OUT_COUNT = 600
_SPLIT_SEED = 20_261
_BRIGHTEST = 16.0


@dataclass(frozen=True, slots=True)
class Digits:
    """Images [n, 1, 8, 8] float32 from 0 (paper) to 1 (ink), and their labels [n] from 0 to 9."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Split:
    """All digits, each in one of the two halves."""

    train: Digits
    held_out: Digits


def load_split() -> Split:
    """Return the stratified split; scikit-learn brings the data, so nothing is downloaded."""
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / _BRIGHTEST).astype(np.float32).reshape(-1, 1, 8, 8)
    parts: list[Any] = train_test_split(
        images, labels.astype(np.int64), test_size=HELD_OUT_COUNT, random_state=_SPLIT_SEED, stratify=labels
    )
    train_images, held_out_images, train_labels, held_out_labels = parts
    return Split(Digits(train_images, train_labels), Digits(held_out_images, held_out_labels))


def load_held_out() -> Digits:
    """Return the held-out digits."""
    return load_split().held_out
