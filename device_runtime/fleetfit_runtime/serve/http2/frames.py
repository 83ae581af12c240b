"""HTTP/2 frames (RFC 9113): their numbers, and the bytes of those that a server sends. Pure."""

import struct
from enum import IntEnum
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES: Final = 9
DEFAULT_WINDOW_BYTES: Final = 65_535
LARGEST_WINDOW_BYTES: Final = (1 << 31) - 1
LEAST_FRAME_BYTES: Final = 1 << 14
LARGEST_FRAME_BYTES: Final = (1 << 24) - 1

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY_GIVEN: Final = 0x20

_HEAD: Final = struct.Struct(">HBBBI")
_SETTING: Final = struct.Struct(">HI")
_WORD: Final = struct.Struct(">I")
_TWO_WORDS: Final = struct.Struct(">II")


class FrameType(IntEnum):
    """Types of frames."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class ErrorCode(IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class Setting(IntEnum):
    """What one end tells the other about itself."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class Http2Error(Exception):
    """The client breaks the protocol; the connection ends.

    Args:
        code: for the client.
        message: for the client's log.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def frame(kind: FrameType, flags: int, stream_id: int, payload: bytes) -> bytes:
    """Return a frame."""
    length = len(payload)
    return _HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream_id) + payload


def settings_frame(values: dict[Setting, int]) -> bytes:
    """Return the frame that tells settings."""
    payload = b"".join(_SETTING.pack(setting, value) for setting, value in values.items())
    return frame(FrameType.SETTINGS, 0, 0, payload)


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """Return the settings of a frame's payload.

    Raises:
        Http2Error: its length is wrong.
    """
    if len(payload) % _SETTING.size:
        raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a wrong length")
    return list(_SETTING.iter_unpack(payload))


def window_update_frame(stream_id: int, bytes_more: int) -> bytes:
    """Return the frame that lets the other end send more."""
    return frame(FrameType.WINDOW_UPDATE, 0, stream_id, _WORD.pack(bytes_more))


def reset_frame(stream_id: int, code: ErrorCode) -> bytes:
    """Return the frame that ends a stream at once."""
    return frame(FrameType.RST_STREAM, 0, stream_id, _WORD.pack(code))


def goaway_frame(last_stream_id: int, code: ErrorCode, message: str = "") -> bytes:
    """Return the frame that ends a connection after the streams up to one."""
    return frame(FrameType.GOAWAY, 0, 0, _TWO_WORDS.pack(last_stream_id, code) + message.encode()[:200])


def read_word(payload: bytes) -> int:
    """Return the 31 bits that WINDOW_UPDATE and RST_STREAM carry.

    Raises:
        Http2Error: the payload is no word.
    """
    if len(payload) != _WORD.size:
        raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "a frame of a wrong length")
    (word,) = _WORD.unpack(payload)
    return int(word) & LARGEST_WINDOW_BYTES


def without_padding(flags: int, payload: bytes) -> bytes:
    """Return a DATA or HEADERS payload without its padding.

    Raises:
        Http2Error: the padding is longer than the frame.
    """
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Http2Error(ErrorCode.PROTOCOL_ERROR, "padding is longer than its frame")
    return payload[1 : len(payload) - payload[0]]
