"""Tensors in the protocol's typed form, a message with one list per kind of element. Pure."""

import math
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from fleetfit_runtime.engine.model_session import Array
from fleetfit_runtime.engine.tensor_types import TensorType
from fleetfit_runtime.serve.errors import bad_request
from fleetfit_runtime.serve.grpc.packed_integers import pack_integers, unpack_integers
from fleetfit_runtime.serve.grpc.wire import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    Field,
    WireError,
    bytes_field,
    message,
    read_fields,
)

_BOOLS: Final = 1
_STRINGS: Final = 8
# Which list holds elements of a datatype. FP16 and BF16 have none: they travel raw.
_LIST_OF: Final = {
    "BOOL": _BOOLS,
    "INT8": 2,
    "INT16": 2,
    "INT32": 2,
    "INT64": 3,
    "UINT8": 4,
    "UINT16": 4,
    "UINT32": 4,
    "UINT64": 5,
    "FP32": 6,
    "FP64": 7,
    "BYTES": _STRINGS,
}
_INTEGERS: Final = frozenset({_BOOLS, 2, 3, 4, 5})
# Elements that are written one by one: strings, and numbers of a client that does not pack them.
_MOST_ELEMENTS: Final = 1 << 20


@dataclass(slots=True)
class _Elements:
    """The elements of one list while it is read; packed and unpacked ones may alternate."""

    parts: list[Array] = field(default_factory=list)
    strings: list[str] = field(default_factory=list)


def has_typed_form(tensor_type: TensorType) -> bool:
    """Tell whether tensors of a type have a typed form."""
    return tensor_type.datatype in _LIST_OF


def array_from_contents(
    name: str, contents: list[memoryview], tensor_type: TensorType, shape: tuple[int, ...]
) -> Array:
    """Return the array of an input.

    Args:
        name: name of the input.
        contents: its `contents`; a message that is given in parts counts as one.
        tensor_type: its element type.
        shape: its shape.

    Raises:
        RequestError: the elements are in another list, are another number, or do not fit the type.
        WireError: a message is malformed.
    """
    number = _LIST_OF.get(tensor_type.datatype)
    if number is None:
        raise bad_request(
            f"input {name!r} must be in raw_input_contents: {tensor_type.datatype} has no typed form"
        )
    elements = _Elements()
    for part in contents:
        for each in read_fields(part, _MOST_ELEMENTS):
            if each[0] == number:
                _read(elements, each)
            elif 1 <= each[0] <= _STRINGS and (each[2] or len(each[3])):
                raise bad_request(
                    f"contents of input {name!r} are in the list of another type than {tensor_type.datatype}"
                )
    found = (
        np.array(elements.strings, dtype=object)
        if number == _STRINGS
        else _numbers(name, elements, tensor_type)
    )
    count = math.prod(shape)
    if found.size != count:
        raise bad_request(
            f"input {name!r} has {found.size} elements, but its shape {list(shape)} needs {count}"
        )
    return found.reshape(shape)


def _read(elements: _Elements, each: Field) -> None:
    number, kind, value, data = each
    if number == _STRINGS:
        try:
            elements.strings.append(str(message(each), "utf-8"))
        except UnicodeDecodeError as error:
            raise bad_request("bytes_contents has a string that is not UTF-8") from error
    elif number in _INTEGERS:
        if kind == BYTES:
            elements.parts.append(unpack_integers(data))
        elif kind == VARINT:
            elements.parts.append(np.array([value], np.uint64))
        else:
            raise WireError("an integer has a wrong wire type")
    else:
        dtype = np.dtype("<f4" if number == _LIST_OF["FP32"] else "<f8")
        if kind not in (BYTES, FIXED32 if dtype.itemsize == 4 else FIXED64) or len(data) % dtype.itemsize:
            raise WireError("floating-point numbers of a wrong length")
        elements.parts.append(np.frombuffer(data, dtype))


def _numbers(name: str, elements: _Elements, tensor_type: TensorType) -> Array:
    parts, dtype = elements.parts, tensor_type.dtype
    if not parts:
        return np.zeros(0, dtype)
    numbers: Array = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if dtype.kind == "f":
        return numbers
    if dtype.kind == "b":
        booleans: Array = numbers != 0
        return booleans
    if dtype.kind == "i":
        numbers = numbers.view(np.int64)
    limits = np.iinfo(dtype.str)
    if numbers.size and (int(numbers.min()) < limits.min or int(numbers.max()) > limits.max):
        raise bad_request(f"input {name!r} has a number outside the range of {tensor_type.datatype}")
    return numbers.astype(dtype)


def contents_from_array(values: Array, tensor_type: TensorType) -> bytes:
    """Return the `contents` message of an output whose type has a typed form."""
    number = _LIST_OF[tensor_type.datatype]
    if number == _STRINGS:
        return b"".join(bytes_field(number, str(item).encode()) for item in values.reshape(-1).tolist())
    if not values.size:
        return b""
    flat = np.ascontiguousarray(values).reshape(-1)
    if number not in _INTEGERS:
        return bytes_field(number, flat.astype(tensor_type.dtype, copy=False).tobytes())
    words: np.ndarray[Any, np.dtype[np.uint64]]
    words = flat.astype(np.int64).view(np.uint64) if tensor_type.dtype.kind == "i" else flat.astype(np.uint64)
    return bytes_field(number, pack_integers(words))
