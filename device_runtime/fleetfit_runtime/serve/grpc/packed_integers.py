"""Arrays of integers in protocol buffers' packed form, at numpy's speed. Pure."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from fleetfit_runtime.serve.grpc.wire import WireError, bytes_field, varint

Integers = np.ndarray[Any, np.dtype[np.uint64]]

_LONGEST_BYTES: Final = 10
# The work arrays take thirty times the bytes of what is decoded, so it is done in pieces.
_PIECE_BYTES: Final = 1 << 16


def unpack_integers(data: memoryview) -> Integers:
    """Return the integers as 64 bits each; a negative one is its two's complement.

    Raises:
        WireError: an integer does not end or is too long.
    """
    raw = np.frombuffer(data, np.uint8)
    if raw.size and raw[-1] >= 0x80:
        raise WireError("an integer does not end")
    pieces: list[Integers] = []
    at = 0
    while at < raw.size:
        piece = raw[at : at + _PIECE_BYTES]
        ends = np.flatnonzero(piece < 0x80)
        if not ends.size:
            raise WireError("an integer is too long")
        pieces.append(_unpack_piece(piece, ends))
        at += int(ends[-1]) + 1
    return np.concatenate(pieces) if pieces else np.zeros(0, np.uint64)


def _unpack_piece(piece: np.ndarray[Any, np.dtype[np.uint8]], ends: np.ndarray[Any, Any]) -> Integers:
    used = piece[: int(ends[-1]) + 1]
    if ends.size == used.size:
        return used.astype(np.uint64)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if int(lengths.max()) > _LONGEST_BYTES:
        raise WireError("an integer is too long")
    places = np.arange(used.size) - np.repeat(starts, lengths)
    shifted = (used & 0x7F).astype(np.uint64) << (7 * places).astype(np.uint64)
    return np.bitwise_or.reduceat(shifted, starts)


def pack_shape(number: int, shape: Sequence[int]) -> bytes:
    """Return a field of dimensions; nothing for a scalar."""
    return bytes_field(number, b"".join(varint(size) for size in shape)) if shape else b""


def pack_integers(values: Integers) -> bytes:
    """Return integers of 64 bits in packed form."""
    return b"".join(_pack_piece(values[at : at + _PIECE_BYTES]) for at in range(0, values.size, _PIECE_BYTES))


def _pack_piece(values: Integers) -> bytes:
    groups = values[:, None] >> (7 * np.arange(_LONGEST_BYTES, dtype=np.uint64))
    more = groups[:, 1:] != 0  # whether a further byte follows
    encoded = (groups & np.uint64(0x7F)).astype(np.uint8)
    encoded[:, :-1] |= more.astype(np.uint8) << 7
    kept = np.concatenate((np.ones((values.size, 1), np.bool_), more), axis=1)
    packed: bytes = encoded[kept].tobytes()
    return packed
