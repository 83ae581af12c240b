"""Runs a quick model's jobs on the event loop: all that became ready in one turn of the loop as one batch, at its end.

Nothing waits for company: a job that is alone in its turn runs alone. Where more is ready than may hold up the loop,
the rest runs in the next turns, so that health checks and other models are answered in between.
"""

import asyncio
import time
from collections import deque

from fleetfit_runtime.engine.batching import Clock, run_jobs
from fleetfit_runtime.engine.inference_job import InferenceJob
from fleetfit_runtime.engine.lane import LaneFull
from fleetfit_runtime.engine.model_session import RunModel
from fleetfit_runtime.engine.queue_bound import QueueBound


class LoopTurn:
    """The jobs of one model that are ready to run on the loop.

    Args:
        run: runs the model.
        most_items: items that may run as one batch within the time that the loop may be held up.
        bound: how many jobs may wait.
        hold_s: once a turn has taken this long, it begins nothing further.
        clock: seconds.
    """

    def __init__(
        self,
        run: RunModel,
        most_items: int,
        bound: QueueBound,
        hold_s: float,
        clock: Clock = time.perf_counter,
    ) -> None:
        self._run = run
        self._most_items = most_items
        self._bound = bound
        self._hold_s = hold_s
        self._clock = clock
        self._jobs: deque[InferenceJob] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None

    def batch(self, most_items: int) -> None:
        """Run up to so many items together from the next run on."""
        self._most_items = most_items

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return len(self._jobs)

    @property
    def full(self) -> bool:
        """Tell whether a job that comes now is refused."""
        return len(self._jobs) >= self._bound.places

    @property
    def wait_s(self) -> float:
        """How long a job that comes now would wait."""
        return len(self._jobs) * self._bound.each_s

    def add(self, job: InferenceJob) -> None:
        """Run a job at the end of this turn.

        Raises:
            LaneFull: too many wait.
        """
        if not self._jobs:
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self._end_turn)
            self._bound.begin()
        elif self.full:
            raise LaneFull
        self._jobs.append(job)

    def _end_turn(self) -> None:
        jobs = self._jobs
        begun_s = self._clock()
        while jobs:
            taken = [jobs.popleft()]
            while jobs and len(taken) < self._most_items:
                taken.append(jobs.popleft())
            run_jobs(taken, self._run, self._most_items)
            self._bound.done(len(taken))
            for job in taken:
                job.deliver()
            if jobs and self._clock() - begun_s >= self._hold_s and self._loop is not None:
                self._loop.call_soon(self._end_turn)
                return
