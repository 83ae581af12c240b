"""How many jobs may wait for a model: so many, and fewer while it is slower than it should be.

What a client bears is a wait, not a number. As many jobs as may wait take a known time at the model's pace; on a node
that heat or other work slows down the same number would wait longer, so fewer may. The pace is that of the warm-up, or
a quicker one that the node was seen to keep. Pure.
"""

import math
import time
from typing import Final

from fleetfit_runtime.engine.batching import Clock

# The pace is the mean of about so many jobs.
_JOBS_REMEMBERED: Final = 16
# One run that was stopped for long says little about the next ones.
_SLOWEST: Final = 8.0
_LEAST_SHARE: Final = 0.25
# Jobs that ran together are quicker than one alone can be; only so much of that counts as the model's pace.
_QUICKEST: Final = 0.8


class QueueBound:
    """The places for jobs that wait or run.

    `places = capacity x pace / (time of a job now, and how much it varies)`, at most the capacity and at least a
    quarter of it. How much it varies is the mean absolute deviation, as in TCP's retransmission timer (RFC 6298).

    Args:
        capacity: most places.
        pace_s: what a job takes on a quiet node; 0 where nobody knows, for places that do not change.
        clock: seconds.

    Attributes:
        places: how many may wait or run now.
        each_s: what a job takes at present.
    """

    __slots__ = (
        "_best_s",
        "_capacity",
        "_clock",
        "_deviation_s",
        "_pace_s",
        "_since_s",
        "_wait_s",
        "each_s",
        "places",
    )

    def __init__(self, capacity: int, pace_s: float = 0.0, clock: Clock = time.perf_counter) -> None:
        self._capacity = capacity
        self._pace_s = self._best_s = self.each_s = pace_s
        self._deviation_s = 0.0
        self._clock = clock
        self._wait_s = 0.0
        self._since_s = 0.0
        self.places = capacity

    def allow(self, wait_s: float) -> None:
        """Count so long a wait for others, which is wanted, as no slowness."""
        self._wait_s = wait_s

    def begin(self) -> None:
        """Note that a job has come while nothing waited or ran."""
        self._since_s = self._clock()

    def done(self, jobs: int) -> None:
        """Note that so many jobs are done since the last time, or since the first of them came."""
        now_s = self._clock()
        pace_s = self._pace_s
        if pace_s:
            spent_s = max(0.0, now_s - self._since_s - self._wait_s)
            each_s = min(spent_s / jobs, _SLOWEST * pace_s)
            weight = min(1.0, jobs / _JOBS_REMEMBERED)
            self.each_s = mean_s = self.each_s + weight * (each_s - self.each_s)
            self._deviation_s += weight * (abs(each_s - mean_s) - self._deviation_s)
            if mean_s < self._best_s:
                self._best_s = max(mean_s, _QUICKEST * pace_s)
            share = self._best_s / (mean_s + self._deviation_s)
            self.places = math.ceil(self._capacity * min(1.0, max(_LEAST_SHARE, share)))
        self._since_s = now_s
