"""A ModelInfer call: what it says, and the bytes of its answer."""

from collections.abc import Mapping, Sequence

from fleetfit_runtime.engine.model_session import Array
from fleetfit_runtime.engine.served_model import ServedModel
from fleetfit_runtime.serve.asker import Asker
from fleetfit_runtime.serve.errors import RequestError, bad_request
from fleetfit_runtime.serve.grpc.call import UnaryCall
from fleetfit_runtime.serve.grpc.infer_request import InferMessage, resolve
from fleetfit_runtime.serve.grpc.infer_response import ResponseHead, write_infer_response
from fleetfit_runtime.serve.grpc.message_heads import MessageHead, MessagePlan
from fleetfit_runtime.serve.grpc.wire import WireError
from fleetfit_runtime.serve.infer_request import InferRequest
from fleetfit_runtime.serve.predicted_class import predicted_class
from fleetfit_runtime.serve.request_job import InferObserver, RequestJob


class GrpcInferJob(RequestJob):
    """A ModelInfer call.

    Args:
        model: what it is for.
        message: what is asked, its tensors still bytes.
        head: what was made of a message that began with the same bytes, if its tensors are raw.
        call: who asks.
        observer: told what becomes of it.
        begun_s: when the message was there, on the engine's clock.
    """

    __slots__ = ("_head", "_message", "_observer", "_outcome", "_plan", "call")

    def __init__(
        self,
        model: ServedModel,
        message: InferMessage,
        head: MessageHead | None,
        call: UnaryCall,
        observer: InferObserver,
        begun_s: float,
    ) -> None:
        super().__init__(model, begun_s)
        self.call = call
        self._message = message
        self._head = head
        self._plan: MessagePlan | None = None
        self._observer = observer
        self._outcome: bytes | RequestError | None = None
        call.on_gone = self._abandon

    @property
    def asker(self) -> Asker:
        """Who asks."""
        return self.call

    def read(self) -> None:
        """Read the tensors, which makes the request's size known.

        Raises:
            RequestError: the request does not fit the model.
        """
        head, raw = self._head, self._message.raw
        known = None if head is None else head.plans.get(self.model)
        inputs = None if known is None else known.inputs(raw)
        if known is not None and inputs is not None:
            self._take_known(known, known.plan.asked, inputs)
            return
        try:
            asked = resolve(self._message, self.model.model.inputs, self.model.model.outputs)
        except WireError as error:
            raise bad_request(f"the message is malformed: {error}") from error
        learnt = None if head is None else head.learn(self.model, asked, raw)
        if learnt is not None:
            self._take_known(learnt, asked, asked.inputs)
            return
        self._take(asked)

    def _take_known(self, known: MessagePlan, asked: InferRequest, inputs: dict[str, Array]) -> None:
        self._plan = known
        self._take_planned(known.plan, asked, inputs)

    # RequestJob

    def _write(self, arrays: Sequence[Array]) -> None:
        answer = None if self._plan is None else self._plan.reply(arrays)
        if answer is None:
            answer = self._answer(arrays)
            if self._plan is not None:
                self._plan.learn_reply(arrays, answer)
        self._outcome = answer

    def _answer(self, arrays: Sequence[Array]) -> bytes:
        asked, model = self.asked, self.model
        if asked is None:
            raise RuntimeError("a request that was not read was run")
        parameters: dict[str, str | bool] = {"provider": model.provider}
        if asked.id is not None:
            self.predicted_class = predicted_class(arrays)
            if asked.may_ask is not None and self._observer.wants_rating(model, asked, self.call.peer):
                parameters["fleetfit_rate"] = True
        head = ResponseHead(model.name, model.variant, asked.id or "", parameters)
        return write_infer_response(
            head, [spec for spec, _ in asked.outputs], arrays, raw=bool(self._message.raw)
        )

    def _refuse(self, error: RequestError) -> None:
        self._outcome = error

    def expire(self) -> None:
        """Answer that it is too late."""
        self._refuse(RequestError(504, "the deadline passed before the model could run the request"))

    def deliver(self) -> None:
        """Count the call and answer it; it may have been told already that its deadline passed."""
        outcome = self._outcome
        if self.abandoned:
            self._observer.cancelled(self)
            return
        if outcome is None:
            return
        if isinstance(outcome, bytes):
            self._observer.answered(self, 200)
            self.call.answer(outcome)
        else:
            self._observer.answered(self, outcome.status)
            self.call.fail(outcome)

    def _log_fields(self) -> Mapping[str, str]:
        return {"model": self.model.name}
