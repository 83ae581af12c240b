"""From method and path to the call that is meant. Pure."""

from dataclasses import dataclass
from enum import Enum, auto
from urllib.parse import unquote_to_bytes

from fleetfit_runtime.serve.errors import RequestError


class Call(Enum):
    """The calls of the protocol, and the metrics."""

    SERVER_METADATA = auto()
    SERVER_LIVE = auto()
    SERVER_READY = auto()
    LIST_MODELS = auto()
    MODEL_METADATA = auto()
    MODEL_READY = auto()
    INFER = auto()
    METRICS = auto()


@dataclass(frozen=True, slots=True)
class Route:
    """A call with the model that it is about."""

    call: Call
    model: str = ""
    version: str = ""


_FIXED = {
    b"/v2": Call.SERVER_METADATA,
    b"/v2/health/live": Call.SERVER_LIVE,
    b"/v2/health/ready": Call.SERVER_READY,
    b"/v2/models": Call.LIST_MODELS,
    b"/metrics": Call.METRICS,
}
_OF_MODEL = {b"": Call.MODEL_METADATA, b"ready": Call.MODEL_READY, b"infer": Call.INFER}
_GETTERS = (b"GET", b"HEAD")


def find_route(method: bytes, target: bytes) -> Route:
    """Return what a request means.

    Raises:
        RequestError: no such path (404), or not with this method (405).
    """
    path = target.partition(b"?")[0]
    if len(path) > 1:
        path = path.rstrip(b"/")
    fixed = _FIXED.get(path)
    route = Route(fixed) if fixed is not None else _model_route(path)
    if route is None:
        raise RequestError(404, f"there is no {_shown(path)} here")
    if (method == b"POST") != (route.call is Call.INFER) or method not in (*_GETTERS, b"POST"):
        allowed = "POST" if route.call is Call.INFER else "GET"
        raise RequestError(405, f"{_shown(path)} takes {allowed}, not {_shown(method)}")
    return route


def _model_route(path: bytes) -> Route | None:
    if not path.startswith(b"/v2/models/"):
        return None
    model, *rest = path[len(b"/v2/models/") :].split(b"/")
    version = b""
    if rest[:1] == [b"versions"] and len(rest) >= 2:
        version, rest = rest[1], rest[2:]
    call = _OF_MODEL.get(b"/".join(rest))
    if call is None or not model:
        return None
    return Route(call, _decoded(model), _decoded(version))


def _decoded(part: bytes) -> str:
    if b"%" in part:
        part = unquote_to_bytes(part)
    return part.decode("utf-8", "replace")


def _shown(path: bytes) -> str:
    return path.decode("ascii", "replace")[:200]
