"""One HTTP/2 connection without TLS: frames in, streams to their readers, responses back under flow control.

Whatever a client sends ends in a response, a reset stream or a closed connection, never in an exception that reaches
the loop. It knows nothing of gRPC: a function opens a reader for the headers of a request.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fleetfit_runtime.serve.http2.frame_parser import FrameParser
from fleetfit_runtime.serve.http2.frames import (
    ACK,
    DEFAULT_WINDOW_BYTES,
    END_STREAM,
    LARGEST_FRAME_BYTES,
    LARGEST_WINDOW_BYTES,
    LEAST_FRAME_BYTES,
    ErrorCode,
    FrameType,
    Http2Error,
    Setting,
    frame,
    goaway_frame,
    read_settings,
    read_word,
    reset_frame,
    settings_frame,
    window_update_frame,
)
from fleetfit_runtime.serve.http2.hpack import Header, HeaderDecoder, HpackError
from fleetfit_runtime.serve.http2.stream import RECEIVE_WINDOW_BYTES, Stream, StreamReader

OpenStream = Callable[[Sequence[Header], Stream], StreamReader]

# Resets, settings and pings beyond this many more than finished requests are an attack and not a client's life.
_MOST_NUISANCES = 1000


@dataclass(frozen=True, slots=True)
class Http2Limits:
    """What one client may take.

    Args:
        max_streams: requests at once; a client keeps further ones to itself.
        max_frame_bytes: largest frame of a body; other frames are small.
        max_head_bytes: largest head of a request, compressed or not.
        greeting_timeout_s: the first frame must have come this long after the connection.
        idle_timeout_s: a connection without a request is closed after this long without a frame.
        write_timeout_s: a client must take some of a response within this long.
    """

    max_streams: int = 128
    max_frame_bytes: int = 1 << 20
    max_head_bytes: int = 32 << 10
    greeting_timeout_s: float = 15.0
    idle_timeout_s: float = 300.0
    write_timeout_s: float = 30.0


class Http2Connection(asyncio.Protocol):
    """Parses one connection's frames and writes its responses.

    Args:
        open_stream: returns the reader of a request; it must not raise.
        limits: what the client may take.
        connections: the server's open connections; this one enters and leaves by itself.
        now: the loop's clock.
    """

    def __init__(
        self,
        open_stream: OpenStream,
        limits: Http2Limits,
        connections: "set[Http2Connection]",
        now: Callable[[], float],
    ) -> None:
        self._open_stream = open_stream
        self._limits = limits
        self._connections = connections
        self.now = now
        self._transport: Any = None
        self.peer = ""
        self._parser = FrameParser(self, limits.max_frame_bytes, limits.max_head_bytes)
        self._decoder = HeaderDecoder(limits.max_head_bytes)
        self._streams: dict[int, Stream] = {}
        self._last_stream_id = 0
        self._unacknowledged_bytes = 0
        self._send_window_bytes = DEFAULT_WINDOW_BYTES
        self._peer_stream_window_bytes = DEFAULT_WINDOW_BYTES
        self.peer_frame_bytes = LEAST_FRAME_BYTES
        self._waiting: dict[int, Stream] = {}
        self._nuisances = 0
        self._ending = False
        self._finishing = False
        self._closed = False
        self._writing_paused = False
        self._deadline_s = now() + limits.greeting_timeout_s

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport and tell the client what it may do."""
        self._transport = transport
        name = transport.get_extra_info("peername")
        if name:
            self.peer = str(name[0])
        self._connections.add(self)
        settings = {
            Setting.MAX_CONCURRENT_STREAMS: self._limits.max_streams,
            Setting.INITIAL_WINDOW_SIZE: RECEIVE_WINDOW_BYTES,
            Setting.MAX_FRAME_SIZE: self._limits.max_frame_bytes,
            Setting.MAX_HEADER_LIST_SIZE: self._limits.max_head_bytes,
        }
        more = window_update_frame(0, RECEIVE_WINDOW_BYTES - DEFAULT_WINDOW_BYTES)
        self._transport.write(settings_frame(settings) + more)
        if self._ending:
            self._transport.write(goaway_frame(LARGEST_WINDOW_BYTES, ErrorCode.NO_ERROR))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        """Forget what is left; an inference that waits for its turn is not run for nobody."""
        self._closed = True
        self._connections.discard(self)
        streams = list(self._streams.values())
        self._streams.clear()
        self._waiting.clear()
        for stream in streams:
            stream.lose()

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        if self._closed:
            return
        try:
            if self._parser.feed(data) and not self._writing_paused:
                self._deadline_s = self.now() + self._limits.idle_timeout_s
        except Http2Error as error:
            self._fail(error)
        except HpackError as error:
            self._fail(Http2Error(ErrorCode.COMPRESSION_ERROR, str(error)))

    def pause_writing(self) -> None:
        """Take no more requests until the client has taken what it was sent."""
        self._writing_paused = True
        self._deadline_s = self.now() + self._limits.write_timeout_s
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._writing_paused = False
        self._deadline_s = self.now() + self._limits.idle_timeout_s
        self._transport.resume_reading()

    # frames, called by the parser

    def body_part(self, stream_id: int, data: memoryview, counted_bytes: int) -> None:
        """Take a part of a DATA frame.

        Args:
            stream_id: its stream.
            data: the part of the body.
            counted_bytes: what it counts against the windows, padding included.

        Raises:
            Http2Error: the stream was never opened, or the client ignores its windows.
        """
        self._unacknowledged_bytes += counted_bytes
        if self._unacknowledged_bytes >= RECEIVE_WINDOW_BYTES // 2:
            self._transport.write(window_update_frame(0, self._unacknowledged_bytes))
            self._unacknowledged_bytes = 0
        stream = self._streams.get(stream_id)
        if stream is None:
            self._check_known(stream_id)
        elif stream.half_closed:
            raise Http2Error(ErrorCode.STREAM_CLOSED, "DATA after the end of its stream")
        else:
            stream.take(data, counted_bytes)

    def body_end(self, stream_id: int) -> None:
        """Take the end of a request."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.end_of_body()

    def headers(self, stream_id: int, block: bytes, flags: int) -> None:
        """Take the complete header block of a stream.

        Raises:
            Http2Error: the stream cannot be opened.
            HpackError: the block cannot be decoded.
        """
        headers = self._decoder.decode(block)
        if stream_id <= self._last_stream_id:
            self._take_trailers(stream_id, flags)
            return
        if stream_id % 2 == 0:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a client's stream has an odd number")
        self._last_stream_id = stream_id
        if self._finishing or len(self._streams) >= self._limits.max_streams:
            self._nuisance()
            self._transport.write(reset_frame(stream_id, ErrorCode.REFUSED_STREAM))
            return
        ended = flags & END_STREAM != 0
        stream = Stream(self, stream_id, self._peer_stream_window_bytes, half_closed=ended)
        self._streams[stream_id] = stream
        stream.open(self._open_stream(headers, stream))

    def _take_trailers(self, stream_id: int, flags: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            self._nuisance()  # of a stream that has ended meanwhile
        elif stream.half_closed or not flags & END_STREAM:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "HEADERS in the middle of a stream")
        else:
            stream.end_of_body()

    def other_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Take a frame that is neither DATA nor HEADERS.

        Raises:
            Http2Error: it is not valid.
        """
        if kind == FrameType.WINDOW_UPDATE:
            self._take_window(stream_id, read_word(payload))
        elif kind == FrameType.PING:
            self._take_ping(flags, stream_id, payload)
        elif kind == FrameType.SETTINGS:
            self._take_settings(flags, stream_id, payload)
        elif kind == FrameType.RST_STREAM:
            self._take_reset(stream_id, payload)
        elif kind == FrameType.PUSH_PROMISE:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a client cannot push")
        # PRIORITY, GOAWAY and unknown types ask for nothing.

    def _take_window(self, stream_id: int, more_bytes: int) -> None:
        if more_bytes == 0:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
        if stream_id == 0:
            self._send_window_bytes += more_bytes
            if self._send_window_bytes > LARGEST_WINDOW_BYTES:
                raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window is too large")
            self._send_what_waits()
            return
        stream = self._streams.get(stream_id)
        if stream is None:
            self._check_known(stream_id)
            return
        stream.window_bytes += more_bytes
        if stream.window_bytes > LARGEST_WINDOW_BYTES:
            raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "a stream's window is too large")
        self._send_what_waits()

    def _take_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id or len(payload) != 8:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "PING of a wrong length or on a stream")
        if not flags & ACK:
            self._nuisance()
            self._transport.write(frame(FrameType.PING, ACK, 0, payload))

    def _take_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & ACK:
            return
        self._nuisance()
        for setting, value in read_settings(payload):
            if setting == Setting.INITIAL_WINDOW_SIZE:
                self._set_stream_windows(value)
            elif setting == Setting.MAX_FRAME_SIZE:
                if not LEAST_FRAME_BYTES <= value <= LARGEST_FRAME_BYTES:
                    raise Http2Error(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE out of range")
                self.peer_frame_bytes = value
        self._transport.write(frame(FrameType.SETTINGS, ACK, 0, b""))
        self._send_what_waits()

    def _set_stream_windows(self, value_bytes: int) -> None:
        if value_bytes > LARGEST_WINDOW_BYTES:
            raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE out of range")
        change = value_bytes - self._peer_stream_window_bytes
        self._peer_stream_window_bytes = value_bytes
        for stream in self._streams.values():
            stream.window_bytes += change

    def _take_reset(self, stream_id: int, payload: bytes) -> None:
        read_word(payload)
        self._check_known(stream_id)
        self._nuisance()
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._streams.pop(stream_id)
            self._waiting.pop(stream_id, None)
            stream.lose()
            if self._finishing and not self._streams:
                self._transport.close()

    def _check_known(self, stream_id: int) -> None:
        if stream_id == 0 or stream_id > self._last_stream_id:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a frame for a stream that was not opened")

    def _nuisance(self) -> None:
        self._nuisances += 1
        if self._nuisances > _MOST_NUISANCES:
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that ask for nothing")

    # sending, called by streams

    def window_bytes(self) -> int:
        """Return how many bytes of bodies the client takes on the connection now."""
        return self._send_window_bytes

    def write(self, data: bytes, body_bytes: int = 0) -> None:
        """Write frames, which hold so many bytes of body."""
        if not self._closed:
            self._send_window_bytes -= body_bytes
            self._transport.write(data)

    def wait_for_window(self, stream: "Stream") -> None:
        """Send the rest of a stream when the client opens its windows."""
        self._waiting[stream.stream_id] = stream

    def _send_what_waits(self) -> None:
        for stream_id, stream in list(self._waiting.items()):
            if self._send_window_bytes <= 0:
                return
            if stream.flush():
                self._waiting.pop(stream_id, None)

    def forget(self, stream_id: int) -> None:
        """Drop a stream that has ended."""
        self._streams.pop(stream_id, None)
        self._waiting.pop(stream_id, None)
        self._nuisances = max(0, self._nuisances - 1)  # whoever lets requests be answered means well
        if self._finishing and not self._streams:
            self._transport.close()

    # the server's side

    def expire(self, now_s: float) -> None:
        """End what its client is too slow for; an answer that takes long is not the client's fault."""
        for stream in list(self._streams.values()):
            stream.expire(now_s, self._limits.write_timeout_s)
        if now_s >= self._deadline_s and (self._writing_paused or not self._streams):
            self._transport.abort()

    def announce_end(self) -> None:
        """Send the client elsewhere with its next requests; those that are on their way are still answered."""
        self._ending = True
        if self._transport is not None:
            self.write(goaway_frame(LARGEST_WINDOW_BYTES, ErrorCode.NO_ERROR))

    def finish(self) -> None:
        """Answer what is asked, then close."""
        self._ending = True
        self._finishing = True
        self.write(goaway_frame(self._last_stream_id, ErrorCode.NO_ERROR))
        if not self._streams:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def _fail(self, error: Http2Error) -> None:
        self.write(goaway_frame(self._last_stream_id, error.code, error.message))
        self._closed = True
        self._transport.close()
        streams = list(self._streams.values())
        self._streams.clear()
        for stream in streams:
            stream.lose()
