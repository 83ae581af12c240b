"""Keeps what traces need of finished requests until it is sent: which are recorded, and when each part of them ran.

Spans are made of times that the request has anyway, after it was answered, so that nothing is spent on requests that
are not sampled. When spans come faster than they are sent, the newest are dropped and counted.
"""

import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from fleetfit_runtime.serve.asker import Asker
from fleetfit_runtime.serve.infer_ledger import Failure, RequestObserver
from fleetfit_runtime.serve.request_job import RequestJob
from fleetfit_runtime.telemetry.trace_context import read_trace_context

MOST_WAITING: Final = 2048
_ID_SPACE: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class RunTimes:
    """When a request ran, on the clock of `time.perf_counter`.

    Attributes:
        variant: the variant that ran.
        provider: what ran it.
        begun_s: begin of the run.
        run_s: its length; 0 when the model did not run.
        items: items that ran together.
    """

    variant: str
    provider: str
    begun_s: float
    run_s: float
    items: int


class Outcome(NamedTuple):
    """What became of a request.

    Attributes:
        model: name of the model, empty when there is none.
        status: HTTP status of the answer, 0 when there was nobody to answer.
        reason: why it failed, empty when it did not.
    """

    model: str
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class FinishedRequest:
    """A request that is recorded.

    Attributes:
        trace_id: 32 hexadecimal digits.
        parent_id: the caller's span; empty for the first span of a trace.
        method: HTTP method, empty for a gRPC call.
        path: path with query, or the full name of the gRPC method.
        peer: address of the client.
        outcome: what became of it.
        begun_s: when it was there, on the clock of `time.perf_counter`.
        ended_s: when it was answered.
        run: its run, None when no model was found.
    """

    trace_id: str
    parent_id: str
    method: str
    path: str
    peer: str
    outcome: Outcome
    begun_s: float
    ended_s: float
    run: RunTimes | None


class SpanRecorder:
    """Records finished requests; an observer that tells another one everything too.

    Args:
        inner: the other observer.
        ratio: share of requests without a caller's trace that are recorded; the others follow their caller.
        rng: chooses them, and makes the ids of traces.
        clock: the engine's clock.
        most_waiting: requests that are kept until they are sent.

    Attributes:
        dropped: requests that were not kept because too many waited.
    """

    def __init__(
        self,
        inner: RequestObserver,
        ratio: float,
        rng: random.Random,
        clock: Callable[[], float] = time.perf_counter,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._inner = inner
        self._threshold = round(ratio * _ID_SPACE)
        self._rng = rng
        self._clock = clock
        self._most_waiting = most_waiting
        self._waiting: deque[FinishedRequest] = deque()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def served(self, job: RequestJob, duration_s: float) -> None:
        """Record a request that was answered with outputs."""
        self._inner.served(job, duration_s)
        place = self._place(job.asker)
        if place is not None:
            self._keep(place, job.asker, Outcome(job.model.name, 200, ""), (job.queued_s, duration_s), job)

    def failed(self, failure: Failure) -> None:
        """Record a request that was not."""
        self._inner.failed(failure)
        place = self._place(failure.asker)
        if place is not None:
            outcome = Outcome(failure.model, failure.status, failure.reason.value)
            begun_s = self._clock() - failure.duration_s
            self._keep(place, failure.asker, outcome, (begun_s, failure.duration_s), failure.job)

    def take(self, most: int) -> list[FinishedRequest]:
        """Return the requests that have waited longest, and forget them."""
        return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]

    def _place(self, asker: Asker) -> tuple[str, str] | None:
        """Return trace and parent of a request that is recorded."""
        caller = read_trace_context(asker.trace_parent)
        if caller is not None:
            return (caller.trace_id, caller.span_id) if caller.sampled else None
        low = self._rng.getrandbits(64)
        # The same rule as OpenTelemetry's TraceIdRatioBased: services with one ratio agree on a trace.
        if low >= self._threshold:
            return None
        return f"{self._rng.getrandbits(64) or 1:016x}{low:016x}", ""

    def _keep(
        self,
        place: tuple[str, str],
        asker: Asker,
        outcome: Outcome,
        span_s: tuple[float, float],
        job: RequestJob | None,
    ) -> None:
        if len(self._waiting) >= self._most_waiting:
            self.dropped += 1
            return
        run = None
        if job is not None:
            model = job.model
            run = RunTimes(model.variant, model.provider, job.begun_s, job.run_s, job.together or 1)
        begun_s, duration_s = span_s
        self._waiting.append(
            FinishedRequest(
                *place, asker.method, asker.path, asker.peer, outcome, begun_s, begun_s + duration_s, run
            )
        )
