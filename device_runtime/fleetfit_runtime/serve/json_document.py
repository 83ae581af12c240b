"""From JSON text to a document: orjson for small texts, simdjson for large ones, which reads numbers without objects.

A large array of numbers would become a list of a hundred thousand Python objects, which takes longer than many a model.
So the data of tensors in a large text stay in the parser's memory until an array is made of them. Pure.
"""

import math
from typing import Any, Final

import numpy as np
import orjson
import simdjson

from fleetfit_runtime.engine.model_session import Array
from fleetfit_runtime.serve.body import Body
from fleetfit_runtime.serve.errors import bad_request
from fleetfit_runtime.serve.numbers_apart import LARGE_BYTES

_CODES: Final = {"f": ("d", "f8"), "i": ("i", "i8"), "u": ("u", "u8")}


class NumberData:
    """The data of a tensor in a parsed text."""

    __slots__ = ("_array",)

    def __init__(self, array: Any) -> None:
        self._array = array

    def flat(self, kind: str, shape: tuple[int, ...]) -> Array | None:
        """Return the numbers as one dimension, or None where they must be looked at one by one.

        Args:
            kind: numpy's letter for the kind of number: f, i or u.
            shape: shape of the tensor.
        """
        codes = _CODES.get(kind)
        if codes is None or not _fits(self._array, shape):
            return None
        try:
            numbers = np.frombuffer(self._array.as_buffer(of_type=codes[0]), codes[1])
        except (TypeError, ValueError):
            return None
        # The parser flattens whatever is nested: lists among the numbers show by their elements alone.
        return numbers if numbers.size == math.prod(shape) else None

    def as_list(self) -> list[Any]:
        """Return the numbers as lists."""
        values: list[Any] = self._array.as_list()
        return values


def _fits(array: Any, shape: tuple[int, ...]) -> bool:
    """Tell whether data is flat with the right number of elements, or nested exactly like the shape."""
    nested = len(array) > 0 and isinstance(array[0], simdjson.Array)
    return _nested_as(array, shape) if nested else len(array) == math.prod(shape)


def _nested_as(array: Any, shape: tuple[int, ...]) -> bool:
    if not shape or not isinstance(array, simdjson.Array) or len(array) != shape[0]:
        return False
    if len(shape) == 1:
        # The parser itself refuses to read what is not a number, but not a further level of lists.
        return not (len(array) and isinstance(array[0], simdjson.Array))
    return all(_nested_as(array[index], shape[1:]) for index in range(len(array)))


def read_document(text: Body) -> dict[str, Any]:
    """Return the JSON object of a text; in a large one the data of inputs are `NumberData`.

    Raises:
        RequestError: it is not JSON, or another value than an object.
    """
    document = _small(text) if len(text) < LARGE_BYTES else _large(text)
    if not isinstance(document, dict):
        raise bad_request("the body must be a JSON object")
    return document


def _small(text: Body) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"the body is not valid JSON: {error}") from error


def _large(text: Body) -> object:
    try:
        parsed = simdjson.Parser().parse(text)
    except (ValueError, RuntimeError):
        return _small(text)  # Its sentence says where; and the two may differ in what they allow.
    if not isinstance(parsed, simdjson.Object):
        return None
    try:
        return _members(parsed)
    except KeyError:
        return _small(text)


def _members(parsed: Any) -> dict[str, Any]:
    # Taken by key and index: iterating would make Python objects of everything inside.
    document: dict[str, Any] = {}
    for key in _names(parsed):
        value = parsed[key]
        if key == "inputs" and isinstance(value, simdjson.Array):
            document[key] = [_tensor(value[index]) for index in range(len(value))]
        else:
            document[key] = _plain(value)
    return document


def _names(parsed: Any) -> list[str]:
    """Return the names of members.

    Raises:
        KeyError: simdjson cannot tell the members apart by name as others do.
    """
    names: list[str] = list(parsed.keys())
    if len(set(names)) < len(names) or any("\0" in name for name in names):
        raise KeyError
    return names


def _tensor(value: Any) -> Any:
    if not isinstance(value, simdjson.Object):
        return _plain(value)
    tensor: dict[str, Any] = {}
    for key in _names(value):
        member = value[key]
        is_data = key == "data" and isinstance(member, simdjson.Array)
        tensor[key] = NumberData(member) if is_data else _plain(member)
    return tensor


def _plain(value: Any) -> Any:
    if isinstance(value, simdjson.Object):
        return value.as_dict()
    return value.as_list() if isinstance(value, simdjson.Array) else value
