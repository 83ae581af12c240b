"""Answers the calls about the model repository: what is assigned to the node, and loading and unloading by clients.

The repository of a node is what the control plane has assigned to it; a client can take one of these models out of
service and bring it back, nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import orjson

from fleetfit_runtime.serve.body import Body
from fleetfit_runtime.serve.errors import RequestError, bad_request
from fleetfit_runtime.serve.http_message import HttpRequest
from fleetfit_runtime.serve.response import Response, json_response

_LARGEST_BODY_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class ModelState:
    """How one assigned model stands.

    Args:
        name: its name.
        version: name of the assigned variant.
        ready: whether it answers.
        reason: why not, or empty.
    """

    name: str
    version: str
    ready: bool
    reason: str


class ModelControl(Protocol):
    """What clients can see and do of the node's assigned models."""

    def model_states(self) -> Sequence[ModelState]:
        """Return how the assigned models stand."""

    def load_model(self, name: str) -> bool:
        """Bring an assigned model back into service; return False for one that is not assigned."""

    def unload_model(self, name: str) -> bool:
        """Take an assigned model out of service until it is loaded or assigned anew; False if not assigned."""


def index_of_models(control: ModelControl, request: HttpRequest) -> Response:
    """Return the index: all assigned models, or with `{"ready": true}` those that answer.

    Raises:
        RequestError: the body is wrong.
    """
    only_ready = _document(request.body).get("ready", False)
    if not isinstance(only_ready, bool):
        raise bad_request("ready must be true or false")
    index = [
        {
            "name": state.name,
            "version": state.version,
            "state": "READY" if state.ready else "UNAVAILABLE",
            "reason": state.reason,
        }
        for state in control.model_states()
        if state.ready or not only_ready
    ]
    return json_response(200, index)


def change_model(control: ModelControl, name: str, *, load: bool) -> Response:
    """Load or unload a model; a load goes on after the answer, as the model's readiness says.

    Raises:
        RequestError: it is not assigned to the node.
    """
    known = control.load_model(name) if load else control.unload_model(name)
    if not known:
        raise RequestError(404, f"model {name!r} is not assigned to this node")
    return json_response(200, {"name": name, "load" if load else "unload": True})


def _document(body: Body) -> dict[str, object]:
    if len(body) > _LARGEST_BODY_BYTES:
        raise RequestError(413, f"the body may take {_LARGEST_BODY_BYTES} bytes")
    if not body:
        return {}
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"the body is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise bad_request("the body must be a JSON object")
    return document
