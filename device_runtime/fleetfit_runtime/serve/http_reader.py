"""The reading half of an HTTP/1.1 connection: bytes in, whole requests out, refusals where they are due.

Heads that were seen before are recognised by their bytes, and the body behind such a head is received straight into its
place, from the second time on a connection together with the head; everything else goes through httptools. It answers
nothing itself.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import httptools
import numpy as np

from fleetfit_runtime.serve.body import Body
from fleetfit_runtime.serve.http_head import LONGEST_HEAD, HeadCache, HttpHead
from fleetfit_runtime.serve.http_limits import HttpLimits
from fleetfit_runtime.serve.http_message import HttpRequest
from fleetfit_runtime.serve.response import Response, error_response

# Returns the answer of a request that will not be taken whatever its body is, else None; asked when its head is there.
Refuse = Callable[[HttpRequest], Response | None]

_LEAST_BODY_RATE = 64 << 10
# Below this a copy more costs less than avoiding it.
_SMALL_BYTES = 8 << 10


def take_all(_request: HttpRequest) -> Response | None:
    """Refuse nothing."""
    return None


def _memory(size_bytes: int) -> memoryview:
    # Not a bytearray: that would be filled with zeros first.
    return np.empty(size_bytes, np.uint8).data


class ReadingSide:
    """What the connections of a server share for reading.

    Args:
        limits: what a client may take.
        now: the loop's clock.
        refuse: asked about requests with large bodies.
        buffer_bytes: bytes that are received at once; between two calls of the loop nothing is left in it.
    """

    def __init__(
        self,
        limits: HttpLimits,
        now: Callable[[], float],
        refuse: Refuse = take_all,
        buffer_bytes: int = 256 << 10,
    ) -> None:
        self.limits = limits
        self.now = now
        self.refuse = refuse
        self.heads = HeadCache()
        self.buffer = memoryview(bytearray(buffer_bytes))

    def begins_with(self, received_bytes: int) -> bytes:
        """Return the begin of what was received last, long enough for any head that is known."""
        return bytes(self.buffer[: min(received_bytes, LONGEST_HEAD)])


class HttpReader(asyncio.BufferedProtocol):
    """Reads requests.

    Args:
        shared: what the server's connections share.
    """

    def __init__(self, shared: ReadingSide) -> None:
        self._shared = shared
        self._limits = shared.limits
        self._now = shared.now
        self._parser: Any = None
        self._peer = ""
        # The request that is being received.
        self._request: HttpRequest | None = None
        self._head_complete = False
        self._head_bytes = 0
        self._messages_begun = 0
        self._parts: list[bytes] = []
        self._body_bytes = 0
        self._body_begun_s = 0.0
        # The body of a request with a known head, and how much of it is there.
        self._body: memoryview | None = None
        self._filled = 0
        # The head of the last large body, with the empty line, and where the next such request is received.
        self._expected: tuple[HttpHead, bytes] | None = None
        self._landing: memoryview | None = None
        # What is still to come of the body of a request that was refused at its head, and is thrown away.
        self._unwanted_bytes = 0
        self._refused = False
        self.deadline_s = shared.now() + self._limits.idle_timeout_s

    # what the connection makes of it

    @abstractmethod
    def _take_request(self, request: HttpRequest) -> None:
        """Take a whole request."""

    @abstractmethod
    def _take_refusal(self, response: Response) -> None:
        """Take the last answer of a connection, after those before it."""

    @abstractmethod
    def _invite_body(self) -> None:
        """Tell a client that waits to go on, if nothing is to be answered before."""

    def _refusal_of(self, request: HttpRequest) -> Response | None:
        """Return the answer of a request that is refused at its head."""
        return self._shared.refuse(request)

    @abstractmethod
    def _reply(self, request: HttpRequest, response: Response) -> None:
        """Take the answer of a request."""

    # asyncio.BufferedProtocol

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the protocol's signature
        """Return where the next bytes go."""
        if self._body is not None:
            return self._body[self._filled :]
        if self._unwanted_bytes:
            return self._shared.buffer[: self._unwanted_bytes]
        if self._expected is not None and self._request is None and not self._refused:
            head, text = self._expected
            # One more than is expected: a buffer that becomes full is asked for again at once, for nothing.
            self._landing = _memory(len(text) + (head.content_length or 0) + 1)
            return self._landing
        return self._shared.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take bytes that were received."""
        if self._unwanted_bytes:
            self._throw_away(nbytes)
            return
        if self._landing is not None:
            self._land(self._landing, nbytes)
            return
        if self._body is None:
            if nbytes < _SMALL_BYTES or self._request is not None or not self._begin_large(nbytes):
                self._take(bytes(self._shared.buffer[:nbytes]))
            return
        self._filled += nbytes
        if self._filled == len(self._body):
            self._complete_known()
        else:
            self._await_more(self._filled)

    def _begin_large(self, received_bytes: int) -> bool:
        """Move the begin of a large body from the buffer to its place; False where it is not that simple."""
        found = self._shared.heads.find(self._shared.begins_with(received_bytes))
        if found is None or self._refused:
            return False
        head, begin = found
        length = head.content_length or 0
        if begin + length < received_bytes:
            return False
        buffer = self._shared.buffer
        self._expected = head, bytes(buffer[:begin])
        self._begin_body(head, _memory(length), received_bytes - begin, buffer[begin:received_bytes])
        return True

    def _land(self, landing: memoryview, received_bytes: int) -> None:
        """Take what was received where a request like the last one would have its place."""
        self._landing = None
        if self._expected is None:
            return
        head, text = self._expected
        begin, end = len(text), len(landing) - 1
        if begin <= received_bytes <= end and landing[:begin] == text:
            self._begin_body(head, landing[begin:end], received_bytes - begin)
        else:
            self._expected = None
            self._take(bytes(landing[:received_bytes]))

    def _begin_body(
        self, head: HttpHead, body: memoryview, filled: int, elsewhere: Body | None = None
    ) -> None:
        """Begin a request with a known head.

        Args:
            head: the head.
            body: the place of its body.
            filled: bytes of the body that were received.
            elsewhere: these bytes, where they are not in their place yet.
        """
        request = HttpRequest(head, self._peer, self._reply)
        missing = len(body) - filled
        # Nothing is spared by refusing a body that is small or there.
        if missing and len(body) >= _SMALL_BYTES and self._refuse_at_head(request, missing):
            return
        if elsewhere is not None:
            body[:filled] = elsewhere
        request.body = body
        if not missing:
            self._hand_over(request)
            return
        self._request, self._body, self._filled = request, body, filled
        self._body_begun_s = self._now()
        self._await_more(filled)

    def _take(self, data: bytes) -> None:
        while data and not self._refused:
            if self._request is not None:
                self._parse(data)
                return
            found = self._shared.heads.find(data)
            if found is None:
                self._begin_unknown(data)
                return
            data = self._begin_known(data, *found)

    # a head that was seen before

    def _begin_known(self, data: bytes, head: HttpHead, begin: int) -> bytes:
        """Take a request whose head is known, as far as it is there; return what follows it."""
        length = head.content_length or 0
        end = begin + length
        if len(data) < end:
            self._begin_body(head, _memory(length), len(data) - begin, data[begin:])
            return b""
        request = HttpRequest(head, self._peer, self._reply)
        request.body = data[begin:end]
        self._hand_over(request)
        return data[end:]

    def _refuse_at_head(self, request: HttpRequest, missing_bytes: int) -> bool:
        """Throw the body of a request away if it is refused; it is answered in its turn, once the body is through."""
        request.refusal = self._refusal_of(request)
        if request.refusal is None:
            return False
        self._request = request
        self._body_begun_s = self._now()
        self._filled = (request.head.content_length or 0) - missing_bytes
        self._unwanted_bytes = missing_bytes
        self._throw_away(0)
        return True

    def _throw_away(self, received_bytes: int) -> None:
        self._filled += received_bytes
        self._unwanted_bytes -= received_bytes
        if self._unwanted_bytes:
            self._await_more(self._filled)
        else:
            self._complete_known()

    def _complete_known(self) -> None:
        request = self._request
        self._request = self._body = None
        if request is not None and not self._refused:
            self._hand_over(request)

    def _hand_over(self, request: HttpRequest) -> None:
        self.deadline_s = self._now() + self._limits.idle_timeout_s
        self._take_request(request)

    # any other head

    def _begin_unknown(self, data: bytes) -> None:
        """Parse a head for the first time, and remember it if the parser ends it where it seems to end."""
        end = self._shared.heads.end_of_head(data)
        if not end:
            self._parse(data)
            return
        self._messages_begun = 0
        begun: list[HttpHead] = []
        self._parse(data[:end], begun)
        if self._messages_begun == 1 and not self._body_bytes and begun and not self._refused:
            self._shared.heads.add(data[:end], begun[0])
        if len(data) > end:
            self._take_rest(data[end:])

    def _take_rest(self, data: bytes) -> None:
        if self._request is not None:
            self._parse(data)
        else:
            self._take(data)

    def _parse(self, data: bytes, begun: list[HttpHead] | None = None) -> None:
        if self._refused:
            return
        if self._parser is None:
            self._parser = httptools.HttpRequestParser(self)
        in_head = not self._head_complete
        self._begun = begun
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._end_after_request()  # We speak nothing else: the request is answered as plain HTTP/1.1.
        except httptools.HttpParserError:
            self._refuse(error_response(400, "the request is not valid HTTP/1.1"))
        if in_head and self._request is not None and not self._head_complete:
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.max_head_bytes:
                self._refuse(error_response(431, "the request's head is too long"))

    @abstractmethod
    def _end_after_request(self) -> None:
        """Answer what is asked, then close."""

    # httptools callbacks

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._messages_begun += 1
        self._request = HttpRequest(HttpHead(), self._peer, self._reply)
        self._head_complete = False
        self._head_bytes = 0
        self._parts = []
        self._body_bytes = 0
        self.deadline_s = self._now() + self._limits.head_timeout_s

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        if self._request is not None:
            self._request.head.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        if self._request is not None:
            self._request.head.take(name, value)

    def on_headers_complete(self) -> None:
        """Note the method, and refuse a body that is too large before it is sent."""
        self._head_complete = True
        request = self._request
        if request is None or self._refused:
            return
        head = request.head
        head.method = self._parser.get_method()
        head.keep_alive = self._parser.should_keep_alive()
        if (head.content_length or 0) > self._limits.max_body_bytes:
            self._refuse(self._too_large())
            return
        if self._begun is not None:
            self._begun.append(head)
        self._body_begun_s = self._now()
        self.deadline_s = self._body_begun_s + self._limits.body_grace_s
        large = head.content_length is None or head.content_length >= _SMALL_BYTES
        request.refusal = self._refusal_of(request) if large else None
        if not head.expects_continue:
            return
        if request.refusal is None:
            self._invite_body()
        else:
            self._refuse(request.refusal)  # Whether the body comes nevertheless, nobody can tell.

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        request = self._request
        if request is None or self._refused:
            return
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.max_body_bytes:
            self._refuse(self._too_large())
            return
        if request.refusal is None:
            self._parts.append(body)
        self._await_more(self._body_bytes)

    def on_message_complete(self) -> None:
        """Hand the request over."""
        request = self._request
        self._request = None
        self._head_complete = False
        if request is None or self._refused:
            return
        request.body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        self._hand_over(request)

    # limits

    def _await_more(self, received_bytes: int) -> None:
        self.deadline_s = self._body_begun_s + self._limits.body_grace_s + received_bytes / _LEAST_BODY_RATE

    def _too_large(self) -> Response:
        return error_response(413, f"the body is larger than {self._limits.max_body_bytes} bytes")

    def _refuse(self, response: Response) -> None:
        """Let this be the connection's last answer; nothing further is read as HTTP."""
        if self._refused:
            return
        self._refused = True
        self._request = self._body = None
        self._unwanted_bytes = 0
        self._take_refusal(response)
