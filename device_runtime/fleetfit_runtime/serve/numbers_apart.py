"""Takes long flat arrays of numbers out of a JSON text: what is left is short, and they go straight into tensors.

A text of half a megabyte is a hundred bytes of JSON and a great many numbers. An array is told by a key that ends in
`data"` and the next closing bracket; whether that was right shows later, since an array that holds anything but numbers
is not read here, and one that is not an input's data is missed there. Then the whole text is read as any other. Pure.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import orjson

from fleetfit_runtime.engine.model_session import Array
from fleetfit_runtime.serve.float_reader import FloatReader

# Shorter texts, and shorter arrays in a text, are quick to read anyhow.
LARGE_BYTES: Final = 8 << 10
# Texts that look as if they had more are not worth the search.
_MOST_ARRAYS: Final = 64
_DATA: Final = re.compile(rb'"data"[ \t\r\n]*:[ \t\r\n]*\[')
_PLACE: Final = b'{"":%d}'


class NotFloatsError(Exception):
    """The numbers are not such as can be read apart from their text."""


class NumbersApart:
    """The elements of an array that was taken out of its text, not read yet.

    Args:
        text: what stands between the brackets.
        reader: reads it.
    """

    __slots__ = ("_reader", "_text")

    def __init__(self, text: memoryview, reader: FloatReader) -> None:
        self._text = text
        self._reader = reader

    def floats(self, count: int) -> Array:
        """Return the elements as float32 in one dimension.

        Raises:
            NotFloatsError: there are not so many, or not all of them are numbers that can be read here.
        """
        values = self._reader.read(self._text, count)
        if values is None:
            raise NotFloatsError
        return values


def read_apart(text: memoryview, reader: FloatReader) -> dict[str, Any] | None:
    """Return the JSON object of a text in which the data of inputs are `NumbersApart`.

    Returns:
        None where the text is not large, has no such data, or has to be read as a whole.
    """
    if len(text) < LARGE_BYTES:
        return None
    rest, numbers = _take_out(text, reader)
    if not numbers or len(rest) >= LARGE_BYTES:
        return None
    try:
        document = orjson.loads(rest)
    except orjson.JSONDecodeError:
        return None
    # A client may have sent what looks like the place of an array.
    if not isinstance(document, dict) or _put_back(document, numbers) != list(range(len(numbers))):
        return None
    return document


def _take_out(text: memoryview, reader: FloatReader) -> tuple[bytes, list[NumbersApart]]:
    pieces: list[bytes] = []
    numbers: list[NumbersApart] = []
    kept = begin = 0
    for _ in range(_MOST_ARRAYS):
        found = _DATA.search(text, max(begin, kept))
        if found is None:
            break
        begin = found.end()
        end = reader.find(text, b"]", begin)
        if end < 0:
            break
        if end - begin >= LARGE_BYTES // 2:
            pieces += (bytes(text[kept : begin - 1]), _PLACE % len(numbers))
            numbers.append(NumbersApart(text[begin:end], reader))
            kept = end + 1
    if not numbers:
        return b"", numbers
    pieces.append(bytes(text[kept:]))
    return b"".join(pieces), numbers


def _put_back(document: dict[str, Any], numbers: Sequence[NumbersApart]) -> list[int]:
    """Put the arrays in the places that were left for them, and return which were put somewhere."""
    placed: list[int] = []
    inputs = document.get("inputs")
    for tensor in inputs if isinstance(inputs, list) else ():
        place = tensor.get("data") if isinstance(tensor, dict) else None
        index = place.get("") if isinstance(place, dict) and len(place) == 1 else None
        if type(index) is int and 0 <= index < len(numbers):
            tensor["data"] = numbers[index]
            placed.append(index)
    return sorted(placed)
