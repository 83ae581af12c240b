"""From bytes to frames: bodies are passed on as they come, everything else when it is whole. Pure."""

import struct
from typing import Final, Protocol

from fleetfit_runtime.serve.http2.frames import (
    END_HEADERS,
    END_STREAM,
    HEAD_BYTES,
    PADDED,
    PREFACE,
    PRIORITY_GIVEN,
    ErrorCode,
    FrameType,
    Http2Error,
    without_padding,
)

_HEAD: Final = struct.Struct(">HBBBI")
_STREAM_MASK: Final = 0x7FFFFFFF
_PRIORITY_BYTES: Final = 5
_MOST_CONTINUATIONS: Final = 64


class FrameSink(Protocol):
    """Takes frames."""

    def body_part(self, stream_id: int, data: memoryview, counted_bytes: int) -> None:
        """Take a part of a DATA frame."""

    def body_end(self, stream_id: int) -> None:
        """Take the end of a body."""

    def headers(self, stream_id: int, block: bytes, flags: int) -> None:
        """Take a whole header block."""

    def other_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Take a frame of another type."""


class FrameParser:
    """Parses what a client sends on one connection.

    Args:
        sink: takes the frames.
        max_body_frame_bytes: largest DATA frame, as the settings tell the client.
        max_head_bytes: largest frame of another type, and largest header block.
    """

    def __init__(self, sink: FrameSink, max_body_frame_bytes: int, max_head_bytes: int) -> None:
        self._sink = sink
        self._max_body_frame_bytes = max_body_frame_bytes
        self._max_head_bytes = max_head_bytes
        self._rest = b""
        self._greeted = False
        self._told_settings = False
        # The DATA frame that is being received.
        self._body_stream = 0
        self._body_flags = 0
        self._body_left = 0
        self._padding_left = 0
        # The header block that is being received; stream 0 when there is none.
        self._block_stream = 0
        self._block_flags = 0
        self._block = b""
        self._continuations = 0

    def feed(self, data: bytes) -> bool:
        """Take bytes; return whether anything became whole with them.

        Raises:
            Http2Error: they are no valid frames.
        """
        if self._rest:
            data = self._rest + data
        at = 0 if self._greeted else self._greet(data)
        begun_at = at
        view = memoryview(data)
        while True:
            before = at
            in_body = self._body_left or self._padding_left
            at = self._take_body(view, at) if in_body else self._take_frame(view, at)
            if at == before:
                break
        self._rest = data[at:]
        return at > begun_at

    def _greet(self, data: bytes) -> int:
        if not data.startswith(PREFACE[: len(data)]):
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "this port speaks HTTP/2 with prior knowledge only")
        if len(data) < len(PREFACE):
            return 0
        self._greeted = True
        return len(PREFACE)

    def _take_frame(self, view: memoryview, at: int) -> int:
        available = len(view) - at - HEAD_BYTES
        if available < 0 or not self._greeted:
            return at
        high, low, kind, flags, stream_id = _HEAD.unpack_from(view, at)
        length: int = high << 8 | low
        stream_id &= _STREAM_MASK
        self._check_order(kind, stream_id)
        if kind == FrameType.DATA:
            return self._begin_body(view, at, length, flags, stream_id)
        if length > self._max_head_bytes:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "a frame is too long")
        if available < length:
            return at
        end = at + HEAD_BYTES + length
        payload = bytes(view[at + HEAD_BYTES : end])
        if kind == FrameType.HEADERS:
            self._begin_block(flags, stream_id, payload)
        elif kind == FrameType.CONTINUATION:
            self._continue_block(flags, payload)
        else:
            self._sink.other_frame(kind, flags, stream_id, payload)
        return end

    def _check_order(self, kind: int, stream_id: int) -> None:
        if not self._told_settings:
            if kind != FrameType.SETTINGS:
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, "the first frame must be SETTINGS")
            self._told_settings = True
        if (kind == FrameType.CONTINUATION) != (self._block_stream != 0) or (
            self._block_stream not in (0, stream_id)
        ):
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a header block is not continued as it must be")

    # bodies

    def _begin_body(self, view: memoryview, at: int, length: int, flags: int, stream_id: int) -> int:
        if length > self._max_body_frame_bytes:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "a frame is too long")
        if stream_id == 0:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "DATA without a stream")
        at += HEAD_BYTES
        padding = 0
        if flags & PADDED:
            if at == len(view):
                return at - HEAD_BYTES
            padding = view[at]
            if padding >= length:
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, "padding is longer than its frame")
            at += 1
            length -= 1
            self._sink.body_part(stream_id, view[:0], 1)
        self._body_stream = stream_id
        self._body_flags = flags
        self._body_left = length - padding
        self._padding_left = padding
        if length == 0:
            self._end_body()
        return at

    def _take_body(self, view: memoryview, at: int) -> int:
        available = len(view) - at
        if self._body_left:
            taken = min(available, self._body_left)
            if taken:
                self._body_left -= taken
                self._sink.body_part(self._body_stream, view[at : at + taken], taken)
        else:
            taken = min(available, self._padding_left)
            if taken:
                self._padding_left -= taken
                self._sink.body_part(self._body_stream, view[:0], taken)
        if taken and not self._body_left and not self._padding_left:
            self._end_body()
        return at + taken

    def _end_body(self) -> None:
        if self._body_flags & END_STREAM:
            self._sink.body_end(self._body_stream)

    # header blocks

    def _begin_block(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id == 0:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "HEADERS without a stream")
        payload = without_padding(flags, payload)
        if flags & PRIORITY_GIVEN:
            if len(payload) < _PRIORITY_BYTES:
                raise Http2Error(
                    ErrorCode.FRAME_SIZE_ERROR, "HEADERS without the priority that they announce"
                )
            payload = payload[_PRIORITY_BYTES:]
        if flags & END_HEADERS:
            self._sink.headers(stream_id, payload, flags)
            return
        self._block_stream = stream_id
        self._block_flags = flags
        self._block = payload
        self._continuations = 0

    def _continue_block(self, flags: int, payload: bytes) -> None:
        self._block += payload
        self._continuations += 1
        if len(self._block) > self._max_head_bytes or self._continuations > _MOST_CONTINUATIONS:
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, "a request's head is too long")
        if flags & END_HEADERS:
            stream_id, self._block_stream = self._block_stream, 0
            self._sink.headers(stream_id, self._block, self._block_flags)
