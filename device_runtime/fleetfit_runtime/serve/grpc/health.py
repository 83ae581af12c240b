"""The health service of gRPC (`grpc.health.v1`), for the server and for each model by its name."""

import asyncio
from collections.abc import Callable
from enum import IntEnum
from typing import Final

from fleetfit_runtime.serve.errors import RequestError
from fleetfit_runtime.serve.grpc.call import UnaryCall
from fleetfit_runtime.serve.grpc.inference_calls import INFERENCE_SERVICE
from fleetfit_runtime.serve.grpc.streaming_call import Reply
from fleetfit_runtime.serve.grpc.wire import bytes_field, integer_field, read_fields, text, text_field
from fleetfit_runtime.serve.model_finder import ModelFinder

HEALTH_SERVICE: Final = "grpc.health.v1.Health"

_LOOK_S: Final = 1.0
_MOST_FIELDS: Final = 64


class _Status(IntEnum):
    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


class HealthCalls:
    """Answers the health service.

    Args:
        finder: finds models.
        loop: the event loop.
    """

    def __init__(self, finder: ModelFinder, loop: asyncio.AbstractEventLoop) -> None:
        self._finder = finder
        self._loop = loop

    def check(self, message: memoryview, _call: UnaryCall) -> bytes:
        """Answer Check.

        Raises:
            RequestError: nothing has that name.
        """
        name = _service(message)
        status = self._status(name)
        if status is _Status.SERVICE_UNKNOWN:
            raise RequestError(404, f"there is no service and no model {name!r} here")
        return integer_field(1, status)

    def list_all(self, _message: memoryview, _call: UnaryCall) -> bytes:
        """Answer List."""
        names = ["", INFERENCE_SERVICE, *self._finder.names()]
        return b"".join(
            bytes_field(1, text_field(1, name) + bytes_field(2, integer_field(1, self._status(name))))
            for name in names
        )

    def watch(self, reply: Reply) -> "_Watch":
        """Begin Watch."""
        return _Watch(reply, self._status, self._loop)

    def _status(self, name: str) -> _Status:
        ready = (
            self._finder.server_ready() if name in ("", INFERENCE_SERVICE) else self._finder.is_ready(name)
        )
        if ready is None:
            return _Status.SERVICE_UNKNOWN
        return _Status.SERVING if ready else _Status.NOT_SERVING


class _Watch:
    """Tells the status of a name at once, and again when it has changed."""

    def __init__(
        self, reply: Reply, status: Callable[[str], _Status], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._reply = reply
        self._status = status
        self._loop = loop
        self._name: str | None = None
        self._told: _Status | None = None
        self._timer: asyncio.TimerHandle | None = None

    def message(self, data: memoryview) -> None:
        if self._name is None:
            self._name = _service(data)
            self._look(self._name)

    def ended(self) -> None:
        if self._name is None:
            self._reply.finish()

    def closed(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, name: str) -> None:
        status = self._status(name)
        if status is not self._told:
            self._told = status
            self._reply.send(integer_field(1, status))
        self._timer = self._loop.call_later(_LOOK_S, self._look, name)


def _service(message: memoryview) -> str:
    name = ""
    for each in read_fields(message, _MOST_FIELDS):
        if each[0] == 1:
            name = text(each)
    return name
