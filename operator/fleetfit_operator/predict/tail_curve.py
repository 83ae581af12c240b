"""How a node's slow and usual runs lie from its mean, as a curve through what its reference run timed."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from fleetfit_operator.predict.kernel_groups import FloatArray


@dataclass(frozen=True, slots=True)
class TailCurve:
    """A percentile as a function of the mean: rising, straight between points in logarithms.

    On a node with a CPU quota it has a step: work shorter than a pause is seldom stopped, longer work always is.
    Below the first point the ratio stays, beyond the last one the distance does: a pause is as long as before.
    """

    log_mean: FloatArray
    log_percentile: FloatArray

    @classmethod
    def through(cls, mean_s: FloatArray, percentile_s: FloatArray) -> Self:
        """Return the rising curve nearest to the points."""
        order = np.argsort(mean_s, kind="stable")
        return cls(np.log(mean_s[order]), _rising(np.log(percentile_s[order])))

    @classmethod
    def of_ratio(cls, ratio: float) -> Self:
        """Return the curve of a node whose percentile is always this many times the mean."""
        return cls(np.zeros(1), np.array([np.log(ratio)]))

    def percentile_s(self, mean_s: FloatArray) -> FloatArray:
        """Return the percentiles that go with these means."""
        log_mean = np.log(mean_s)
        inside = np.exp(np.interp(log_mean, self.log_mean, self.log_percentile))
        below = mean_s * np.exp(self.log_percentile[0] - self.log_mean[0])
        if len(self.log_mean) == 1:
            return np.asarray(below, dtype=np.float64)
        beyond = mean_s + (np.exp(self.log_percentile[-1]) - np.exp(self.log_mean[-1]))
        result = np.where(log_mean < self.log_mean[0], below, inside)
        # The curve may end below its mean (rare long pauses); it must not fall behind its last point.
        far = np.maximum(beyond, inside)
        return np.asarray(np.where(log_mean > self.log_mean[-1], far, result), dtype=np.float64)


def _rising(values: FloatArray) -> FloatArray:
    """Return the nearest rising sequence (pool adjacent violators)."""
    pools: list[tuple[float, int]] = []
    for value in values:
        pools.append((float(value), 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (last, last_count), (before, before_count) = pools.pop(), pools.pop()
            count = last_count + before_count
            pools.append(((last * last_count + before * before_count) / count, count))
    return np.array([value for value, count in pools for _ in range(count)])
