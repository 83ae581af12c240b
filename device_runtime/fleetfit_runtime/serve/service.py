"""Answers the calls of the Open Inference Protocol from the model table.

A quick model runs one item here on the event loop; a slow one, a batch or a large body goes through the model's own
thread, so that health checks are answered while it runs. Whatever goes wrong in a request becomes an answer with a
sentence.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from fleetfit_runtime.engine.lane import LaneFull
from fleetfit_runtime.engine.load_errors import plain_message
from fleetfit_runtime.engine.model_table import ModelTable
from fleetfit_runtime.engine.served_model import ServedModel
from fleetfit_runtime.engine.session import TensorSpec
from fleetfit_runtime.serve.errors import RequestError
from fleetfit_runtime.serve.http_message import HttpRequest
from fleetfit_runtime.serve.infer_request import InferRequest, parse_infer_request
from fleetfit_runtime.serve.infer_response import build_infer_response
from fleetfit_runtime.serve.response import Response, error_response, json_response
from fleetfit_runtime.serve.routes import Call, Route, find_route

logger = logging.getLogger(__name__)

PLATFORM = "onnx_onnxv1"
SERVER_NAME = "fleetfit-runtime"
EXTENSIONS = ("binary_tensor_data",)
# Parsing this much JSON takes about a millisecond; more would delay health answers.
_INLINE_BODY_BYTES = 64 << 10
# Clients of a node use a handful of paths; the bound is for those who make up new ones.
_MOST_KNOWN_ROUTES = 256
_RETRY = b"Retry-After: 1\r\n"


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the server should get traffic, and why not."""

    ready: bool
    message: str = ""


class RequestObserver(Protocol):
    """What is counted about requests; called on the event loop."""

    def inference(self, model: ServedModel, duration_s: float) -> None:
        """An inference was run."""

    def request(self, model: str, code: int, duration_s: float) -> None:
        """An infer request was answered."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of an infer request, wherever it ran."""

    response: Response
    inference_s: float | None = None


class InferenceService:
    """Answers requests.

    Args:
        models: what answers under which name.
        readiness: asked at each health request.
        pending_reason: says why an assigned model does not answer yet; None for a name that is not assigned.
        metrics: the text of the metrics page with its content type.
        observer: what is counted.
        version: version of the runtime.
    """

    def __init__(
        self,
        models: ModelTable,
        readiness: Callable[[], Readiness],
        pending_reason: Callable[[str], str | None],
        metrics: Callable[[], tuple[bytes, str]],
        observer: RequestObserver,
        version: str,
    ) -> None:
        self._models = models
        self._readiness = readiness
        self._pending_reason = pending_reason
        self._metrics = metrics
        self._observer = observer
        self._version = version
        self._routes: dict[tuple[bytes, bytes], Route] = {}
        self._calls: dict[Call, Callable[[Route], Response]] = {
            Call.SERVER_METADATA: self._server_metadata,
            Call.SERVER_LIVE: lambda _route: json_response(200, {"live": True}),
            Call.SERVER_READY: self._server_ready,
            Call.LIST_MODELS: lambda _route: json_response(200, {"models": self._models.names()}),
            Call.MODEL_METADATA: self._model_metadata,
            Call.MODEL_READY: self._model_ready,
            Call.METRICS: self._metrics_page,
        }

    def handle(self, request: HttpRequest) -> "Response | asyncio.Future[Response]":
        """Answer a request, at once or later; never raises."""
        try:
            route = self._route(request.method, request.target)
            if route.call is Call.INFER:
                return self._infer(route, request)
            return self._calls[route.call](route)
        except RequestError as error:
            return error_response(error.status, error.message)
        except Exception:
            logger.exception("request failed", extra={"target": request.target[:200].decode("latin-1")})
            return error_response(500, "the server failed to answer; its log says why")

    def _route(self, method: bytes, target: bytes) -> Route:
        route = self._routes.get((method, target))
        if route is None:
            route = find_route(method, target)
            if len(self._routes) < _MOST_KNOWN_ROUTES:
                self._routes[method, target] = route
        return route

    def _infer(self, route: Route, request: HttpRequest) -> "Response | asyncio.Future[Response]":
        begun_s = time.perf_counter()
        try:
            model = self._find(route)
            begun = _begin(model, request)
            if isinstance(begun, _Outcome):
                return self._record(model, begun_s, begun)
            answer = model.lane.submit(begun)
        except RequestError as error:
            retry = _RETRY if error.status == 503 else b""
            name = route.model if route.model in self._models.names() else ""
            self._observer.request(name, error.status, time.perf_counter() - begun_s)
            return error_response(error.status, error.message, retry)
        except LaneFull:
            self._observer.request(model.name, 503, time.perf_counter() - begun_s)
            return error_response(503, f"too many requests wait for model {model.name!r}", _RETRY)
        return asyncio.ensure_future(self._later(model, begun_s, answer))

    async def _later(
        self, model: ServedModel, begun_s: float, answer: "asyncio.Future[_Outcome]"
    ) -> Response:
        return self._record(model, begun_s, await answer)

    def _record(self, model: ServedModel, begun_s: float, outcome: _Outcome) -> Response:
        if outcome.inference_s is not None:
            model.latency.record(outcome.inference_s)
            self._observer.inference(model, outcome.inference_s)
        self._observer.request(model.name, outcome.response.status, time.perf_counter() - begun_s)
        return outcome.response

    def _find(self, route: Route) -> ServedModel:
        model = self._models.get(route.model)
        if model is None:
            reason = self._pending_reason(route.model)
            if reason is not None:
                raise RequestError(503, f"model {route.model!r} is not ready: {reason}")
            raise RequestError(404, f"there is no model {route.model!r} on this node")
        if route.version and route.version != model.variant:
            raise RequestError(
                404, f"model {route.model!r} has no version {route.version!r}; it has {model.variant!r}"
            )
        return model

    def _server_metadata(self, _route: Route) -> Response:
        return json_response(
            200, {"name": SERVER_NAME, "version": self._version, "extensions": list(EXTENSIONS)}
        )

    def _server_ready(self, _route: Route) -> Response:
        readiness = self._readiness()
        if readiness.ready:
            return json_response(200, {"ready": True})
        return json_response(503, {"ready": False, "error": readiness.message})

    def _model_metadata(self, route: Route) -> Response:
        model = self._find(route)
        document: dict[str, Any] = {
            "name": model.name,
            "versions": [model.variant],
            "platform": PLATFORM,
            "inputs": _described(model.model.inputs),
            "outputs": _described(model.model.outputs),
            "properties": {"provider": model.provider, "sha256": model.sha256},
        }
        return json_response(200, document)

    def _model_ready(self, route: Route) -> Response:
        try:
            model = self._find(route)
        except RequestError as error:
            if error.status != 503:
                raise
            return json_response(503, {"name": route.model, "ready": False, "error": error.message})
        return json_response(200, {"name": model.name, "ready": True})

    def _metrics_page(self, _route: Route) -> Response:
        text, content_type = self._metrics()
        return Response(200, text, content_type.encode())


def _described(specs: tuple[TensorSpec, ...]) -> list[dict[str, Any]]:
    return [
        {"name": spec.name, "datatype": spec.tensor_type.datatype, "shape": spec.shape}
        for spec in specs
        if spec.tensor_type is not None
    ]


def _begin(model: ServedModel, request: HttpRequest) -> _Outcome | Callable[[], _Outcome]:
    """Answer an infer request if that is a matter of a millisecond, else return what the model's thread has to do."""
    if not model.inline or model.lane.waiting > 0 or len(request.body) > _INLINE_BODY_BYTES:
        return partial(_infer, model, request)
    asked = _parse(model, request)
    if isinstance(asked, _Outcome):
        return asked
    # A small body can hold many items: their time grows with their number.
    return _run(model, asked) if model.as_small_as_warm_up(asked.inputs) else partial(_run, model, asked)


def _infer(model: ServedModel, request: HttpRequest) -> _Outcome:
    """Answer an infer request; never raises."""
    asked = _parse(model, request)
    return asked if isinstance(asked, _Outcome) else _run(model, asked)


def _parse(model: ServedModel, request: HttpRequest) -> InferRequest | _Outcome:
    """Return what is asked, or the answer that says what is wrong with it; never raises."""
    try:
        header_length = _header_length(request.inference_header_length)
        return parse_infer_request(request.body, header_length, model.model.inputs, model.model.outputs)
    except RequestError as error:
        return _Outcome(error_response(error.status, error.message))
    except Exception:
        logger.exception("request could not be parsed", extra={"model": model.name})
        return _Outcome(error_response(500, "the server failed to read the request; its log says why"))


def _run(model: ServedModel, asked: InferRequest) -> _Outcome:
    """Run the model; on the event loop or in the model's thread, and never raises."""
    begun_s = time.perf_counter()
    try:
        arrays = model.run([spec.name for spec, _ in asked.outputs], asked.inputs)
    except Exception as error:
        status = 400 if type(error).__name__ == "InvalidArgument" else 500
        return _Outcome(error_response(status, f"the model could not run: {plain_message(error)}"))
    inference_s = time.perf_counter() - begun_s
    head: dict[str, Any] = {"model_name": model.name, "model_version": model.variant}
    if asked.id is not None:
        head["id"] = asked.id
    head["parameters"] = {"provider": model.provider}
    try:
        return _Outcome(build_infer_response(head, asked.outputs, arrays), inference_s)
    except Exception:
        logger.exception("response could not be written", extra={"model": model.name})
        return _Outcome(error_response(500, "the server failed to write the response; its log says why"))


def _header_length(value: bytes | None) -> int | None:
    if value is None:
        return None
    if not value.isdigit() or len(value) > 15:
        raise RequestError(400, "Inference-Header-Content-Length must be a whole number")
    return int(value)
