"""One HTTP/1.1 connection: requests in order, responses back in order.

Requests may be pipelined; one is answered at a time and further ones wait, with reading paused beyond a few. Whatever a
client sends ends in a response or a closed connection, never in an exception that reaches the loop. It knows nothing of
inference: a handler answers requests.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from fleetfit_runtime.serve.http_message import CONTINUE, HttpRequest, response_bytes
from fleetfit_runtime.serve.http_reader import HttpReader, ReadingSide
from fleetfit_runtime.serve.response import Response, error_response

# Returns the answer, or None and answers the request later.
Handler = Callable[[HttpRequest], Response | None]

_MOST_PIPELINED = 16


class HttpConnection(HttpReader):
    """Answers one connection's requests.

    Args:
        handler: answers a request, at once or later; it must not raise.
        shared: what the server's connections share.
        connections: the server's open connections; this one enters and leaves by itself.
    """

    def __init__(self, handler: Handler, shared: ReadingSide, connections: "set[HttpConnection]") -> None:
        super().__init__(shared)
        self._handler = handler
        self._connections = connections
        self._transport: Any = None
        self._queue: deque[HttpRequest | Response] = deque()
        self._answering: HttpRequest | None = None
        self._reading_paused = False
        self._writing_paused = False
        self._last_response_due = False

    # asyncio.BaseProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = transport
        name = transport.get_extra_info("peername")
        if name:
            self._peer = str(name[0])
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        """Forget what is left; an inference that waits for its turn is not run for nobody."""
        self._connections.discard(self)
        self._refused = True
        self._forget()

    def eof_received(self) -> bool:
        """Answer what is answered in this turn of the loop, then close.

        A client that cancels a request closes its end, which cannot be told from one that has only said all it has
        to say; as other servers do, an answer that takes longer is taken for not wanted.
        """
        self._last_response_due = True
        self._request = self._body = None
        if self._answering is not None:
            asyncio.get_running_loop().call_soon(self._give_up)
        return self._answering is not None or bool(self._queue) or self._writing_paused

    def _give_up(self) -> None:
        if self._answering is not None:
            self._forget()
            self._transport.close()

    def _forget(self) -> None:
        self._queue.clear()
        answering, self._answering = self._answering, None
        if answering is not None and answering.on_gone is not None:
            answering.on_gone()
            answering.on_gone = None

    def pause_writing(self) -> None:
        """Answer no more until the client has taken what it was sent."""
        self._writing_paused = True
        self.deadline_s = self._now() + self._limits.write_timeout_s

    def resume_writing(self) -> None:
        """Go on answering."""
        self._writing_paused = False
        self.deadline_s = self._now() + self._limits.idle_timeout_s
        self._answer_next()

    # requests

    def _take_request(self, request: HttpRequest) -> None:
        if self._answering is None and not self._queue and not self._writing_paused:
            self._ask(request)
            return
        self._queue.append(request)
        if len(self._queue) > _MOST_PIPELINED and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def _take_refusal(self, response: Response) -> None:
        self._queue.append(response)
        self._answer_next()

    def _refusal_of(self, request: HttpRequest) -> Response | None:
        # Behind another one a request is not asked for yet, and there may be room when its turn comes.
        return None if self._answering is not None or self._queue else super()._refusal_of(request)

    def _invite_body(self) -> None:
        if self._answering is None and not self._queue:
            self._transport.write(CONTINUE)

    def _end_after_request(self) -> None:
        self.finish()

    # answers

    def _ask(self, request: HttpRequest) -> None:
        response = request.refusal or self._handler(request)
        if response is None:
            self._answering = request
        else:
            self._write(request, response)

    def _answer_next(self) -> None:
        while self._queue and self._answering is None and not self._writing_paused:
            item = self._queue.popleft()
            if isinstance(item, Response):
                self._write_refusal(item)
                return
            self._ask(item)
        if self._reading_paused and len(self._queue) <= _MOST_PIPELINED // 2:
            self._reading_paused = False
            self._transport.resume_reading()

    def _reply(self, request: HttpRequest, response: Response) -> None:
        if request is not self._answering:
            return  # The client has gone.
        self._answering = None
        if self._transport.is_closing():
            return
        self._write(request, response)
        if self._queue or self._reading_paused:
            self._answer_next()

    def _write(self, request: HttpRequest, response: Response) -> None:
        # Whoever would be told of a client that has gone holds the request, and they would keep its body between them
        # until the garbage collector comes by.
        request.on_gone = None
        head = request.head
        last = not head.keep_alive or (self._last_response_due and not self._queue)
        self._transport.write(response_bytes(response, close=last, without_body=head.method == b"HEAD"))
        if last:
            self._queue.clear()
            self._refused = True
            self._transport.close()

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
