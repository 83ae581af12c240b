"""gRPC on a stream: messages with their length, compression, deadlines, and how a call ends. It knows no service."""

import asyncio
import logging
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fleetfit_runtime.serve.errors import RequestError, bad_request
from fleetfit_runtime.serve.grpc.status import OK_TRAILERS, RESPONSE_HEAD, error_trailers
from fleetfit_runtime.serve.grpc.wire import WireError
from fleetfit_runtime.serve.http2.stream import Stream

logger = logging.getLogger(__name__)

_PREFIX_BYTES: Final = 5
_LEAST_BODY_RATE: Final = 64 << 10
_BODY_GRACE_S: Final = 30.0
_INFLATE: Final = {b"gzip": 31, b"deflate": 15}
_OVERLOADED: Final = "the server holds too many request bytes; try again later"


class BodyBudget:
    """Bytes of requests that all connections may hold while they arrive.

    Args:
        most_bytes: the bound.
    """

    def __init__(self, most_bytes: int) -> None:
        self._left_bytes = most_bytes

    def take(self, size_bytes: int) -> bool:
        """Take bytes; return False when they are not left."""
        if size_bytes > self._left_bytes:
            return False
        self._left_bytes -= size_bytes
        return True

    def give_back(self, size_bytes: int) -> None:
        """Give back what was taken."""
        self._left_bytes += size_bytes


@dataclass(frozen=True, slots=True)
class CallRules:
    """What holds for every call.

    Args:
        max_message_bytes: largest message, also once it is inflated.
        budget: what all requests may hold.
        loop: the event loop.
    """

    max_message_bytes: int
    budget: BodyBudget
    loop: asyncio.AbstractEventLoop


class MessageBuffer:
    """Puts a call's messages together.

    Args:
        rules: what holds for every call.
        encoding: the compression of the call's messages.
    """

    __slots__ = ("_data", "_encoding", "_rules", "_taken_bytes")

    def __init__(self, rules: CallRules, encoding: bytes) -> None:
        self._rules = rules
        self._encoding = encoding
        self._data = bytearray()
        self._taken_bytes = 0

    def add(self, data: memoryview) -> None:
        """Take a part of the body.

        Raises:
            RequestError: the message is too large for a message, or for what the server holds already.
        """
        self._data += data
        if len(self._data) >= _PREFIX_BYTES:
            self._check_size(int.from_bytes(self._data[1:_PREFIX_BYTES], "big"))
        more = len(self._data) - self._taken_bytes
        if not self._rules.budget.take(more):
            raise RequestError(429, _OVERLOADED)
        self._taken_bytes += more

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._rules.max_message_bytes:
            raise RequestError(413, f"the message is larger than {self._rules.max_message_bytes} bytes")

    def only_message(self) -> memoryview:
        """Return the one message of a call that has one.

        Raises:
            RequestError: there is another number, or it cannot be inflated.
        """
        if len(self._data) < _PREFIX_BYTES:
            raise bad_request("the call has no message")
        size = int.from_bytes(self._data[1:_PREFIX_BYTES], "big")
        if len(self._data) - _PREFIX_BYTES != size:
            raise bad_request("the call must have one whole message")
        return self._inflated(memoryview(self._data)[_PREFIX_BYTES:], self._data[0])

    def next_message(self) -> memoryview | None:
        """Return the next message that is whole, and forget it.

        Raises:
            RequestError: it cannot be inflated.
        """
        if len(self._data) < _PREFIX_BYTES:
            return None
        end = _PREFIX_BYTES + int.from_bytes(self._data[1:_PREFIX_BYTES], "big")
        if len(self._data) < end:
            return None
        found = self._inflated(memoryview(bytes(self._data[_PREFIX_BYTES:end])), self._data[0])
        del self._data[:end]
        self._rules.budget.give_back(end)
        self._taken_bytes -= end
        if len(self._data) >= _PREFIX_BYTES:
            self._check_size(int.from_bytes(self._data[1:_PREFIX_BYTES], "big"))
        return found

    def _inflated(self, data: memoryview, flag: int) -> memoryview:
        if flag == 0:
            return data
        window = _INFLATE.get(self._encoding)
        if flag != 1 or window is None:
            raise bad_request("the message is compressed in a way that the call does not name")
        machine = zlib.decompressobj(window)
        try:
            inflated = machine.decompress(data, self._rules.max_message_bytes + 1)
        except zlib.error as error:
            raise bad_request(f"the message cannot be inflated: {error}") from error
        self._check_size(len(inflated))
        if not machine.eof:
            raise bad_request("the compressed message is not whole")
        return memoryview(inflated)

    def release(self) -> None:
        """Give the bytes back; a view of a message stays valid."""
        self._rules.budget.give_back(self._taken_bytes)
        self._taken_bytes = 0


# Answers a call with one message, at once or, with None, later through the call. RequestError and WireError become
# statuses.
UnaryHandler = Callable[[memoryview, "UnaryCall"], bytes | None]


class UnaryCall:
    """A call with one message each way.

    Args:
        stream: where it happens.
        handler: answers it.
        deadline_s: when an answer helps nobody any more, on the loop's clock; None when the client waits forever.
        rules: what holds for every call.
        encoding: the compression of the message.

    Attributes:
        peer: address of the client; empty when it is not known.
        path: full name of the method.
        trace_parent: the caller's place in a trace (W3C Trace Context), as its metadata has it.
        deadline_s: the deadline.
        on_gone: called when the client is gone before the answer; set by whoever answers later.
    """

    __slots__ = (
        "_buffer", "_handler", "_rules", "_stream", "_timer", "_until_s", "deadline_s", "on_gone", "path", "peer",
        "trace_parent",
    )  # fmt: skip

    def __init__(
        self,
        stream: Stream,
        handler: UnaryHandler,
        deadline_s: float | None,
        rules: CallRules,
        encoding: bytes,
    ) -> None:
        self.peer = stream.peer
        self.path = ""
        self.trace_parent: bytes | None = None
        self.deadline_s = deadline_s
        self.on_gone: Callable[[], None] | None = None
        self._stream: Stream | None = stream
        self._handler = handler
        self._rules = rules
        self._buffer = MessageBuffer(rules, encoding)
        self._timer: asyncio.TimerHandle | None = None
        self._until_s = rules.loop.time() + _BODY_GRACE_S

    @property
    def method(self) -> str:
        """Calls are known by their path alone."""
        return ""

    def data_received(self, data: memoryview) -> None:
        """Take a part of the message."""
        if self._stream is None:
            return
        self._until_s += len(data) / _LEAST_BODY_RATE
        try:
            self._buffer.add(data)
        except RequestError as error:
            self.fail(error)

    def ended(self) -> None:
        """Answer the call."""
        if self._stream is None:
            return
        self._until_s = float("inf")
        try:
            if self.deadline_s is not None and self._rules.loop.time() >= self.deadline_s:
                raise _too_late()
            answer = self._handler(self._buffer.only_message(), self)
        except RequestError as error:
            self.fail(error)
        except WireError as error:
            self.fail(bad_request(f"the message is malformed: {error}"))
        except Exception:
            logger.exception("call failed")
            self.fail(RequestError(500, "the server failed to answer; its log says why"))
        else:
            if answer is not None:
                self.answer(answer)
            elif self.deadline_s is not None and self._stream is not None:
                self._timer = self._rules.loop.call_at(self.deadline_s, lambda: self.fail(_too_late()))

    def answer(self, message: bytes) -> None:
        """Send the answer; nothing happens if the call is over."""
        stream = self._end()
        if stream is not None:
            body = b"\x00" + len(message).to_bytes(4, "big") + message
            stream.respond(RESPONSE_HEAD, body, OK_TRAILERS)

    def fail(self, error: RequestError) -> None:
        """End the call with an error; nothing happens if it is over."""
        stream = self._end()
        if stream is not None:
            stream.finish(error_trailers(error))

    def _end(self) -> Stream | None:
        stream, self._stream = self._stream, None
        self.on_gone = None  # It holds the call, and with it the message.
        self._buffer.release()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return stream

    def reset(self) -> None:
        """Forget the call, and tell who works on it."""
        on_gone = self.on_gone
        if self._end() is not None and on_gone is not None:
            on_gone()

    def expire(self, now_s: float) -> None:
        """End a call whose message comes too slowly."""
        if now_s >= self._until_s:
            self.fail(RequestError(408, "the message took too long to arrive"))


def _too_late() -> RequestError:
    return RequestError(504, "the deadline passed before the answer was there")
