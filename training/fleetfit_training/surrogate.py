"""What a known device takes for any graph: learnt from whole graphs that were timed on it.

LightGBM and a Gaussian process on the logarithm of latency: trees find thresholds, the process is smooth between the
points. The process has the larger share, since with hundreds of points it is the better one; it also sees the
logarithms of the features, in which costs that multiply add up.
"""

from dataclasses import dataclass
from typing import Any, Final, Self

import lightgbm
import numpy as np
from fleetfit_operator.predict.kernel_groups import FloatArray

from fleetfit_training.gaussian_process import GaussianProcess

TREES: Final = 400
_PARAMETERS: Final[dict[str, Any]] = {
    "objective": "regression",
    "num_leaves": 15,
    "learning_rate": 0.03,
    "min_data_in_leaf": 5,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
_PROCESS_SHARE: Final = 0.75
# Devices that drop nodes which no output needs run some graphs in next to no time; their logarithm would rule the fit.
_LOWEST_BELOW_MEDIAN: Final = 2.5


@dataclass(frozen=True, slots=True)
class Surrogate:
    """A known device."""

    booster: lightgbm.Booster
    process: GaussianProcess

    @classmethod
    def fit(cls, vectors: FloatArray, latency_s: FloatArray, seed: int) -> Self:
        """Return the surrogate of a device.

        Args:
            vectors: Features of graphs, none below 0.
            latency_s: What they took on the device.
            seed: Seed of LightGBM's sampling.
        """
        logarithms = floored_log(latency_s)
        data = lightgbm.Dataset(vectors, logarithms)
        booster = lightgbm.train({**_PARAMETERS, "seed": seed}, data, TREES)
        return cls(booster, GaussianProcess.fit(_with_logarithms(vectors), logarithms))

    def log_latency(self, vectors: FloatArray) -> FloatArray:
        """Return the logarithm of the seconds that graphs take."""
        trees = np.asarray(self.booster.predict(vectors, num_threads=1))
        smooth = self.process.predict(_with_logarithms(vectors))
        return np.asarray(_PROCESS_SHARE * smooth + (1.0 - _PROCESS_SHARE) * trees)


def floored_log(latency_s: FloatArray) -> FloatArray:
    """Return logarithms, none further below their median than a device's useful range."""
    logarithms = np.log(latency_s)
    return np.asarray(np.maximum(logarithms, np.median(logarithms) - _LOWEST_BELOW_MEDIAN))


def _with_logarithms(vectors: FloatArray) -> FloatArray:
    return np.hstack([vectors, np.log1p(vectors)])
