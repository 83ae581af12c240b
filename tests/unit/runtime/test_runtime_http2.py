"""One HTTP/2 connection, fed frames by hand: flow control, limits, and what ends it."""

import struct
from collections.abc import Callable, Sequence

import pytest
from fleetfit_runtime.serve.http2.connection import Http2Connection, Http2Limits
from fleetfit_runtime.serve.http2.frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    PADDED,
    PREFACE,
    ErrorCode,
    FrameType,
    Setting,
    frame,
    settings_frame,
    window_update_frame,
)
from fleetfit_runtime.serve.http2.hpack import Header, encode_headers
from fleetfit_runtime.serve.http2.stream import Stream
from hypothesis import given
from hypothesis import strategies as st

HEAD = encode_headers([(b":method", b"POST"), (b":path", b"/x"), (b":scheme", b"http")])


class Echo:
    """Answers with what it got."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.body = b""
        self.lost = False

    def data_received(self, data: memoryview) -> None:
        self.body += data

    def ended(self) -> None:
        self.stream.respond(b"head", self.body, b"trailers")

    def reset(self) -> None:
        self.lost = True

    def expire(self, now_s: float) -> None:
        pass


class Wire:
    """A transport that keeps what is written, and the client's end of it."""

    def __init__(
        self,
        limits: Http2Limits | None = None,
        answer: Callable[[Stream], Echo] = Echo,
        settings: dict[Setting, int] | None = None,
    ) -> None:
        self.written = b""
        self.closed = False
        self.now_s = 0.0
        self.reading = True
        self.readers: list[Echo] = []

        def open_stream(_headers: Sequence[Header], stream: Stream) -> Echo:
            self.readers.append(answer(stream))
            return self.readers[-1]

        self.connection = Http2Connection(open_stream, limits or Http2Limits(), set(), lambda: self.now_s)
        self.connection.connection_made(self)  # type: ignore[arg-type] # has what is used of a transport
        self.send(PREFACE + settings_frame(settings or {}))
        self.frames()

    def send(self, data: bytes) -> None:
        self.connection.data_received(data)

    def frames(self) -> list[tuple[int, int, int, bytes]]:
        """Return (type, flags, stream, payload) of what was written since the last call."""
        found, at = [], 0
        while at < len(self.written):
            high, low, kind, flags, stream = struct.unpack_from(">HBBBI", self.written, at)
            end = at + 9 + (high << 8 | low)
            found.append((kind, flags, stream, self.written[at + 9 : end]))
            at = end
        self.written = b""
        return found

    def body(self) -> bytes:
        return b"".join(payload for kind, _, _, payload in self.frames() if kind == FrameType.DATA)

    def error(self) -> int:
        """Return why the connection ended."""
        kind, _, _, payload = self.frames()[-1]
        assert kind == FrameType.GOAWAY
        assert self.closed
        return int.from_bytes(payload[4:8], "big")

    # what the connection uses of its transport

    def get_extra_info(self, _name: str) -> None:
        return None

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


def request(stream_id: int, body: bytes = b"") -> bytes:
    return frame(FrameType.HEADERS, END_HEADERS, stream_id, HEAD) + frame(
        FrameType.DATA, END_STREAM, stream_id, body
    )


def test_a_request_and_its_response() -> None:
    wire = Wire()
    wire.send(request(1, b"abc"))
    assert wire.frames() == [
        (FrameType.HEADERS, END_HEADERS, 1, b"head"),
        (FrameType.DATA, 0, 1, b"abc"),
        (FrameType.HEADERS, END_HEADERS | END_STREAM, 1, b"trailers"),
    ]


@given(st.integers(1, 70), st.binary(max_size=200))
def test_bytes_may_come_in_any_pieces(step: int, body: bytes) -> None:
    wire = Wire()
    padded = bytes((3,)) + body + bytes(3)
    data = (
        frame(FrameType.HEADERS, 0, 1, HEAD[:3])
        + frame(FrameType.CONTINUATION, END_HEADERS, 1, HEAD[3:])
        + frame(FrameType.DATA, PADDED, 1, padded)
        + frame(FrameType.DATA, END_STREAM, 1, body)
    )
    for at in range(0, len(data), step):
        wire.send(data[at : at + step])
    assert wire.body() == 2 * body


def test_a_response_waits_for_the_windows_of_its_client() -> None:
    wire = Wire(settings={Setting.INITIAL_WINDOW_SIZE: 10})
    body = bytes(range(256)) * 300
    wire.send(request(1, body))
    sent = wire.body()
    assert sent == body[:10]
    while len(sent) < 65_535:
        wire.send(window_update_frame(1, 30_000))
        more = wire.body()
        assert 0 < len(more) <= 30_000
        sent += more
    wire.send(window_update_frame(1, 30_000))
    assert wire.body() == b""  # the connection's window is used up
    wire.send(window_update_frame(0, 30_000))
    frames = wire.frames()
    sent += b"".join(payload for kind, _, _, payload in frames if kind == FrameType.DATA)
    assert sent == body
    assert frames[-1] == (FrameType.HEADERS, END_HEADERS | END_STREAM, 1, b"trailers")


def test_a_client_that_takes_nothing_is_given_up() -> None:
    wire = Wire(settings={Setting.INITIAL_WINDOW_SIZE: 0})
    wire.send(request(1, b"abc"))
    wire.frames()
    wire.connection.expire(31.0)
    assert wire.frames() == [(FrameType.RST_STREAM, 0, 1, struct.pack(">I", ErrorCode.CANCEL))]
    assert wire.readers[0].lost


def test_large_bodies_open_the_windows_again() -> None:
    wire = Wire()
    wire.send(frame(FrameType.HEADERS, END_HEADERS, 1, HEAD))
    for _ in range(9):
        wire.send(frame(FrameType.DATA, 0, 1, bytes(1 << 20)))
    updates = [stream for kind, _, stream, _ in wire.frames() if kind == FrameType.WINDOW_UPDATE]
    assert sorted(updates) == [0, 1]


def test_a_reset_reaches_the_reader_and_later_frames_are_ignored() -> None:
    wire = Wire()
    wire.send(frame(FrameType.HEADERS, END_HEADERS, 1, HEAD))
    wire.send(frame(FrameType.RST_STREAM, 0, 1, bytes(4)))
    assert wire.readers[0].lost
    wire.send(frame(FrameType.DATA, END_STREAM, 1, b"late"))
    wire.send(request(3, b"next"))
    assert wire.body() == b"next"


def test_streams_beyond_the_limit_are_refused_and_may_come_again() -> None:
    wire = Wire(Http2Limits(max_streams=1))
    wire.send(frame(FrameType.HEADERS, END_HEADERS, 1, HEAD) + request(3, b"x"))
    assert wire.frames() == [(FrameType.RST_STREAM, 0, 3, struct.pack(">I", ErrorCode.REFUSED_STREAM))]
    wire.send(frame(FrameType.DATA, END_STREAM, 1, b"a") + request(5, b"b"))
    assert wire.body() == b"ab"


WRONG = [
    (frame(FrameType.DATA, 0, 0, b"x"), ErrorCode.PROTOCOL_ERROR),
    (frame(FrameType.DATA, 0, 1, b"x"), ErrorCode.PROTOCOL_ERROR),
    (frame(FrameType.HEADERS, END_HEADERS, 2, HEAD), ErrorCode.PROTOCOL_ERROR),
    (frame(FrameType.HEADERS, END_HEADERS, 1, b"\xbe"), ErrorCode.COMPRESSION_ERROR),
    (frame(FrameType.CONTINUATION, 0, 1, b""), ErrorCode.PROTOCOL_ERROR),
    (frame(FrameType.HEADERS, 0, 1, HEAD) + request(3), ErrorCode.PROTOCOL_ERROR),
    (frame(FrameType.HEADERS, 0, 1, HEAD) + 70 * frame(FrameType.CONTINUATION, 0, 1, b""), ErrorCode.ENHANCE_YOUR_CALM),
    (frame(FrameType.HEADERS, 0, 1, bytes(33 << 10)), ErrorCode.FRAME_SIZE_ERROR),
    (frame(FrameType.SETTINGS, 0, 0, b"x"), ErrorCode.FRAME_SIZE_ERROR),
    (settings_frame({Setting.INITIAL_WINDOW_SIZE: 1 << 31}), ErrorCode.FLOW_CONTROL_ERROR),
    (settings_frame({Setting.MAX_FRAME_SIZE: 1}), ErrorCode.PROTOCOL_ERROR),
    (frame(FrameType.WINDOW_UPDATE, 0, 0, bytes(4)), ErrorCode.PROTOCOL_ERROR),
    (2 * window_update_frame(0, (1 << 31) - 1), ErrorCode.FLOW_CONTROL_ERROR),
    (frame(FrameType.PING, 0, 0, b"x"), ErrorCode.FRAME_SIZE_ERROR),
    (frame(FrameType.PUSH_PROMISE, 0, 1, HEAD), ErrorCode.PROTOCOL_ERROR),
    (2000 * frame(FrameType.PING, 0, 0, bytes(8)), ErrorCode.ENHANCE_YOUR_CALM),
    (
        b"".join(
            frame(FrameType.HEADERS, END_HEADERS, 2 * n + 1, HEAD) + frame(FrameType.RST_STREAM, 0, 2 * n + 1, bytes(4))
            for n in range(1100)
        ),
        ErrorCode.ENHANCE_YOUR_CALM,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("data", "code"), WRONG)
def test_what_ends_the_connection(data: bytes, code: ErrorCode) -> None:
    wire = Wire()
    wire.send(data)
    assert wire.error() == code
    wire.send(request(1))
    assert wire.written == b""


def test_another_protocol_is_told_so() -> None:
    wire = Wire.__new__(Wire)
    wire.written, wire.closed = b"", False
    wire.connection = Http2Connection(lambda _h, stream: Echo(stream), Http2Limits(), set(), lambda: 0.0)
    wire.connection.connection_made(wire)  # type: ignore[arg-type] # has what is used of a transport
    wire.frames()
    wire.send(b"GET / HTTP/1.1\r\n")
    assert wire.error() == ErrorCode.PROTOCOL_ERROR


def test_pings_are_answered() -> None:
    wire = Wire()
    wire.send(frame(FrameType.PING, 0, 0, b"12345678"))
    assert wire.frames() == [(FrameType.PING, ACK, 0, b"12345678")]


def test_a_client_that_says_nothing_or_no_more_is_ended() -> None:
    wire = Wire(Http2Limits(idle_timeout_s=60))
    wire.now_s = 50.0
    wire.send(frame(FrameType.PING, 0, 0, bytes(8)))
    wire.connection.expire(100.0)
    assert not wire.closed
    wire.send(frame(FrameType.PING, 0, 0, bytes(8))[:5])  # half a frame is no sign of life
    wire.connection.expire(110.0)
    assert wire.closed


def test_finishing_answers_what_is_asked_and_refuses_what_is_new() -> None:
    wire = Wire()
    wire.send(frame(FrameType.HEADERS, END_HEADERS, 1, HEAD))
    wire.connection.finish()
    assert not wire.closed
    wire.send(request(3, b"new"))
    wire.send(frame(FrameType.DATA, END_STREAM, 1, b"old"))
    assert wire.body() == b"old"
    assert wire.closed


def test_while_the_client_takes_nothing_no_more_is_read() -> None:
    wire = Wire()
    wire.connection.pause_writing()
    assert not wire.reading
    wire.connection.resume_writing()
    assert wire.reading
