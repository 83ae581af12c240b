"""One model's worker thread, with a bounded queue: its jobs run one after another, off the event loop.

One at a time, because the session already uses all processors of the node for one inference; two at once would only
make both late. What waits when the thread becomes free may run as one batch. A full queue refuses, since an answer that
comes too late helps nobody.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

from fleetfit_runtime.engine.batching import run_jobs
from fleetfit_runtime.engine.inference_job import InferenceJob
from fleetfit_runtime.engine.model_session import Array, RunModel
from fleetfit_runtime.engine.queue_bound import QueueBound
from fleetfit_runtime.engine.thread_priority import yield_to_event_loop

T = TypeVar("T")


class LaneFull(Exception):  # noqa: N818 - reads as the state it reports
    """Too many requests wait for the model."""


def _run_nothing(_names: Sequence[str], _inputs: Mapping[str, Array]) -> list[Array]:
    raise RuntimeError("this lane runs functions only")


class Lane:
    """Runs jobs of one model in order in a thread of its own.

    Args:
        name: name of the thread.
        capacity: how many jobs may wait or run; fewer while they take longer than they should.
        run: runs the model; absent for a lane of functions only.
        most_items: items that may run as one batch.
        batch_wait_s: how long a job waits for others to run with, from when it was asked for; 0 takes those that are
            there already.
        pace_s: what a job takes on a quiet node; 0 where nobody knows.

    Attributes:
        waiting: jobs that wait or run.
    """

    def __init__(
        self,
        name: str,
        capacity: int,
        run: RunModel = _run_nothing,
        most_items: int = 1,
        batch_wait_s: float = 0.0,
        pace_s: float = 0.0,
    ) -> None:
        self._name = name
        self._bound = QueueBound(capacity, pace_s)
        self._run = run
        self._most_items = most_items
        self._batch_wait_s = batch_wait_s
        self.waiting = 0
        self._queue: SimpleQueue[InferenceJob | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._in_hand: Sequence[InferenceJob] = ()

    @property
    def full(self) -> bool:
        """Tell whether a job that comes now is refused."""
        return self.waiting >= self._bound.places

    @property
    def wait_s(self) -> float:
        """How long a job that comes now would wait; 0 where nobody knows what the jobs take."""
        return self.waiting * self._bound.each_s

    def batch(self, most_items: int, wait_s: float) -> None:
        """Run up to so many items together, and let a job wait so long for others, from the next run on."""
        self._most_items, self._batch_wait_s = most_items, wait_s
        self._bound.allow(wait_s)

    def add(self, job: InferenceJob) -> None:
        """Queue a job; called on the event loop, which also delivers it.

        Raises:
            LaneFull: the queue is full.
        """
        if self.full:
            raise LaneFull
        if not self.waiting:
            self._bound.begin()
        self.waiting += 1
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._start_thread()
        self._queue.put(job)

    def submit(self, function: Callable[[], T]) -> "asyncio.Future[T]":
        """Queue a function; its result comes back on the running event loop.

        Raises:
            LaneFull: the queue is full.
        """
        job = _FunctionJob(function)
        self.add(job)
        return job.future

    def close(self) -> None:
        """Let what is queued finish, then end the thread; does not wait."""
        self._queue.put(None)

    def refuse_waiting(self, error: Exception) -> None:
        """Fail what waits, because what runs may never end; called on the event loop."""
        jobs = self._drained()
        for job in jobs:
            if not job.abandoned:
                job.fail(error)
        self._deliver(jobs)

    def abandon_run(self, error: Exception) -> None:
        """Fail what runs, and let another thread do what waits and comes; called on the event loop.

        The thread that hangs ends when it can. What becomes of its jobs then, nobody asks any more.
        """
        waiting, stuck = self._drained(), list(self._in_hand)
        self._queue.put(None)
        self._queue, self._in_hand, self._thread = SimpleQueue(), (), None
        for job in stuck:
            if not job.abandoned:
                job.fail(error)
        self._deliver(stuck)
        for job in stuck:
            job.abandoned = True
        for job in waiting:
            self._queue.put(job)
        if waiting:
            self._start_thread()

    def _start_thread(self) -> None:
        # A daemon: a run that hangs in a driver must not keep the process from ending.
        self._thread = Thread(target=self._work, args=(self._queue,), name=self._name, daemon=True)
        self._thread.start()

    def _drained(self) -> list[InferenceJob]:
        jobs: list[InferenceJob] = []
        closed = False
        with contextlib.suppress(Empty):
            while True:
                job = self._queue.get_nowait()
                if job is None:
                    closed = True
                else:
                    jobs.append(job)
        if closed:
            self._queue.put(None)
        return jobs

    def _work(self, queue: "SimpleQueue[InferenceJob | None]") -> None:
        yield_to_event_loop()
        open_ = True
        while open_:
            jobs, open_ = self._take(queue)
            self._in_hand = jobs
            run_jobs(jobs, self._run, self._most_items)
            if queue is not self._queue:
                return  # Abandoned meanwhile: the jobs have their answers.
            self._in_hand = ()
            if jobs and self._loop is not None:
                with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
                    self._loop.call_soon_threadsafe(self._deliver, jobs)

    def _take(self, queue: "SimpleQueue[InferenceJob | None]") -> tuple[list[InferenceJob], bool]:
        """Return the next jobs, and whether further ones may come."""
        jobs: list[InferenceJob] = []
        items = 0
        end_s = math.inf
        job = queue.get()
        while job is not None:
            jobs.append(job)
            items += max(1, job.items)
            if items >= self._most_items:
                return jobs, True
            end_s = min(end_s, self._end_of_wait_s(job))
            try:
                job = queue.get(timeout=max(0.0, end_s - time.perf_counter()))
            except Empty:
                return jobs, True
        return jobs, False

    def _end_of_wait_s(self, job: InferenceJob) -> float:
        """Return until when a job waits for others; one that is known to run alone, or has no time, does not."""
        until_s = job.queued_s + self._batch_wait_s
        alone = job.batch_key is None and job.elements < math.inf
        return job.queued_s if alone or job.deadline_s <= until_s else until_s

    def _deliver(self, jobs: Sequence[InferenceJob]) -> None:
        self.waiting -= len(jobs)
        if jobs:
            self._bound.done(len(jobs))
        for job in jobs:
            job.deliver()


class _FunctionJob(InferenceJob, Generic[T]):
    """Any function in the place of an inference."""

    __slots__ = ("_error", "_function", "_results", "future")

    def __init__(self, function: Callable[[], T]) -> None:
        super().__init__(0.0)
        self._function = function
        self._results: list[T] = []
        self._error: Exception | None = None
        self.future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def prepare(self) -> bool:
        if not self.future.cancelled():
            try:
                self._results.append(self._function())
            except Exception as error:
                self._error = error
        return False

    def finish(self, arrays: Sequence[Array]) -> None:
        """Nothing to do: it has no run."""

    def fail(self, error: Exception) -> None:
        self._error = error

    def expire(self) -> None:
        """Nothing to do: it has no deadline."""

    def deliver(self) -> None:
        if self.future.done():
            return
        if self._error is not None:
            self.future.set_exception(self._error)
        else:
            self.future.set_result(self._results[0])
