"""Protocol buffers by hand: reading and writing fields without objects for messages. Pure.

A tensor of a hundred kilobytes stays a view of what was received; the generated classes would copy it twice.
"""

import struct
from collections.abc import Iterator
from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5
_FIXED_BYTES: Final = {FIXED64: 8, FIXED32: 4}
_LONGEST_VARINT_BYTES: Final = 10
_WORD: Final = (1 << 64) - 1
_DOUBLE: Final = struct.Struct("<d")

Field = tuple[int, int, int, memoryview]


class WireError(ValueError):
    """The bytes are no message of the expected kind."""


def read_varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return an integer of 64 bits and where it ends.

    Raises:
        WireError: it does not end.
    """
    value = shift = 0
    end = min(len(data), at + _LONGEST_VARINT_BYTES)
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _WORD, at
        shift += 7
    raise WireError("an integer does not end")


def read_fields(data: memoryview, most_fields: int) -> Iterator[Field]:
    """Yield (number, wire type, value of a varint, bytes of any other).

    Args:
        data: a message.
        most_fields: more fields are refused; a field costs Python about a microsecond, and a client sends millions.

    Raises:
        WireError: the message is malformed or has too many fields.
    """
    at, end = 0, len(data)
    empty = data[:0]
    while at < end:
        most_fields -= 1
        if most_fields < 0:
            raise WireError("a message has too many fields")
        key, at = read_varint(data, at)
        number, kind = key >> 3, key & 7
        if not 0 < number < 1 << 29:
            raise WireError("a field has no valid number")
        if kind == VARINT:
            value, at = read_varint(data, at)
            yield number, kind, value, empty
            continue
        if kind == BYTES:
            length, at = read_varint(data, at)
        else:
            length = _FIXED_BYTES.get(kind, -1)
            if length < 0:
                raise WireError("a field has an unknown wire type")
        if at + length > end:
            raise WireError("a message ends within a field")
        yield number, kind, 0, data[at : at + length]
        at += length


def text(field: Field) -> str:
    """Return the value of a string field.

    Raises:
        WireError: it is no string.
    """
    if field[1] != BYTES:
        raise WireError("a field that must be a string is not one")
    try:
        return str(field[3], "utf-8")
    except UnicodeDecodeError as error:
        raise WireError("a string is not UTF-8") from error


def message(field: Field) -> memoryview:
    """Return the bytes of a message or bytes field.

    Raises:
        WireError: it is neither.
    """
    if field[1] != BYTES:
        raise WireError("a field that must have a length has none")
    return field[3]


def signed(value: int) -> int:
    """Return the int64 that a varint stands for."""
    return value - (1 << 64) if value >> 63 else value


def read_double(field: Field) -> float:
    """Return the value of a double field.

    Raises:
        WireError: it is none.
    """
    if field[1] != FIXED64:
        raise WireError("a field that must be a double is not one")
    (value,) = _DOUBLE.unpack(field[3])
    return float(value)


def varint(value: int) -> bytes:
    """Return an integer as a varint; a negative one takes ten bytes."""
    if 0 <= value < 0x80:
        return bytes((value,))
    value &= _WORD
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def bytes_field(number: int, data: bytes) -> bytes:
    """Return a field of bytes, of a string or of a message; unlike `text_field` also when it is empty."""
    return varint(number << 3 | BYTES) + varint(len(data)) + data


def text_field(number: int, value: str) -> bytes:
    """Return a string field; nothing when it is empty, as proto3 does."""
    return bytes_field(number, value.encode("utf-8", "replace")) if value else b""


def integer_field(number: int, value: int) -> bytes:
    """Return a field of an integer or a bool; nothing when it is 0, as proto3 does."""
    return varint(number << 3 | VARINT) + varint(value) if value else b""


def double_field(number: int, value: float) -> bytes:
    """Return a field of a double, also when it is 0."""
    return varint(number << 3 | FIXED64) + _DOUBLE.pack(value)
