"""A call with any number of messages each way, such as reflection and the watching of health."""

import logging
from collections.abc import Callable
from typing import Final, Protocol

from fleetfit_runtime.serve.errors import RequestError, bad_request
from fleetfit_runtime.serve.grpc.call import CallRules, MessageBuffer
from fleetfit_runtime.serve.grpc.status import CONTENT_TYPE, OK_TRAILERS, RESPONSE_HEAD, error_trailers
from fleetfit_runtime.serve.grpc.wire import WireError
from fleetfit_runtime.serve.http2.hpack import encode_headers
from fleetfit_runtime.serve.http2.stream import Stream

logger = logging.getLogger(__name__)

_OK_AT_ONCE: Final = encode_headers([(b":status", b"200"), CONTENT_TYPE, (b"grpc-status", b"0")])


class Reply(Protocol):
    """How a conversation speaks."""

    def send(self, message: bytes) -> None:
        """Send a message."""

    def finish(self) -> None:
        """End the call well."""


class Conversation(Protocol):
    """What answers a call whose messages come and go as they like."""

    def message(self, data: memoryview) -> None:
        """Take a message; a RequestError or WireError ends the call with a status."""

    def ended(self) -> None:
        """Take the end of the client's messages."""

    def closed(self) -> None:
        """Forget the call: it is over."""


# Begins a conversation that speaks through the given reply.
StreamingHandler = Callable[[Reply], Conversation]


class StreamingCall:
    """A call with any number of messages each way; implements Reply.

    Args:
        stream: where it happens.
        handler: begins the conversation.
        rules: what holds for every call.
        encoding: the compression of the messages.
    """

    __slots__ = ("_begun", "_buffer", "_conversation", "_stream")

    def __init__(self, stream: Stream, handler: StreamingHandler, rules: CallRules, encoding: bytes) -> None:
        self._stream: Stream | None = stream
        self._buffer = MessageBuffer(rules, encoding)
        self._begun = False
        self._conversation = handler(self)

    def data_received(self, data: memoryview) -> None:
        """Take bytes, and hand on the messages that are whole."""
        if self._stream is None:
            return
        try:
            self._buffer.add(data)
            while self._stream is not None:
                message = self._buffer.next_message()
                if message is None:
                    return
                self._conversation.message(message)
        except RequestError as error:
            self._fail(error)
        except WireError as error:
            self._fail(bad_request(f"the message is malformed: {error}"))
        except Exception:
            logger.exception("call failed")
            self._fail(RequestError(500, "the server failed to answer; its log says why"))

    def ended(self) -> None:
        """Take the end of the client's messages."""
        if self._stream is not None:
            self._conversation.ended()

    def reset(self) -> None:
        """Forget the call."""
        self._end()

    def expire(self, now_s: float) -> None:
        """Do nothing."""

    def send(self, message: bytes) -> None:
        """Send a message."""
        if self._stream is not None:
            head = b"" if self._begun else RESPONSE_HEAD
            self._begun = True
            self._stream.send(head, b"\x00" + len(message).to_bytes(4, "big") + message)

    def finish(self) -> None:
        """End the call well."""
        stream = self._end()
        if stream is not None:
            stream.finish(OK_TRAILERS if self._begun else _OK_AT_ONCE)

    def _fail(self, error: RequestError) -> None:
        stream = self._end()
        if stream is not None:
            stream.finish(error_trailers(error, begun=self._begun))

    def _end(self) -> Stream | None:
        stream, self._stream = self._stream, None
        if stream is not None:
            self._buffer.release()
            self._conversation.closed()
        return stream
