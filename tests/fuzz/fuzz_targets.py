"""What is fuzzed: each target takes any bytes and raises when the server does not bear them."""

import re
import struct
from collections.abc import Callable

from fleetfit_runtime.serve.http2.frames import (
    END_HEADERS,
    END_STREAM,
    PREFACE,
    FrameType,
    frame,
    settings_frame,
)
from fleetfit_runtime.serve.http2.hpack import HeaderDecoder, encode_headers
from fleetfit_runtime.serve.numbers_apart import LARGE_BYTES
from fuzz_world import FuzzWorld, split

Target = Callable[[FuzzWorld, bytes], None]

_STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Za-z -]+\r\n")
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n", re.IGNORECASE)
_MODELS = (b"digits", b"words", b"bytes", b"flags", b"pair")
GOOD_BODY = b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}'
GRPC_HEAD = encode_headers(
    [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/inference.GRPCInferenceService/ModelInfer"),
        (b"content-type", b"application/grpc"),
    ]
)
# A ModelInferRequest to model `digits` with 1, 2, 3.
GOOD_MESSAGE = b"\x0a\x06digits\x2a\x0d\x0a\x01x\x12\x04FP32\x1a\x02\x01\x03\x3a\x0c" + struct.pack(
    "<3f", 1, 2, 3
)
_GOOD_OUTPUT = struct.pack("<3f", 2, 4, 6)


def http_bytes(world: FuzzWorld, data: bytes) -> None:
    """Anything on an HTTP connection; the first byte says how it is split."""
    pieces = split(data[1:], data[0]) if data else []
    _check_http(world.talk(world.new_http(), pieces, lambda _written: True))
    _http_still_answers(world)


def json_body(world: FuzzWorld, data: bytes) -> None:
    """Any body of an infer request; the first byte chooses the model, and whether the text is long."""
    model, body = _model(data)
    if data[:1] >= b"\xc0":
        body = body.replace(b'"data":[', b'"data":[' + b" " * LARGE_BYTES, 1)  # long arrays are taken out
    elif data[:1] >= b"\x80":
        body += b" " * LARGE_BYTES  # another parser reads long texts
    ((status, answer),) = _post(world, model, body, b"")
    assert status != 500, answer
    _http_still_answers(world)


def binary_body(world: FuzzWorld, data: bytes) -> None:
    """Any body of the binary extension; the second and third byte say how long its JSON is."""
    model, rest = _model(data)
    length = int.from_bytes(rest[:2], "little")
    ((status, answer),) = _post(world, model, rest[2:], b"Inference-Header-Content-Length: %d\r\n" % length)
    assert status != 500, answer
    _http_still_answers(world)


def http2_bytes(world: FuzzWorld, data: bytes) -> None:
    """Anything on an HTTP/2 connection after its greeting; the first byte says how it is split."""
    step = data[0] if data else 0
    greeting = b"" if step == 255 else PREFACE + settings_frame({})
    written = world.talk(world.new_grpc(), [greeting, *split(data[1:], step)], lambda _written: True)
    _frames(written)
    _grpc_still_answers(world)


def grpc_message(world: FuzzWorld, data: bytes) -> None:
    """Any bytes as a ModelInferRequest."""
    statuses, _ = _infer(world, data)
    assert len(statuses) == 1
    assert statuses[0] in (b"0", b"3", b"5", b"8")
    _grpc_still_answers(world)


TARGETS: dict[str, Target] = {
    target.__name__: target for target in (http_bytes, json_body, binary_body, http2_bytes, grpc_message)
}


def _model(data: bytes) -> tuple[bytes, bytes]:
    return (_MODELS[data[0] % len(_MODELS)], data[1:]) if data else (_MODELS[0], b"")


def _post(world: FuzzWorld, model: bytes, body: bytes, header: bytes) -> list[tuple[int, bytes]]:
    head = b"POST /v2/models/%b/infer HTTP/1.1\r\nHost: n\r\n%bContent-Length: %d\r\n\r\n" % (
        model,
        header,
        len(body),
    )
    return _check_http(world.talk(world.new_http(), [head + body], bool))


def _http_still_answers(world: FuzzWorld) -> None:
    ((status, body),) = _post(world, b"digits", GOOD_BODY, b"")
    assert status == 200, body
    assert b"[2.0,4.0,6.0]" in body


def _check_http(written: bytes) -> list[tuple[int, bytes]]:
    """Return the responses that were written: status and body."""
    responses: list[tuple[int, bytes]] = []
    at = 0
    while at < len(written):
        line = _STATUS_LINE.match(written, at)
        assert line is not None, written[at : at + 100]
        end = written.index(b"\r\n\r\n", at) + 4
        status = int(line[1])
        if status == 100:
            at = end
            continue
        length = _LENGTH.search(written, at, end)
        assert length is not None, written[at:end]
        body_end = end + int(length[1])
        # To HEAD the length is told and no body sent.
        if written[end : end + 9] == b"HTTP/1.1 " or end == len(written):
            body_end = end
        assert body_end <= len(written)
        responses.append((status, written[end:body_end]))
        at = body_end
    return responses


def _grpc_still_answers(world: FuzzWorld) -> None:
    statuses, body = _infer(world, GOOD_MESSAGE)
    assert statuses == [b"0"]
    assert body.endswith(_GOOD_OUTPUT)


def _infer(world: FuzzWorld, message: bytes) -> tuple[list[bytes], bytes]:
    """Return the statuses that a call got, and the body of the answer."""
    body = b"\x00" + len(message).to_bytes(4, "big") + message
    request = (
        PREFACE
        + settings_frame({})
        + frame(FrameType.HEADERS, END_HEADERS, 1, GRPC_HEAD)
        + frame(FrameType.DATA, END_STREAM, 1, body)
    )
    written = world.talk(world.new_grpc(), [request], lambda sent: bool(_statuses(_frames(sent))))
    frames = _frames(written)
    return _statuses(frames), b"".join(payload for kind, payload in frames if kind == FrameType.DATA)


def _statuses(frames: list[tuple[int, bytes]]) -> list[bytes]:
    decoder = HeaderDecoder(1 << 20)
    heads = [dict(decoder.decode(payload)) for kind, payload in frames if kind == FrameType.HEADERS]
    return [head[b"grpc-status"] for head in heads if b"grpc-status" in head]


def _frames(written: bytes) -> list[tuple[int, bytes]]:
    """Return the frames that were written: type and payload."""
    frames: list[tuple[int, bytes]] = []
    at = 0
    while at < len(written):
        end = at + 9 + int.from_bytes(written[at : at + 3], "big")
        assert end <= len(written), "a frame is cut short"
        assert written[at + 3] <= FrameType.CONTINUATION
        frames.append((written[at + 3], written[at + 9 : end]))
        at = end
    return frames
