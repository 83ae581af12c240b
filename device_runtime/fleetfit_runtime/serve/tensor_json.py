"""Tensors in the protocol's JSON form: row-major, nested or flat. Pure."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from fleetfit_runtime.engine.model_session import Array
from fleetfit_runtime.engine.tensor_types import BF16, TensorType
from fleetfit_runtime.serve.errors import bad_request
from fleetfit_runtime.serve.json_document import NumberData
from fleetfit_runtime.serve.numbers_apart import NotFloatsError, NumbersApart


def array_from_json(name: str, data: object, tensor_type: TensorType, shape: tuple[int, ...]) -> Array:
    """Return the array that JSON data stands for.

    Raises:
        RequestError: the data is ragged, has another number of elements, or elements of another type.
        NotFloatsError: the data was taken out of its text, and must be read with it.
    """
    if isinstance(data, NumbersApart):
        if tensor_type.dtype != np.float32:
            raise NotFloatsError
        return data.floats(math.prod(shape)).reshape(shape)
    if isinstance(data, NumberData):
        numbers = data.flat(tensor_type.dtype.kind, shape)
        if numbers is not None:
            return _cast(name, numbers, tensor_type).reshape(shape)
        data = data.as_list()
    if not isinstance(data, list):
        raise bad_request(f"data of input {name!r} must be an array")
    if tensor_type is BF16:
        raise bad_request(
            f"input {name!r} has the datatype BF16, which has no form in JSON; send it as binary data"
        )
    if tensor_type.item_bytes == 0:
        return _strings(name, data, shape)
    array = _loose_array(name, data, tensor_type)
    count = math.prod(shape)
    if array.size != count:
        raise bad_request(
            f"input {name!r} has {array.size} elements, but its shape {list(shape)} needs {count}"
        )
    if array.ndim > 1 and array.shape != shape and count:  # nesting of nothing cannot be told
        raise bad_request(
            f"data of input {name!r} is nested as {list(array.shape)}, but its shape is {list(shape)}"
        )
    return _cast(name, array, tensor_type).reshape(shape)


def _loose_array(name: str, data: list[Any], tensor_type: TensorType) -> Array:
    try:
        array: Array = np.array(data)
        if tensor_type.dtype.kind == "u" and array.dtype.kind == "f":
            # numpy takes a list with 0 and 2**64 - 1 for floats, which loses digits.
            array = _exact_integers(np.array(data, dtype=object), array)
        return array
    except ValueError as error:
        raise bad_request(f"data of input {name!r} is ragged: its rows differ in length") from error


def _exact_integers(objects: Array, otherwise: Array) -> Array:
    if all(type(item) is int and 0 <= item < 1 << 64 for item in objects.reshape(-1)):
        return objects.astype(np.uint64)
    return otherwise


def _cast(name: str, array: Array, tensor_type: TensorType) -> Array:
    dtype = tensor_type.dtype
    if array.size == 0:
        return array.astype(dtype)
    kind = array.dtype.kind
    if dtype.kind == "f" and kind in "fiu":
        with np.errstate(over="raise"):
            try:
                return array.astype(dtype)
            except FloatingPointError as error:
                raise bad_request(
                    f"input {name!r} has a number too large for {tensor_type.datatype}"
                ) from error
    if dtype.kind in "iu" and kind in "iu":
        limits = np.iinfo(dtype.str)
        if int(array.min()) < limits.min or int(array.max()) > limits.max:
            raise bad_request(f"input {name!r} has a number outside the range of {tensor_type.datatype}")
        return array.astype(dtype)
    if dtype.kind == "b" and (kind == "b" or (kind in "iu" and not ((array != 0) & (array != 1)).any())):
        return array.astype(dtype)
    raise bad_request(f"data of input {name!r} has elements that are not {tensor_type.datatype}")


def _strings(name: str, data: list[Any], shape: tuple[int, ...]) -> Array:
    flat = list(_leaves(data))
    if not all(isinstance(item, str) for item in flat):
        raise bad_request(f"data of input {name!r} has elements that are not strings")
    if len(flat) != math.prod(shape):
        raise bad_request(
            f"input {name!r} has {len(flat)} elements, but its shape {list(shape)} needs {math.prod(shape)}"
        )
    return np.array(flat, dtype=object).reshape(shape)


def _leaves(data: list[Any]) -> Iterator[object]:
    for item in data:
        if isinstance(item, list):
            yield from _leaves(item)  # orjson refuses nesting that would be too deep for this
        else:
            yield item


def json_from_array(array: Array, tensor_type: TensorType) -> object:
    """Return what orjson writes for an array: flat, row-major. NaN and infinities become null, as JSON has no such."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.tolist() if tensor_type.item_bytes == 0 else flat
