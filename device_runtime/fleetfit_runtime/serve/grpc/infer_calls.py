"""ModelInfer: finds the model and lets the engine run the call."""

import time
from collections.abc import Callable
from typing import Final

from fleetfit_runtime.engine.lane import LaneFull
from fleetfit_runtime.engine.run_watch import RunRefused
from fleetfit_runtime.serve.errors import RequestError, bad_request
from fleetfit_runtime.serve.failure_reason import FailureReason
from fleetfit_runtime.serve.grpc.call import UnaryCall
from fleetfit_runtime.serve.grpc.infer_job import GrpcInferJob
from fleetfit_runtime.serve.grpc.infer_request import InferMessage
from fleetfit_runtime.serve.grpc.message_heads import MessageHead, MessageHeads
from fleetfit_runtime.serve.grpc.wire import WireError
from fleetfit_runtime.serve.infer_ledger import InferLedger
from fleetfit_runtime.serve.model_finder import ModelFinder

# Typed elements of this much take about a millisecond to read; raw ones are views.
_INLINE_MESSAGE_BYTES: Final = 64 << 10


class InferCalls:
    """Answers ModelInfer.

    Args:
        finder: finds models by name.
        ledger: counts what becomes of the calls.
        now_s: the loop's clock, which deadlines are on.
    """

    def __init__(self, finder: ModelFinder, ledger: InferLedger, now_s: Callable[[], float]) -> None:
        self._finder = finder
        self._ledger = ledger
        self._now_s = now_s
        self._heads = MessageHeads()

    def infer(self, data: memoryview, call: UnaryCall) -> None:
        """Take a ModelInferRequest; it is answered later through its call.

        Raises:
            RequestError: it cannot be run.
        """
        begun_s = time.perf_counter()
        try:
            message, head = self._read(data)
            model = self._finder.find(message.model_name, message.model_version)
        except RequestError as error:
            self._ledger.not_found("", error.status, call, time.perf_counter() - begun_s)
            raise
        try:
            job = GrpcInferJob(model, message, head, call, self._ledger, begun_s)
            if call.deadline_s is not None:
                job.deadline_s = begun_s + call.deadline_s - self._now_s()
            if message.raw or len(data) <= _INLINE_MESSAGE_BYTES:
                job.read()
            model.submit(job)
        except LaneFull:
            self._ledger.refused(model, 503, begun_s, call, FailureReason.OVERLOADED)
            raise RequestError(503, f"too many requests wait for model {model.name!r}") from None
        except RunRefused as refused:
            self._ledger.refused(model, refused.status, begun_s, call, FailureReason.UNAVAILABLE)
            raise RequestError(refused.status, str(refused)) from None
        except RequestError as error:
            self._ledger.refused(model, error.status, begun_s, call)
            raise

    def _read(self, data: memoryview) -> tuple[InferMessage, MessageHead | None]:
        try:
            return self._heads.read(data)
        except WireError as error:
            raise bad_request(f"the message is malformed: {error}") from error
