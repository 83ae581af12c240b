"""One HTTP/1.1 connection: bytes in, requests out in order, responses back in order.

Requests may be pipelined; one is answered at a time and further ones wait, with reading paused beyond a few. Whatever a
client sends ends in a response or a closed connection, never in an exception that reaches the loop. It knows nothing of
inference: a handler answers requests.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import httptools

from fleetfit_runtime.serve.http_message import CONTINUE, HttpRequest, response_bytes
from fleetfit_runtime.serve.response import Response, error_response

Handler = Callable[[HttpRequest], "Response | asyncio.Future[Response]"]

_MOST_PIPELINED = 16
_LEAST_BODY_RATE = 64 << 10


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What one client may take.

    Args:
        max_body_bytes: largest body.
        max_head_bytes: largest request line with headers.
        head_timeout_s: a request's head must be complete this long after its first byte.
        body_grace_s: a body may lag behind 64 KiB/s by this long.
        idle_timeout_s: a connection without a request is closed after this long.
        write_timeout_s: a client must take some of a response within this long.
        linger_s: how long to discard what a refused client still sends, so that it can read the refusal.
    """

    max_body_bytes: int = 64 << 20
    max_head_bytes: int = 32 << 10
    head_timeout_s: float = 15.0
    body_grace_s: float = 30.0
    idle_timeout_s: float = 75.0
    write_timeout_s: float = 30.0
    linger_s: float = 2.0


class HttpConnection(asyncio.Protocol):
    """Parses one connection's requests and writes their responses.

    Args:
        handler: answers a request, at once or later; it must not raise.
        limits: what the client may take.
        connections: the server's open connections; this one enters and leaves by itself.
        now: the loop's clock.
    """

    def __init__(
        self,
        handler: Handler,
        limits: HttpLimits,
        connections: "set[HttpConnection]",
        now: Callable[[], float],
    ) -> None:
        self._handler = handler
        self._limits = limits
        self._connections = connections
        self._now = now
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._queue: deque[HttpRequest | Response] = deque()
        self._answering: asyncio.Future[Response] | None = None
        self._request: HttpRequest | None = None
        self._head_complete = False
        self._head_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._body_begun_s = 0.0
        self._reading_paused = False
        self._writing_paused = False
        self._refused = False
        self._last_response_due = False
        self.deadline_s = now() + limits.idle_timeout_s

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        """Forget what is left; an inference that waits for its turn is not run for nobody."""
        self._connections.discard(self)
        self._queue.clear()
        self._refused = True
        if self._answering is not None:
            self._answering.cancel()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and refuse what is no HTTP or has too long a head."""
        if self._refused:
            return
        in_head = not self._head_complete
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.finish()  # We speak nothing else: the request is answered as plain HTTP/1.1.
        except httptools.HttpParserError:
            self._refuse(error_response(400, "the request is not valid HTTP/1.1"))
        if in_head and self._request is not None and not self._head_complete:
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.max_head_bytes:
                self._refuse(error_response(431, "the request's head is too long"))

    def eof_received(self) -> bool:
        """Close once what was asked is answered; a client may half-close after its last request."""
        self._last_response_due = True
        self._request = None
        return self._answering is not None or bool(self._queue) or self._writing_paused

    def pause_writing(self) -> None:
        """Answer no more until the client has taken what it was sent."""
        self._writing_paused = True
        self.deadline_s = self._now() + self._limits.write_timeout_s

    def resume_writing(self) -> None:
        """Go on answering."""
        self._writing_paused = False
        self.deadline_s = self._now() + self._limits.idle_timeout_s
        self._answer_next()

    # httptools callbacks

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._request = HttpRequest()
        self._head_complete = False
        self._head_bytes = 0
        self._body = []
        self._body_bytes = 0
        self.deadline_s = self._now() + self._limits.head_timeout_s

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        if self._request is not None:
            self._request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; only those that matter here are kept."""
        request = self._request
        if request is None:
            return
        lower = name.lower()
        if lower == b"content-length":
            # httptools refuses what is not a number; this only keeps int() from seeing it first.
            if value.isdigit() and int(value[:20]) > self._limits.max_body_bytes:
                self._refuse(self._too_large())
        elif lower == b"expect":
            request.expects_continue = value.lower() == b"100-continue"
        elif lower == b"inference-header-content-length":
            request.inference_header_length = value

    def on_headers_complete(self) -> None:
        """Note the method, and tell a client that waits to go on."""
        self._head_complete = True
        request = self._request
        if request is None or self._refused:
            return
        request.method = self._parser.get_method()
        self._body_begun_s = self._now()
        self.deadline_s = self._body_begun_s + self._limits.body_grace_s
        if request.expects_continue and self._answering is None and not self._queue:
            self._transport.write(CONTINUE)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._refused:
            return
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.max_body_bytes:
            self._refuse(self._too_large())
            return
        self._body.append(body)
        self.deadline_s = self._body_begun_s + self._limits.body_grace_s + self._body_bytes / _LEAST_BODY_RATE

    def on_message_complete(self) -> None:
        """Queue the request, and answer it if none is before it."""
        request = self._request
        self._request = None
        self._head_complete = False
        if request is None or self._refused:
            return
        request.keep_alive = self._parser.should_keep_alive()
        request.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = []
        self.deadline_s = self._now() + self._limits.idle_timeout_s
        self._queue.append(request)
        if len(self._queue) > _MOST_PIPELINED and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()
        self._answer_next()

    # answering

    def _answer_next(self) -> None:
        while self._queue and self._answering is None and not self._writing_paused:
            item = self._queue.popleft()
            if isinstance(item, Response):
                self._write_refusal(item)
                return
            answer = self._handler(item)
            if isinstance(answer, Response):
                self._write(item, answer)
            else:
                self._answering = answer
                answer.add_done_callback(partial(self._answered, item))
        if self._reading_paused and len(self._queue) <= _MOST_PIPELINED // 2:
            self._reading_paused = False
            self._transport.resume_reading()

    def _answered(self, request: HttpRequest, done: "asyncio.Future[Response]") -> None:
        self._answering = None
        if done.cancelled() or self._transport.is_closing():
            return
        self._write(request, done.result())
        self._answer_next()

    def _write(self, request: HttpRequest, response: Response) -> None:
        last = not request.keep_alive or (self._last_response_due and not self._queue)
        self._transport.write(response_bytes(response, close=last, without_body=request.method == b"HEAD"))
        if last:
            self._queue.clear()
            self._refused = True
            self._transport.close()

    def _too_large(self) -> Response:
        return error_response(413, f"the body is larger than {self._limits.max_body_bytes} bytes")

    def _refuse(self, response: Response) -> None:
        """Answer what came before, then with this, then end; nothing further is read as HTTP."""
        if self._refused:
            return
        self._refused = True
        self._request = None
        self._queue.append(response)
        self._answer_next()

    def _write_refusal(self, response: Response) -> None:
        self._transport.write(response_bytes(response, close=True, without_body=False))
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self.deadline_s = self._now() + self._limits.linger_s
        # Closing with unread bytes would reset the connection and take the answer from the client.
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()

    # the server's side

    @property
    def busy(self) -> bool:
        """Tell whether a request is being received, waits or is being answered."""
        return self._request is not None or self._answering is not None or bool(self._queue)

    def expire(self, now_s: float) -> None:
        """End the connection if its client is too slow; an answer that takes long is not the client's fault."""
        if now_s < self.deadline_s or (self._answering is not None and not self._writing_paused):
            return
        if self._request is not None and not self._refused:
            self._refuse(error_response(408, "the request took too long to arrive"))
            return
        self._transport.abort()

    def announce_end(self) -> None:
        """Let the next response say that the connection ends with it, so that the client goes elsewhere unharmed."""
        self._last_response_due = True

    def finish(self) -> None:
        """Answer what is asked, then close."""
        self._last_response_due = True
        if not self.busy and not self._writing_paused:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()
