"""Tensors in the protocol's binary form: raw little-endian elements, strings after their length. Pure."""

import math
import struct

import numpy as np

from fleetfit_runtime.engine.model_session import Array
from fleetfit_runtime.engine.tensor_types import TensorType
from fleetfit_runtime.serve.errors import bad_request

_LENGTH = struct.Struct("<I")


def array_from_binary(name: str, data: memoryview, tensor_type: TensorType, shape: tuple[int, ...]) -> Array:
    """Return the array that raw bytes stand for: a view of them, not a copy, except for strings.

    Raises:
        RequestError: the number of bytes does not fit the shape, or a string is not UTF-8.
    """
    count = math.prod(shape)
    if tensor_type.item_bytes == 0:
        return _strings(name, data, count).reshape(shape)
    needed = count * tensor_type.item_bytes
    if len(data) != needed:
        raise bad_request(
            f"input {name!r} has {len(data)} bytes of binary data, "
            f"but {tensor_type.datatype} of shape {list(shape)} needs {needed}"
        )
    if tensor_type.dtype.kind == "b":
        # A byte that is neither 0 nor 1 is no valid bool to numpy or ONNX Runtime.
        booleans: Array = np.frombuffer(data, np.uint8) != 0
        return booleans.reshape(shape)
    return np.frombuffer(data, tensor_type.dtype).reshape(shape)


def _strings(name: str, data: memoryview, count: int) -> Array:
    strings: list[str] = []
    offset = 0
    while offset < len(data):
        if offset + 4 > len(data):
            raise bad_request(f"binary data of input {name!r} ends within the length of a string")
        (length,) = _LENGTH.unpack_from(data, offset)
        offset += 4
        if offset + length > len(data):
            raise bad_request(f"binary data of input {name!r} ends within a string")
        try:
            strings.append(str(data[offset : offset + length], "utf-8"))
        except UnicodeDecodeError as error:
            raise bad_request(f"binary data of input {name!r} has a string that is not UTF-8") from error
        offset += length
    if len(strings) != count:
        raise bad_request(f"input {name!r} has {len(strings)} strings, but its shape needs {count}")
    return np.array(strings, dtype=object)


def binary_from_array(array: Array, tensor_type: TensorType) -> bytes:
    """Return the raw bytes of an array."""
    if tensor_type.item_bytes:
        return np.ascontiguousarray(array, dtype=tensor_type.dtype).tobytes()
    parts: list[bytes] = []
    for item in array.reshape(-1).tolist():
        encoded = str(item).encode()
        parts += (_LENGTH.pack(len(encoded)), encoded)
    return b"".join(parts)
