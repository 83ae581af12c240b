"""How many jobs may wait for a model: so many, and fewer while it is slower than it should be.

What a client bears is a wait, not a number. As many jobs as may wait take a known time at the pace of the model's
warm-up; on a node that heat or other work slows down the same number would wait longer, so fewer may. Pure.
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


class QueueBound:
    """The places for jobs that wait or run.

    `places = capacity x pace / (time of a job now)`, at most the capacity and at least a quarter of it.

    Args:
        capacity: most places.
        pace_s: what a job takes on a quiet node; 0 where nobody knows, for places that do not change.
        clock: seconds.

    Attributes:
        places: how many may wait or run now.
        each_s: what a job takes at present.
    """

    __slots__ = ("_capacity", "_clock", "_pace_s", "_since_s", "_wait_s", "each_s", "places")

    def __init__(self, capacity: int, pace_s: float = 0.0, clock: Clock = time.perf_counter) -> None:
        self._capacity = capacity
        self._pace_s = self.each_s = pace_s
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
            self.each_s += min(1.0, jobs / _JOBS_REMEMBERED) * (each_s - self.each_s)
            if self.each_s <= pace_s:
                # The queue would not be shorter by it: a model that is quicker than thought has all its places.
                self.places = self._capacity
            else:
                self.places = math.ceil(self._capacity * max(_LEAST_SHARE, pace_s / self.each_s))
        self._since_s = now_s
