"""One request and its response on a connection: what arrives goes to a reader, what is sent waits for the windows."""

from collections import deque
from typing import Final, Protocol

from fleetfit_runtime.serve.http2.frames import (
    END_HEADERS,
    END_STREAM,
    ErrorCode,
    FrameType,
    frame,
    reset_frame,
    window_update_frame,
)

RECEIVE_WINDOW_BYTES: Final = 16 << 20


class StreamReader(Protocol):
    """Takes what arrives on a stream. None of its methods may raise."""

    def data_received(self, data: memoryview) -> None:
        """Take a part of the body; the view is valid until this returns."""

    def ended(self) -> None:
        """Take the end of the body."""

    def reset(self) -> None:
        """Forget the stream: the client cancelled it, or the connection is lost. Nothing can be sent any more."""

    def expire(self, now_s: float) -> None:
        """Look whether the client is too slow."""


class Link(Protocol):
    """What a stream needs of its connection."""

    peer: str
    peer_frame_bytes: int

    def window_bytes(self) -> int:
        """Return how many bytes of bodies the client takes on the connection now."""

    def now(self) -> float:
        """Return the loop's time."""

    def write(self, data: bytes, body_bytes: int = 0) -> None:
        """Write frames, which hold so many bytes of body."""

    def wait_for_window(self, stream: "Stream") -> None:
        """Flush the stream when the client opens its windows."""

    def forget(self, stream_id: int) -> None:
        """Drop a stream that has ended."""


class Stream:
    """A stream.

    Args:
        link: the connection.
        stream_id: its number.
        window_bytes: what the client takes on it.
        half_closed: the client has sent no body.
    """

    __slots__ = (
        "_finished",
        "_half_closed",
        "_link",
        "_parts",
        "_reader",
        "_trailers",
        "_unacknowledged_bytes",
        "_waiting_since_s",
        "stream_id",
        "window_bytes",
    )

    def __init__(self, link: Link, stream_id: int, window_bytes: int, *, half_closed: bool) -> None:
        self._link = link
        self.stream_id = stream_id
        self.window_bytes = window_bytes
        self._reader: StreamReader | None = None
        self._half_closed = half_closed
        self._finished = False
        self._unacknowledged_bytes = 0
        self._parts: deque[memoryview] = deque()
        self._trailers: bytes | None = None
        self._waiting_since_s = 0.0

    @property
    def peer(self) -> str:
        """Address of the client."""
        return self._link.peer

    @property
    def half_closed(self) -> bool:
        """Tell whether the client has ended its side."""
        return self._half_closed

    # what arrives, called by the connection

    def open(self, reader: StreamReader) -> None:
        """Let a reader take what arrives."""
        self._reader = reader
        if self._half_closed:
            reader.ended()

    def take(self, data: memoryview, counted_bytes: int) -> None:
        """Take a part of the body."""
        self._unacknowledged_bytes += counted_bytes
        if self._unacknowledged_bytes >= RECEIVE_WINDOW_BYTES // 2:
            self._link.write(window_update_frame(self.stream_id, self._unacknowledged_bytes))
            self._unacknowledged_bytes = 0
        if self._reader is not None and data:
            self._reader.data_received(data)

    def end_of_body(self) -> None:
        """Take the end of the body."""
        self._half_closed = True
        if self._reader is not None:
            self._reader.ended()

    def lose(self) -> None:
        """Forget all: nothing can be sent any more."""
        self._finished = True
        self._parts.clear()
        if self._reader is not None:
            self._reader.reset()

    def expire(self, now_s: float, write_timeout_s: float) -> None:
        """End the stream if its client takes or sends nothing."""
        if self._parts and now_s - self._waiting_since_s > write_timeout_s:
            self.abandon(ErrorCode.CANCEL)
            self.lose()
        elif self._reader is not None:
            self._reader.expire(now_s)

    # what is sent, called by the reader

    def respond(self, head: bytes, body: bytes, trailers: bytes) -> None:
        """Send a whole response: blocks of headers around a body."""
        if self._finished:
            return
        size = len(body)
        if size <= min(self._link.window_bytes(), self.window_bytes, self._link.peer_frame_bytes):
            self.window_bytes -= size
            data = (
                frame(FrameType.HEADERS, END_HEADERS, self.stream_id, head)
                + frame(FrameType.DATA, 0, self.stream_id, body)
                + frame(FrameType.HEADERS, END_HEADERS | END_STREAM, self.stream_id, trailers)
            )
            self._link.write(data, size)
            self._end()
            return
        self.send(head, body)
        self.finish(trailers)

    def send(self, head: bytes, body: bytes) -> None:
        """Send a part of a response that goes on; with an empty head it adds to the body."""
        if self._finished:
            return
        if head:
            self._link.write(frame(FrameType.HEADERS, END_HEADERS, self.stream_id, head))
        if body:
            self._parts.append(memoryview(body))
            self._waiting_since_s = self._link.now()
            if not self.flush():
                self._link.wait_for_window(self)

    def finish(self, trailers: bytes) -> None:
        """End the response with trailers, or with a head alone if nothing was sent."""
        if self._finished:
            return
        if self._parts:
            self._trailers = trailers
            return
        self._link.write(frame(FrameType.HEADERS, END_HEADERS | END_STREAM, self.stream_id, trailers))
        self._end()

    def abandon(self, code: ErrorCode) -> None:
        """End the stream at once, without a response."""
        if not self._finished:
            self._finished = True
            self._link.write(reset_frame(self.stream_id, code))
            self._link.forget(self.stream_id)

    def flush(self) -> bool:
        """Send what the windows allow; return whether nothing is left."""
        while self._parts:
            most_bytes = min(self._link.window_bytes(), self.window_bytes, self._link.peer_frame_bytes)
            if most_bytes <= 0:
                return False
            part = self._parts.popleft()
            if len(part) > most_bytes:
                self._parts.appendleft(part[most_bytes:])
                part = part[:most_bytes]
            self.window_bytes -= len(part)
            self._waiting_since_s = self._link.now()
            self._link.write(frame(FrameType.DATA, 0, self.stream_id, bytes(part)), len(part))
        if self._trailers is not None:
            self.finish(self._trailers)
        return True

    def _end(self) -> None:
        self._finished = True
        if not self._half_closed:
            # The answer does not depend on the rest of the request.
            self._link.write(reset_frame(self.stream_id, ErrorCode.NO_ERROR))
        self._link.forget(self.stream_id)
