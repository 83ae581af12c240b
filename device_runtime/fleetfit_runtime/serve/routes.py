"""From method and path to the call that is meant. Pure."""

from dataclasses import dataclass, replace
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
    SHOW_RATINGS = auto()
    RATE = auto()
    SHOW_STATISTICS = auto()
    REPOSITORY_INDEX = auto()
    LOAD = auto()
    UNLOAD = auto()
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
    b"/v2/models/stats": Call.SHOW_STATISTICS,
    b"/v2/repository/index": Call.REPOSITORY_INDEX,
    b"/metrics": Call.METRICS,
}
_OF_MODEL = {
    b"": Call.MODEL_METADATA,
    b"ready": Call.MODEL_READY,
    b"infer": Call.INFER,
    b"ratings": Call.SHOW_RATINGS,
    b"stats": Call.SHOW_STATISTICS,
}
_OF_REPOSITORY = {b"load": Call.LOAD, b"unload": Call.UNLOAD}
_GETTERS = (b"GET", b"HEAD")
# What a POST to the path of another call means.
_POSTED = {Call.SHOW_RATINGS: Call.RATE}
_POSTED_ONLY = frozenset({Call.INFER, Call.REPOSITORY_INDEX, Call.LOAD, Call.UNLOAD})


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
    if route.call in _POSTED_ONLY:
        if method == b"POST":
            return route
        raise _wrong_method(path, method, "POST")
    if method in _GETTERS:
        return route
    posted = _POSTED.get(route.call)
    if posted is None:
        raise _wrong_method(path, method, "GET")
    if method == b"POST":
        return replace(route, call=posted)
    raise _wrong_method(path, method, "GET and POST")


def _wrong_method(path: bytes, method: bytes, allowed: str) -> RequestError:
    return RequestError(405, f"{_shown(path)} takes {allowed}, not {_shown(method)}")


def _model_route(path: bytes) -> Route | None:
    if path.startswith(b"/v2/repository/models/"):
        return _repository_route(path)
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


def _repository_route(path: bytes) -> Route | None:
    model, _, verb = path[len(b"/v2/repository/models/") :].partition(b"/")
    call = _OF_REPOSITORY.get(verb)
    return Route(call, _decoded(model)) if call is not None and model else None


def _decoded(part: bytes) -> str:
    if b"%" in part:
        part = unquote_to_bytes(part)
    return part.decode("utf-8", "replace")


def _shown(path: bytes) -> str:
    return path.decode("ascii", "replace")[:200]
