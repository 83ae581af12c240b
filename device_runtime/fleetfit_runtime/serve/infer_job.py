"""An infer request that came over REST: what it says, and the bytes of its answer."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fleetfit_runtime.engine.model_session import Array
from fleetfit_runtime.engine.served_model import ServedModel
from fleetfit_runtime.serve.asker import Asker
from fleetfit_runtime.serve.body import Body
from fleetfit_runtime.serve.content_coding import LEAST_COMPRESSED_BYTES, compressed, inflate, wanted_coding
from fleetfit_runtime.serve.errors import RequestError
from fleetfit_runtime.serve.http_head import NO_NUMBER
from fleetfit_runtime.serve.http_message import HttpRequest
from fleetfit_runtime.serve.infer_plan import InferPlan, PlanCache, plan_for
from fleetfit_runtime.serve.infer_request import parse_infer_request
from fleetfit_runtime.serve.infer_response import build_infer_response
from fleetfit_runtime.serve.predicted_class import predicted_class
from fleetfit_runtime.serve.reading_pace import ReadingPace
from fleetfit_runtime.serve.request_job import InferObserver, RequestJob
from fleetfit_runtime.serve.response import Response, error_response

_PLEASE_RATE = b"fleetfit-rate: 1\r\n"
_LONGEST_TIMEOUT_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class InferTools:
    """What all infer requests share.

    Attributes:
        observer: told what becomes of them.
        max_body_bytes: largest body after decompression.
        pace: told how long reading took.
    """

    observer: InferObserver
    max_body_bytes: int
    pace: ReadingPace


class InferJob(RequestJob):
    """An infer request over REST.

    Args:
        model: what it is for.
        request: the request.
        plans: plans of the model.
        tools: what all infer requests share.
        begun_s: when its head and body were there.
    """

    __slots__ = ("_plan", "_plans", "_response", "_tools", "request")

    def __init__(
        self, model: ServedModel, request: HttpRequest, plans: PlanCache, tools: InferTools, begun_s: float
    ) -> None:
        super().__init__(model, begun_s)
        self.request = request
        self._plans = plans
        self._tools = tools
        self._plan: InferPlan | None = None
        self._response: Response | None = None
        request.on_gone = self._abandon
        if request.head.timeout_ms is not None:
            self._expect_within(_header_timeout_s(request.head.timeout_ms))

    @property
    def asker(self) -> Asker:
        """Who asks."""
        return self.request

    # reading

    def read(self) -> None:
        """Read the request, which makes its size known.

        Raises:
            RequestError: anything about it is wrong.
        """
        head, body = self.request.head, self.request.body
        if head.content_encoding is not None:
            self.request.body = body = inflate(body, head.content_encoding, self._tools.max_body_bytes)
        length = head.inference_header_length
        if length == NO_NUMBER:
            raise RequestError(400, "Inference-Header-Content-Length must be a whole number")
        plan = None if length is None else self._plans.find(body, length)
        if plan is None or length is None:
            self._read_in_full(body, length)
            return
        self._plan = plan
        self._take_planned(plan, plan.asked, plan.inputs(body, length))

    def _read_in_full(self, body: Body, length: int | None) -> None:
        session = self.model.model
        begun_s = time.perf_counter()
        asked = parse_infer_request(body, length, session.inputs, session.outputs)
        self._tools.pace.took(len(body) if length is None else length, time.perf_counter() - begun_s)
        plan = None if length is None else plan_for(asked, len(body) - length)
        if plan is not None and length is not None:
            self._plans.add(bytes(body[:length]), plan)
            self._plan = plan
            self._take_planned(plan, asked, asked.inputs)
            return
        self._take(asked)

    # RequestJob

    def _write(self, arrays: Sequence[Array]) -> None:
        response = self._plan.reply(arrays) if self._plan is not None else None
        if response is None:
            response = self._answer(arrays)
        if self.request.head.accept_encoding is not None:
            response = _compressed(response, self.request.head.accept_encoding)
        self._response = response

    def _refuse(self, error: RequestError) -> None:
        self._response = error_response(error.status, error.message)

    def expire(self) -> None:
        """Answer that it is too late."""
        self._response = error_response(504, "the request's time was up before the model could run it")

    def deliver(self) -> None:
        """Count the request and answer it."""
        response = self._response
        if self.abandoned:
            self._tools.observer.cancelled(self)
            return
        if response is None:
            return
        self._tools.observer.answered(self, response.status)
        self.request.answer(response)

    # writing

    def _answer(self, arrays: Sequence[Array]) -> Response:
        model, asked = self.model, self.asked
        if asked is None:
            raise RuntimeError("a request that was not read cannot be answered")
        head: dict[str, Any] = {"model_name": model.name, "model_version": model.variant}
        if asked.id is not None:
            head["id"] = asked.id
            self.predicted_class = predicted_class(arrays)
        parameters: dict[str, Any] = {"provider": model.provider}
        head["parameters"] = parameters
        please = asked.may_ask is not None and self._tools.observer.wants_rating(
            model, asked, self.request.peer
        )
        if please:
            parameters["fleetfit_rate"] = True
        response = build_infer_response(head, asked.outputs, arrays)
        if self._plan is not None:
            self._plan.learn_reply(arrays, response)
        if please:
            response = replace(response, extra_headers=response.extra_headers + _PLEASE_RATE)
        return response

    def _log_fields(self) -> Mapping[str, str]:
        trace = self.request.head.trace_parent
        fields = {"model": self.model.name, "variant": self.model.variant}
        if trace is not None:
            fields["traceparent"] = trace[:64].decode("latin-1")
        return fields


def _compressed(response: Response, accept_encoding: bytes) -> Response:
    coding = wanted_coding(accept_encoding) if len(response.body) >= LEAST_COMPRESSED_BYTES else None
    if coding is None:
        return response
    headers = b"%bContent-Encoding: %b\r\nVary: Accept-Encoding\r\n" % (response.extra_headers, coding)
    return Response(response.status, compressed(response.body, coding), response.content_type, headers)


def _header_timeout_s(value: bytes) -> float:
    if not value.isdigit() or len(value) > 15 or not 0 < int(value) <= _LONGEST_TIMEOUT_MS:
        raise RequestError(400, f"fleetfit-timeout-ms must be a whole number from 1 to {_LONGEST_TIMEOUT_MS}")
    return int(value) / 1000
