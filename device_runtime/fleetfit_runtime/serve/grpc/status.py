"""What errors are called in gRPC, and how they go over the wire. Pure."""

from enum import IntEnum
from typing import Final

from fleetfit_runtime.serve.errors import RequestError
from fleetfit_runtime.serve.http2.hpack import Header, encode_headers

CONTENT_TYPE: Final = (b"content-type", b"application/grpc")
_STATUS_OK: Final = (b":status", b"200")
_LONGEST_MESSAGE_BYTES: Final = 2000
# Printable ASCII but for the percent sign goes as it is.
_PLAIN: Final = frozenset(range(0x20, 0x7F)) - {0x25}


class GrpcStatus(IntEnum):
    """Status codes."""

    OK = 0
    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


_OF_HTTP: Final = {
    400: GrpcStatus.INVALID_ARGUMENT,
    403: GrpcStatus.PERMISSION_DENIED,
    404: GrpcStatus.NOT_FOUND,
    408: GrpcStatus.DEADLINE_EXCEEDED,
    413: GrpcStatus.RESOURCE_EXHAUSTED,
    429: GrpcStatus.RESOURCE_EXHAUSTED,
    500: GrpcStatus.INTERNAL,
    501: GrpcStatus.UNIMPLEMENTED,
    503: GrpcStatus.UNAVAILABLE,
    504: GrpcStatus.DEADLINE_EXCEEDED,
}

RESPONSE_HEAD: Final = encode_headers(
    [_STATUS_OK, CONTENT_TYPE, (b"grpc-accept-encoding", b"identity,deflate,gzip")]
)
OK_TRAILERS: Final = encode_headers([(b"grpc-status", b"0")])


def grpc_status(http_status: int) -> GrpcStatus:
    """Return the status code that means what an HTTP status means."""
    return _OF_HTTP.get(http_status, GrpcStatus.INTERNAL)


def error_trailers(error: RequestError, *, begun: bool = False) -> bytes:
    """Return the block that ends a call with an error.

    Args:
        error: what went wrong; where it is for a moment only, the client is told to wait a second before it retries.
        begun: a head was sent already, so that this block is not a head at the same time.
    """
    head: list[Header] = [] if begun else [_STATUS_OK, CONTENT_TYPE]
    status = grpc_status(error.status)
    trailers = [(b"grpc-status", b"%d" % status), (b"grpc-message", _percent_encoded(error.message))]
    if error.status == 503:
        trailers.append((b"grpc-retry-pushback-ms", b"1000"))
    return encode_headers([*head, *trailers])


def http_refusal(status: int) -> bytes:
    """Return the head that refuses what is no gRPC at all."""
    return encode_headers([(b":status", b"%d" % status), (b"content-type", b"text/plain")])


def _percent_encoded(message: str) -> bytes:
    data = message.encode("utf-8", "replace")[:_LONGEST_MESSAGE_BYTES]
    return b"".join(bytes((byte,)) if byte in _PLAIN else b"%%%02X" % byte for byte in data)
