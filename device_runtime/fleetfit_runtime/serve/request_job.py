"""One infer request on its way through the engine, however it came: read, run, answered.

Reading and writing happen in the thread that runs the model, answering on the event loop. What goes over the wire is
the business of the classes that extend this one.
"""

import logging
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Protocol

from fleetfit_runtime.engine.inference_job import NO_DEADLINE_S, InferenceJob
from fleetfit_runtime.engine.load_errors import plain_message
from fleetfit_runtime.engine.model_session import Array
from fleetfit_runtime.engine.run_watch import RunRefused
from fleetfit_runtime.engine.served_model import ServedModel
from fleetfit_runtime.serve.asker import Asker
from fleetfit_runtime.serve.errors import RequestError
from fleetfit_runtime.serve.infer_plan import InferPlan, batch_key, items_of
from fleetfit_runtime.serve.infer_request import InferRequest

logger = logging.getLogger(__name__)


class InferObserver(Protocol):
    """What becomes of infer requests; called on the event loop except where it says otherwise."""

    def answered(self, job: "RequestJob", status: int) -> None:
        """A request was answered."""

    def cancelled(self, job: "RequestJob") -> None:
        """The client of a request has gone."""

    def wants_rating(self, model: ServedModel, asked: InferRequest, peer: str) -> bool:
        """Tell whether to ask for a rating of the reply that is being made; from any thread."""


class RequestJob(InferenceJob):
    """An infer request.

    Attributes:
        model: what it is for.
        asked: what it asks; None until it has been read.
        predicted_class: the class that the answer names, of requests with an id.
    """

    __slots__ = ("asked", "model", "predicted_class")

    def __init__(self, model: ServedModel, begun_s: float) -> None:
        super().__init__(begun_s)
        self.model = model
        self.asked: InferRequest | None = None
        self.predicted_class: int | None = None

    @property
    @abstractmethod
    def asker(self) -> Asker:
        """Who asks."""

    @abstractmethod
    def read(self) -> None:
        """Read the request, which makes its size known.

        Raises:
            RequestError: anything about it is wrong.
        """

    @abstractmethod
    def _write(self, arrays: Sequence[Array]) -> None:
        """Make the answer from the model's outputs."""

    @abstractmethod
    def _refuse(self, error: RequestError) -> None:
        """Make the answer from an error."""

    @abstractmethod
    def _log_fields(self) -> Mapping[str, str]:
        """Return what a log line about the request names."""

    def _take(self, asked: InferRequest) -> None:
        """Take what was read."""
        self.asked = asked
        self.inputs = asked.inputs
        self.output_names = asked.output_names
        self.elements = sum(array.size for array in asked.inputs.values())
        self.items = items_of(asked)
        if self.items and self.model.batches.most_items > 1:
            self.batch_key = batch_key(asked)
        self._expect_within(asked.timeout_s)

    def _take_planned(self, plan: InferPlan, asked: InferRequest, inputs: dict[str, Array]) -> None:
        """Take what is known of such requests already, with the tensors of this one."""
        self.asked = asked
        self.inputs = inputs
        self.output_names = plan.output_names
        self.elements = plan.elements
        self.items = plan.items
        if plan.items:
            self.batch_key = plan.key
        self._expect_within(asked.timeout_s)

    def _expect_within(self, timeout_s: float | None) -> None:
        if timeout_s is not None:
            self.deadline_s = min(self.deadline_s, self.queued_s + timeout_s)

    # InferenceJob

    def prepare(self) -> bool:
        """Read the request unless that is done; its deadline may turn out to have passed."""
        if self.asked is not None:
            return True
        try:
            self.read()
        except RequestError as error:
            self._refuse(error)
            return False
        except Exception:
            self._log_failure("request could not be read")
            self._refuse(RequestError(500, "the server failed to read the request; its log says why"))
            return False
        if self.deadline_s != NO_DEADLINE_S and time.perf_counter() > self.deadline_s:
            self.expire()
            return False
        return True

    def finish(self, arrays: Sequence[Array]) -> None:
        """Write the answer."""
        try:
            self._write(arrays)
        except Exception:
            self._log_failure("response could not be written")
            self._refuse(RequestError(500, "the server failed to write the response; its log says why"))

    def fail(self, error: Exception) -> None:
        """Answer with ONNX Runtime's own sentence, or with why the engine did not run the request to its end."""
        if isinstance(error, RunRefused):
            self._refuse(RequestError(error.status, str(error)))
            return
        status = 400 if type(error).__name__ == "InvalidArgument" else 500
        if status == 500:
            self._log_failure("model could not run")
        self._refuse(RequestError(status, f"the model could not run: {plain_message(error)}"))

    def _abandon(self) -> None:
        self.abandoned = True

    def _log_failure(self, message: str) -> None:
        logger.exception(message, extra=self._log_fields())
