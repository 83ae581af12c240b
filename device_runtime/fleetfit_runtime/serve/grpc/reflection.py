"""Server reflection of gRPC, versions v1 and v1alpha, which are alike on the wire: tools learn the services from it."""

from collections.abc import Callable
from typing import Final

from fleetfit_runtime.serve.grpc.descriptors import Descriptors
from fleetfit_runtime.serve.grpc.status import GrpcStatus
from fleetfit_runtime.serve.grpc.streaming_call import Conversation, Reply
from fleetfit_runtime.serve.grpc.wire import (
    bytes_field,
    integer_field,
    read_fields,
    text,
    text_field,
)

REFLECTION_SERVICES: Final = (
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)
_MOST_FIELDS: Final = 64


class Reflection:
    """Begins conversations about the services.

    Args:
        load: reads the descriptors; called once, when the first client asks.
    """

    def __init__(self, load: Callable[[], Descriptors]) -> None:
        self._load = load
        self._loaded: Descriptors | None = None

    def begin(self, reply: Reply) -> Conversation:
        """Begin ServerReflectionInfo."""
        if self._loaded is None:
            self._loaded = self._load()
        return _Questions(reply, self._loaded)


class _Questions:
    """Answers question after question."""

    def __init__(self, reply: Reply, descriptors: Descriptors) -> None:
        self._reply = reply
        self._descriptors = descriptors

    def message(self, data: memoryview) -> None:
        host, answer = "", _error(GrpcStatus.INVALID_ARGUMENT, "nothing is asked")
        for each in read_fields(data, _MOST_FIELDS):
            if each[0] == 1:
                host = text(each)
            elif each[0] == 3:
                answer = self._file(text(each))
            elif each[0] == 4:
                answer = self._file(self._descriptors.file_of.get(text(each), ""))
            elif each[0] in (5, 6):
                answer = _error(GrpcStatus.NOT_FOUND, "there are no extensions here")
            elif each[0] == 7:
                answer = self._services()
        self._reply.send(text_field(1, host) + bytes_field(2, bytes(data)) + answer)

    def ended(self) -> None:
        self._reply.finish()

    def closed(self) -> None:
        pass

    def _file(self, name: str) -> bytes:
        content = self._descriptors.by_file.get(name)
        if content is None:
            return _error(GrpcStatus.NOT_FOUND, "there is no such file or symbol here")
        return bytes_field(4, bytes_field(1, content))

    def _services(self) -> bytes:
        names = self._descriptors.services
        return bytes_field(6, b"".join(bytes_field(1, text_field(1, name)) for name in names))


def _error(status: GrpcStatus, message: str) -> bytes:
    return bytes_field(7, integer_field(1, status) + text_field(2, message))
