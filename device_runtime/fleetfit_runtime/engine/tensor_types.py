"""The one table of tensor types: ONNX Runtime's name, the Open Inference Protocol's name, and the numpy type."""

from dataclasses import dataclass
from typing import Final

import numpy as np


@dataclass(frozen=True, slots=True)
class TensorType:
    """One element type.

    Args:
        datatype: name in the Open Inference Protocol.
        dtype: numpy type; little-endian, as the protocol's binary form is.
        item_bytes: size of an element in binary form; 0 for strings, which carry their length.
    """

    datatype: str
    dtype: np.dtype[np.generic]
    item_bytes: int


def _fixed(datatype: str, code: str) -> TensorType:
    dtype: np.dtype[np.generic] = np.dtype(code)
    return TensorType(datatype, dtype, dtype.itemsize)


BYTES: Final = TensorType("BYTES", np.dtype(object), 0)
# numpy has no bfloat16; its bits travel as 16-bit numbers.
BF16: Final = TensorType("BF16", np.dtype("<u2"), 2)

_BY_ONNX: Final = {
    "tensor(bool)": _fixed("BOOL", "?"),
    "tensor(uint8)": _fixed("UINT8", "u1"),
    "tensor(uint16)": _fixed("UINT16", "<u2"),
    "tensor(uint32)": _fixed("UINT32", "<u4"),
    "tensor(uint64)": _fixed("UINT64", "<u8"),
    "tensor(int8)": _fixed("INT8", "i1"),
    "tensor(int16)": _fixed("INT16", "<i2"),
    "tensor(int32)": _fixed("INT32", "<i4"),
    "tensor(int64)": _fixed("INT64", "<i8"),
    "tensor(float16)": _fixed("FP16", "<f2"),
    "tensor(float)": _fixed("FP32", "<f4"),
    "tensor(double)": _fixed("FP64", "<f8"),
    "tensor(bfloat16)": BF16,
    "tensor(string)": BYTES,
}  # fmt: skip

DATATYPES: Final = {tensor_type.datatype: tensor_type for tensor_type in _BY_ONNX.values()}


def tensor_type_of(onnx_type: str) -> TensorType | None:
    """Return the type of that ONNX Runtime name; None for what the protocol cannot carry, such as complex numbers."""
    return _BY_ONNX.get(onnx_type)
