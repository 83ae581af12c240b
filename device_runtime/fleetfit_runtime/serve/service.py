"""Answers the calls of the Open Inference Protocol about the server and its models, and hands on those that do more.

Whatever goes wrong in a request becomes an answer with a sentence.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fleetfit_runtime.engine.model_session import TensorSpec
from fleetfit_runtime.engine.model_table import ModelTable
from fleetfit_runtime.engine.served_model import ServedModel
from fleetfit_runtime.ratings.desk import RatingDesk
from fleetfit_runtime.serve.errors import RequestError
from fleetfit_runtime.serve.http_message import HttpRequest
from fleetfit_runtime.serve.infer_calls import RETRY, InferCalls
from fleetfit_runtime.serve.infer_ledger import InferLedger, RequestObserver
from fleetfit_runtime.serve.model_finder import ModelFinder
from fleetfit_runtime.serve.node_side import NodeSide
from fleetfit_runtime.serve.rating_calls import show_ratings, take_ratings
from fleetfit_runtime.serve.repository_calls import change_model, index_of_models
from fleetfit_runtime.serve.response import Response, error_response, json_response
from fleetfit_runtime.serve.routes import Call, Route, find_route
from fleetfit_runtime.serve.statistics import show_statistics

logger = logging.getLogger(__name__)

PLATFORM: Final = "onnx_onnxv1"
SERVER_NAME: Final = "fleetfit-runtime"
EXTENSIONS: Final = ("binary_tensor_data", "statistics", "fleetfit_ratings")
CONTROL_EXTENSION: Final = "model_repository"
# Clients of a node use a handful of paths; the bound is for those who make up new ones.
_MOST_KNOWN_ROUTES: Final = 256


@dataclass(frozen=True, slots=True)
class ServiceTerms:
    """What an operator of the runtime sets of its calls.

    Args:
        version: version of the runtime.
        max_body_bytes: largest body after decompression.
        model_control: whether clients may load and unload models.
    """

    version: str
    max_body_bytes: int = 64 << 20
    model_control: bool = False


class InferenceService:
    """Answers requests.

    Args:
        models: what answers under which name.
        node: what the node knows of its models.
        desk: takes ratings.
        metrics: makes the metrics page, with its content type, of the request's header `Accept`.
        observer: what is counted.
        terms: what its operator sets.
    """

    def __init__(
        self,
        models: ModelTable,
        node: NodeSide,
        desk: RatingDesk,
        metrics: Callable[[bytes | None], tuple[bytes, str]],
        observer: RequestObserver,
        terms: ServiceTerms,
    ) -> None:
        self._models = models
        self._node = node
        self._finder = ModelFinder(models, node)
        self._desk = desk
        self._metrics = metrics
        self._terms = terms
        self._ledger = InferLedger(node.ask_share, desk, observer)
        self._infer = InferCalls(self._finder, self._ledger, terms.max_body_bytes)
        self._routes: dict[tuple[bytes, bytes], Route] = {}
        self._calls: dict[Call, Callable[[Route], Response]] = {
            Call.SERVER_METADATA: self._server_metadata,
            Call.SERVER_LIVE: lambda _route: json_response(200, {"live": True}),
            Call.SERVER_READY: self._server_ready,
            Call.LIST_MODELS: lambda _route: json_response(200, {"models": self._models.names()}),
            Call.MODEL_METADATA: self._model_metadata,
            Call.MODEL_READY: self._model_ready,
            Call.SHOW_RATINGS: lambda route: show_ratings(self._desk, self._finder.find(route.model)),
            Call.SHOW_STATISTICS: self._statistics,
        }
        self._further: dict[Call, Callable[[Route, HttpRequest], Response]] = {
            Call.RATE: lambda route, request: take_ratings(
                self._desk, self._finder.find(route.model), route.version, request
            ),
            Call.REPOSITORY_INDEX: lambda _route, request: index_of_models(node, request),
            Call.LOAD: self._change,
            Call.UNLOAD: self._change,
            Call.METRICS: self._metrics_page,
        }

    def handle(self, request: HttpRequest) -> Response | None:
        """Answer a request; None when it is answered later. Never raises."""
        head = request.head
        route: Route | None = None
        try:
            route = self._route(head.method, head.target)
            if route.call is Call.INFER:
                return self._infer.begin(route, request)
            if route.call in self._further:
                return self._further[route.call](route, request)
            return self._calls[route.call](route)
        except RequestError as error:
            if route is not None and route.call is Call.INFER:
                # A name that no model has is the client's, and labels are bounded.
                known = self._models.get(route.model) is not None
                self._ledger.not_found(route.model if known else "", error.status, request)
            retry = RETRY if error.status == 503 else b""
            return error_response(error.status, error.message, retry)
        except Exception:
            logger.exception("request failed", extra={"target": head.target[:200].decode("latin-1")})
            return error_response(500, "the server failed to answer; its log says why")

    def refuse(self, request: HttpRequest) -> Response | None:
        """Answer a request at its head if it will not be taken, whatever its body is. Never raises."""
        head = request.head
        route = self._routes.get((head.method, head.target))
        if route is None or route.call is not Call.INFER:
            return None
        return self._infer.refuse(route, request)

    def _route(self, method: bytes, target: bytes) -> Route:
        route = self._routes.get((method, target))
        if route is None:
            route = find_route(method, target)
            if len(self._routes) < _MOST_KNOWN_ROUTES:
                self._routes[method, target] = route
        return route

    def _find(self, route: Route) -> ServedModel:
        return self._finder.find(route.model, route.version)

    def _server_metadata(self, _route: Route) -> Response:
        extensions = [*EXTENSIONS, CONTROL_EXTENSION] if self._terms.model_control else list(EXTENSIONS)
        return json_response(
            200, {"name": SERVER_NAME, "version": self._terms.version, "extensions": extensions}
        )

    def _server_ready(self, _route: Route) -> Response:
        readiness = self._node.readiness()
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

    def _statistics(self, route: Route) -> Response:
        if not route.model:
            return json_response(200, show_statistics(list(self._models)))
        return json_response(200, show_statistics([self._find(route)]))

    def _change(self, route: Route, _request: HttpRequest) -> Response:
        if not self._terms.model_control:
            raise RequestError(403, "loading and unloading of models by clients is not enabled on this node")
        return change_model(self._node, route.model, load=route.call is Call.LOAD)

    def _metrics_page(self, _route: Route, request: HttpRequest) -> Response:
        text, content_type = self._metrics(request.head.accept)
        return Response(200, text, content_type.encode())


def _described(specs: tuple[TensorSpec, ...]) -> list[dict[str, Any]]:
    return [
        {"name": spec.name, "datatype": spec.tensor_type.datatype, "shape": spec.shape}
        for spec in specs
        if spec.tensor_type is not None
    ]
