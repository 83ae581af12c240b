"""From the head of a request to the call that it is, or the refusal of what is no gRPC."""

from collections.abc import Mapping, Sequence
from typing import Final

from fleetfit_runtime.serve.errors import RequestError, bad_request
from fleetfit_runtime.serve.grpc.call import CallRules, UnaryCall, UnaryHandler
from fleetfit_runtime.serve.grpc.status import error_trailers, http_refusal
from fleetfit_runtime.serve.grpc.streaming_call import StreamingCall, StreamingHandler
from fleetfit_runtime.serve.http2.frames import ErrorCode
from fleetfit_runtime.serve.http2.hpack import Header
from fleetfit_runtime.serve.http2.stream import Stream, StreamReader

_UNITS_S: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_MOST_TIMEOUT_DIGITS: Final = 8
_ENCODINGS: Final = frozenset({b"identity", b"gzip", b"deflate"})


class GrpcDispatcher:
    """Opens calls.

    Args:
        unary: what answers calls with one message each way, by path.
        streaming: what answers the others.
        rules: what holds for every call.
    """

    def __init__(
        self,
        unary: Mapping[bytes, UnaryHandler],
        streaming: Mapping[bytes, StreamingHandler],
        rules: CallRules,
    ) -> None:
        self._unary = unary
        self._streaming = streaming
        self._rules = rules

    def open(self, headers: Sequence[Header], stream: Stream) -> StreamReader:
        """Return what takes a request's body; never raises."""
        head = dict(headers)
        method, path = head.get(b":method"), head.get(b":path")
        if method is None or path is None or b":scheme" not in head:
            stream.abandon(ErrorCode.PROTOCOL_ERROR)
            return _Nobody()
        if method != b"POST":
            stream.finish(http_refusal(405))
            return _Nobody()
        if not _is_grpc(head.get(b"content-type", b"")):
            stream.finish(http_refusal(415))
            return _Nobody()
        try:
            return self._call(path, head, stream)
        except RequestError as error:
            stream.finish(error_trailers(error))
            return _Nobody()

    def _call(self, path: bytes, head: Mapping[bytes, bytes], stream: Stream) -> StreamReader:
        encoding = head.get(b"grpc-encoding", b"identity")
        if encoding not in _ENCODINGS:
            raise RequestError(
                501, f"the compression {_shown(encoding)} is not supported; gzip and deflate are"
            )
        unary = self._unary.get(path)
        if unary is not None:
            timeout = head.get(b"grpc-timeout")
            deadline_s = None if timeout is None else self._rules.loop.time() + read_timeout_s(timeout)
            call = UnaryCall(stream, unary, deadline_s, self._rules, encoding)
            call.path = path.decode("ascii")  # it is one of ours
            call.trace_parent = head.get(b"traceparent")
            return call
        streaming = self._streaming.get(path)
        if streaming is not None:
            return StreamingCall(stream, streaming, self._rules, encoding)
        raise RequestError(501, f"there is no method {_shown(path)} here")


def _is_grpc(content_type: bytes) -> bool:
    media = content_type.partition(b";")[0].strip().lower()
    return media == b"application/grpc" or media.startswith(b"application/grpc+")


def read_timeout_s(value: bytes) -> float:
    """Return the seconds of a grpc-timeout header.

    Raises:
        RequestError: it is none.
    """
    number, unit = value[:-1], _UNITS_S.get(value[-1:])
    if unit is None or not number.isdigit() or len(number) > _MOST_TIMEOUT_DIGITS:
        raise bad_request("grpc-timeout must be at most eight digits and a unit")
    return int(number) * unit


def _shown(value: bytes) -> str:
    return repr(value[:200].decode("utf-8", "replace"))


class _Nobody:
    """Takes what still comes for a request that is refused already."""

    def data_received(self, data: memoryview) -> None:
        pass

    def ended(self) -> None:
        pass

    def reset(self) -> None:
        pass

    def expire(self, now_s: float) -> None:
        pass
