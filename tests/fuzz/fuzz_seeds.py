"""Where the fuzzer begins: good requests of each kind, which it then spoils."""

import struct

from fleetfit_runtime.serve.http2.frames import END_HEADERS, END_STREAM, FrameType, frame
from fuzz_targets import GOOD_BODY, GOOD_MESSAGE, GRPC_HEAD

_TYPED_MESSAGE = (
    b"\x0a\x05bytes\x12\x00\x1a\x0242\x2a\x12\x0a\x01x\x12\x04INT8\x1a\x01\x02\x2a\x04\x12\x02\x01\x7f"
)
_WORDS = b"\x0a\x05words\x2a\x12\x0a\x01x\x12\x05BYTES\x1a\x01\x01\x2a\x03\x42\x01a"


def _binary(model: int, header: bytes, raw: bytes) -> bytes:
    return bytes((model,)) + struct.pack("<H", len(header)) + header + raw


SEEDS: dict[str, list[bytes]] = {
    "http_bytes": [
        b"\x00GET /v2/health/ready HTTP/1.1\r\nHost: n\r\n\r\nGET /v2/models HTTP/1.1\r\nHost: n\r\n\r\n",
        b"\x07POST /v2/models/digits/infer HTTP/1.1\r\nHost: n\r\nContent-Length: %d\r\n\r\n%b"
        % (len(GOOD_BODY), GOOD_BODY),
        b"\x00POST /v2/models/digits/infer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{}  \r\n0\r\n\r\n",
        b"\x00POST /v2/models/digits/infer HTTP/1.1\r\nContent-Encoding: gzip\r\n"
        b"Content-Length: 4\r\n\r\n\x1f\x8b\x08\x00",
        b"\x00HEAD /metrics HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n",
    ],
    "json_body": [
        b"\x82" + GOOD_BODY,
        b"\x00" + GOOD_BODY,
        b'\x01{"id":"1","inputs":[{"name":"x","shape":[2],"datatype":"BYTES","data":["a","b"]}]}',
        b'\x02{"inputs":[{"name":"x","shape":[2],"datatype":"INT8","data":[-128,127]}],"outputs":[{"name":"y"}]}',
        b'\x03{"parameters":{"binary_data_output":true},"inputs":[{"name":"x","shape":[1],"datatype":"BOOL","data":[true]}]}',
        b'\x04{"inputs":[{"name":"a","shape":[2,2],"datatype":"FP32","data":[[1,2],[3,4]]},'
        b'{"name":"b","shape":[2,2],"datatype":"FP32","data":[1e3,2.5,-0,1]}]}',
    ],
    "binary_body": [
        _binary(
            0,
            b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","parameters":{"binary_data_size":12}}]}',
            bytes(12),
        ),
        _binary(
            1,
            b'{"inputs":[{"name":"x","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":5}}],'
            b'"outputs":[{"name":"y","parameters":{"binary_data":true}}]}',
            b"\x01\x00\x00\x00a",
        ),
    ],
    "http2_bytes": [
        b"\x00"
        + frame(FrameType.HEADERS, END_HEADERS, 1, GRPC_HEAD)
        + frame(FrameType.DATA, END_STREAM, 1, b"\x00" + struct.pack(">I", len(GOOD_MESSAGE)) + GOOD_MESSAGE),
        b"\x05"
        + frame(FrameType.HEADERS, 0, 1, GRPC_HEAD[:9])
        + frame(FrameType.CONTINUATION, END_HEADERS, 1, GRPC_HEAD[9:])
        + frame(FrameType.RST_STREAM, 0, 1, bytes(4))
        + frame(FrameType.PING, 0, 0, bytes(8)),
        b"\x00"
        + frame(FrameType.WINDOW_UPDATE, 0, 0, b"\x00\x00\x10\x00")
        + frame(FrameType.SETTINGS, 0, 0, b"\x00\x04\x00\x00\x00\x01"),
        b"\xffGET / HTTP/1.1\r\n\r\n",
    ],
    "grpc_message": [GOOD_MESSAGE, _TYPED_MESSAGE, _WORDS],
}
