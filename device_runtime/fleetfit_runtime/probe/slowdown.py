"""Tells a processor that slows down during a run, and rounds that something else disturbed, from noise. Pure.

Works are timed in turns, pass by pass, so heat or a power limit shows as one thing: the later passes of *all* works are
slower than their earlier ones, and stay so. A neighbour spoils single rounds, or some passes and not the ones after.
"""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any, Final

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]
Series = Sequence[Sequence[float]]

# Below this a slowdown does not matter, and slow drifts of a cold start are of this size.
LEAST_SLOWDOWN: Final = 0.07
# How far beyond what passes differ among each other, and beyond chance (one-sided, 1 %), a slowdown must be.
_TIMES_NOISE: Final = 2.0
_LEAST_Z: Final = 2.33
# A round counts as disturbed when it is this much slower than its work's quiet level, and beyond the rounds' scatter.
_LEAST_OUTLIER: Final = math.log(1.15)
_OUTLIER_DEVIATIONS: Final = 4.0
# A median absolute deviation among the lower half of normal noise, times this, is its standard deviation.
_HALF_MAD_TO_DEVIATION: Final = 2.5
# What a clock may show of work that is too short for it.
_SHORTEST_S: Final = 1e-9
# Fewer passes cannot tell a drift from one slow pass: what they differ by is the rise itself.
LEAST_PASSES: Final = 4


def slowdown(series: Series) -> float:
    """Return by what share the processor slowed down from the first third of the run to the last; 0 when it did not.

    Three things must hold. The passes of the last third are all slower than all of the first, by 7 % in the mean and
    by twice what neighbouring passes differ; and over all works more pairs of rounds are in rising order than chance
    would give, by the Mann-Kendall test with each work as a season of its own (Hirsch, Slack and Smith, 1982).

    Args:
        series: seconds of the rounds of each work, in order.
    """
    logs = _aligned_logs(series)
    if logs.shape[1] < LEAST_PASSES:
        return 0.0
    levels = _levels(logs)
    third = max(1, logs.shape[1] // 3)
    first, last = levels[:third], levels[-third:]
    rise = float(last.mean() - first.mean())
    noise = float(np.median(np.abs(np.diff(levels))))
    rose = last.min() > first.max() and rise > math.log1p(LEAST_SLOWDOWN) and rise > _TIMES_NOISE * noise
    return math.expm1(rise) if rose and _kendall_z(logs) > _LEAST_Z else 0.0


def seems_slower(series: Series) -> bool:
    """Tell whether the last pass was slower than the first by what would matter: reason enough to look longer."""
    logs = _aligned_logs(series)
    if logs.shape[1] < 2:
        return False
    levels = _levels(logs)
    return bool(levels[-1] - levels[0] > math.log1p(LEAST_SLOWDOWN))


def disturbed_rounds(series: Series) -> list[list[bool]]:
    """Return for every round of every work whether something else disturbed it."""
    deviations = [_logs(rounds) - _logs([_quiet_level(rounds)]) for rounds in series]
    limit = max(_LEAST_OUTLIER, _OUTLIER_DEVIATIONS * _scatter(deviations))
    return [(each > limit).tolist() for each in deviations]


def _levels(logs: Floats) -> Floats:
    # What a pass was like is the median over the works, so that one spoilt round says nothing about its pass.
    levels: Floats = np.median(logs - np.median(logs, axis=1, keepdims=True), axis=0)
    return levels


def _quiet_level(rounds: Sequence[float]) -> float:
    """Return the median of the quieter half."""
    return median(sorted(rounds)[: (len(rounds) + 1) // 2])


def _scatter(deviations: Sequence[Floats]) -> float:
    below = np.concatenate([each[each <= np.median(each)] for each in deviations])
    # Of the quieter rounds alone, since disturbances only ever slow down.
    return _HALF_MAD_TO_DEVIATION * float(np.median(np.abs(below - np.median(below))))


def _aligned_logs(series: Series) -> Floats:
    """Return the logarithms by work and pass; the last pass may be incomplete and is then left out."""
    passes = min((len(rounds) for rounds in series), default=0)
    return _logs([list(rounds)[:passes] for rounds in series]).reshape(len(series), passes)


def _logs(seconds: Sequence[float] | Series) -> Floats:
    return np.log(np.maximum(np.array(seconds, dtype=np.float64), _SHORTEST_S))


def _kendall_z(logs: Floats) -> float:
    works, passes = logs.shape
    rising = sum(
        float(np.sign(logs[:, later] - logs[:, earlier]).sum())
        for earlier in range(passes)
        for later in range(earlier + 1, passes)
    )
    variance = works * passes * (passes - 1) * (2 * passes + 5) / 18
    return rising / math.sqrt(variance)
