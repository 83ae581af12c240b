"""An HTTP request after parsing, and the bytes of a response. Pure."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from fleetfit_runtime.serve.body import Body
from fleetfit_runtime.serve.http_head import HttpHead
from fleetfit_runtime.serve.response import Response

_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE: Final = b"Connection: close\r\n"


class HttpRequest:
    """One request.

    Attributes:
        head: request line and headers.
        peer: address that it came from, empty when it is not known.
        body: its body, as it was sent.
        on_gone: set by whoever answers later: called when the client has gone before.
        refusal: the answer where the request was refused at its head; its body was then not kept.
    """

    __slots__ = ("_reply", "body", "head", "on_gone", "peer", "refusal")

    def __init__(
        self, head: HttpHead, peer: str, reply: Callable[["HttpRequest", Response], None] | None = None
    ) -> None:
        self.head = head
        self.peer = peer
        self.body: Body = b""
        self.on_gone: Callable[[], None] | None = None
        self.refusal: Response | None = None
        self._reply = reply

    @property
    def trace_parent(self) -> bytes | None:
        """The caller's place in a trace (W3C Trace Context), as it was sent."""
        return self.head.trace_parent

    @property
    def method(self) -> str:
        """The method, such as POST."""
        return self.head.method.decode("ascii", "replace")

    @property
    def path(self) -> str:
        """Path with query."""
        return self.head.target.decode("ascii", "replace")

    def answer(self, response: Response) -> None:
        """Answer a request that the handler left open."""
        if self._reply is not None:
            self._reply(self, response)


def head_bytes(response: Response, *, close: bool = False) -> bytes:
    """Return the head of a response as it goes over the wire."""
    return b"%bContent-Type: %b\r\nContent-Length: %d\r\n%b%b\r\n" % (
        _STATUS_LINES[response.status],
        response.content_type,
        len(response.body),
        response.extra_headers,
        _CLOSE if close else b"",
    )


def response_bytes(response: Response, *, close: bool, without_body: bool) -> bytes:
    """Return a response as it goes over the wire.

    Args:
        response: the answer.
        close: say that the connection ends after it.
        without_body: leave the body out, as for HEAD.
    """
    if response.head and not close and not without_body:
        return response.head + response.body
    head = head_bytes(response, close=close)
    return head if without_body else head + response.body
