"""What becomes of infer requests, however they came: counted, remembered for ratings, and asked for one."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fleetfit_runtime.engine.served_model import ServedModel
from fleetfit_runtime.ratings.desk import RatingDesk
from fleetfit_runtime.ratings.recent_requests import LONGEST_ID
from fleetfit_runtime.serve.asker import Asker
from fleetfit_runtime.serve.failure_reason import FailureReason, reason_of
from fleetfit_runtime.serve.infer_request import InferRequest
from fleetfit_runtime.serve.request_job import RequestJob


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that was not answered with outputs.

    Attributes:
        model: name of the model, empty when there is none.
        status: HTTP status of the answer, 0 when there was nobody to answer.
        reason: why it failed.
        duration_s: how long it took.
        asker: who asked.
        job: the request, where it came as far as that.
    """

    model: str
    status: int
    reason: FailureReason
    duration_s: float
    asker: Asker
    job: RequestJob | None = None


class RequestObserver(Protocol):
    """What is counted about requests; called on the event loop."""

    def served(self, job: RequestJob, duration_s: float) -> None:
        """An infer request was answered with outputs."""

    def failed(self, failure: Failure) -> None:
        """An infer request was not."""


class InferLedger:
    """Counts infer requests; called on the event loop except where it says otherwise.

    Args:
        ask_share: share of replies in which to ask for a rating, by model name; called from any thread.
        desk: knows whom to ask, and remembers what a rating may name.
        observer: what is counted.
    """

    def __init__(
        self, ask_share: Callable[[str], float], desk: RatingDesk, observer: RequestObserver
    ) -> None:
        self._ask_share = ask_share
        self._desk = desk
        self._observer = observer

    def answered(self, job: RequestJob, status: int) -> None:
        """Count an answer."""
        model = job.model
        if job.run_s:
            model.latency.record(job.run_s)
        if status != 200:
            self._failed(job, status, reason_of(status))
            return
        duration_s = time.perf_counter() - job.queued_s
        self._observer.served(job, duration_s)
        model.counts.answered(job, duration_s, time.time())
        asked = job.asked
        if asked is not None and asked.id is not None:
            self._desk.note(model, asked.id, duration_s, job.predicted_class)

    def cancelled(self, job: RequestJob) -> None:
        """Count a request whose client went away before the answer."""
        self._failed(job, 0, FailureReason.CANCELLED)

    def refused(
        self,
        model: ServedModel,
        status: int,
        begun_s: float,
        asker: Asker,
        reason: FailureReason | None = None,
    ) -> None:
        """Count a request that the model did not take; without a reason, for that of the status."""
        duration_s = time.perf_counter() - begun_s
        model.counts.failure.add(duration_s)
        self._observer.failed(Failure(model.name, status, reason or reason_of(status), duration_s, asker))

    def not_found(self, name: str, status: int, asker: Asker, duration_s: float = 0.0) -> None:
        """Count a request that found no model to run it."""
        reason = FailureReason.NOT_READY if status == 503 else reason_of(status)
        self._observer.failed(Failure(name, status, reason, duration_s, asker))

    def _failed(self, job: RequestJob, status: int, reason: FailureReason) -> None:
        duration_s = time.perf_counter() - job.queued_s
        job.model.counts.failure.add(duration_s)
        self._observer.failed(Failure(job.model.name, status, reason, duration_s, job.asker, job))

    def wants_rating(self, model: ServedModel, asked: InferRequest, peer: str) -> bool:
        """Tell whether to ask for a rating of the reply that is being made; from any thread."""
        if asked.may_ask is None or asked.id is None or len(asked.id) > LONGEST_ID:
            return False
        return self._desk.wants_rating(model.name, self._ask_share(model.name), peer, asked.may_ask or None)
