"""Compressed bodies: gzip and deflate, inflated up to a limit, and answers compressed where a client asks. Pure."""

import zlib
from typing import Final

from fleetfit_runtime.serve.body import Body
from fleetfit_runtime.serve.errors import RequestError

# zlib's window argument: 15 with 32 added finds out itself whether it is gzip or zlib; 31 is gzip, 15 zlib, -15 raw.
_GZIP_OR_ZLIB: Final = 47
_RAW: Final = -15
_WINDOWS: Final = {b"gzip": 31, b"deflate": 15}
# The quickest level: tensors hardly shrink more by trying harder.
_LEVEL: Final = 1
# Below this, head and checksum eat the gain.
LEAST_COMPRESSED_BYTES: Final = 1024


def inflate(body: Body, coding: bytes, most_bytes: int) -> Body:
    """Return a body as it was before its sender compressed it.

    Args:
        body: the body.
        coding: value of Content-Encoding.
        most_bytes: how large it may become; no more than this is ever held.

    Raises:
        RequestError: an unknown coding (415), a damaged body (400), one that becomes too large (413).
    """
    name = coding.strip().lower()
    if name == b"identity":
        return body
    if name not in (b"gzip", b"x-gzip", b"deflate"):
        raise RequestError(415, f"Content-Encoding must be gzip or deflate, not {_shown(coding)}")
    try:
        try:
            return _inflated(body, _GZIP_OR_ZLIB, most_bytes)
        except zlib.error:
            # Some clients take deflate for the bare format without a frame.
            if name != b"deflate":
                raise
            return _inflated(body, _RAW, most_bytes)
    except zlib.error as error:
        raise RequestError(400, f"the body is not valid {name.decode()}: {error}") from error


def _inflated(body: Body, window: int, most_bytes: int) -> bytes:
    parts: list[bytes] = []
    left, rest = most_bytes, bytes(body)
    while True:
        machine = zlib.decompressobj(window)
        part = machine.decompress(rest, left + 1)
        left -= len(part)
        if left < 0:
            raise RequestError(413, f"the body is larger than {most_bytes} bytes when it is decompressed")
        if not machine.eof:
            raise zlib.error("it ends too early")
        parts.append(part)
        rest = machine.unused_data
        if not rest:
            return parts[0] if len(parts) == 1 else b"".join(parts)
        # Only gzip files may follow one another.
        if window == _RAW or not rest.startswith(b"\x1f\x8b"):
            raise zlib.error("something follows its end")


def wanted_coding(accept_encoding: bytes) -> bytes | None:
    """Return how an answer is to be compressed: the first of gzip and deflate that the client takes; None for not."""
    refused: set[bytes] = set()
    offered: list[bytes] = []
    for item in accept_encoding.lower().split(b","):
        name, _, parameters = item.partition(b";")
        weight = parameters.strip().removeprefix(b"q=").strip()
        if weight and not weight.strip(b"0."):
            refused.add(name.strip())
        else:
            offered.append(name.strip())
    for name in _WINDOWS:
        if name in offered or (b"*" in offered and name not in refused):
            return name
    return None


def compressed(body: bytes, coding: bytes) -> bytes:
    """Return a body in a coding that `wanted_coding` has named."""
    machine = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOWS[coding])
    return machine.compress(body) + machine.flush()


def _shown(value: bytes) -> str:
    return repr(value[:40].decode("ascii", "replace"))
