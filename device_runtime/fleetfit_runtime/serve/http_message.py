"""An HTTP request after parsing, and the bytes of a response. Pure."""

from http import HTTPStatus
from typing import Final

from fleetfit_runtime.serve.response import Response

_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class HttpRequest:
    """One request; filled while it is parsed."""

    __slots__ = ("body", "expects_continue", "inference_header_length", "keep_alive", "method", "target")

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.body = b""
        self.keep_alive = True
        self.expects_continue = False
        self.inference_header_length: bytes | None = None


def response_bytes(response: Response, *, close: bool, without_body: bool) -> bytes:
    """Return a response as it goes over the wire.

    Args:
        response: the answer.
        close: say that the connection ends after it.
        without_body: leave the body out, as for HEAD.
    """
    return b"%bContent-Type: %b\r\nContent-Length: %d\r\n%b%b\r\n%b" % (
        _STATUS_LINES[response.status],
        response.content_type,
        len(response.body),
        response.extra_headers,
        b"Connection: close\r\n" if close else b"",
        b"" if without_body else response.body,
    )
