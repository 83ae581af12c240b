"""Runs models with bfloat16 tensors, which numpy does not have: their bits go in and come out as 16-bit numbers."""

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnxruntime

from fleetfit_runtime.engine.model_session import Array, RunWithOptions

ONNX_TYPE: Final = "tensor(bfloat16)"
# The number of the type in ONNX's list of element types.
_ELEMENT_TYPE: Final = 16


def bfloat16_runner(session: Any) -> RunWithOptions | None:
    """Return what runs a session with bfloat16 tensors; None for one without, which numpy arrays can run."""
    inputs = {argument.name for argument in session.get_inputs() if argument.type == ONNX_TYPE}
    outputs = {argument.name for argument in session.get_outputs() if argument.type == ONNX_TYPE}
    if not inputs and not outputs:
        return None

    def run(output_names: Sequence[str], arrays: Mapping[str, Array], options: Any, /) -> list[Array]:
        values = {name: _value(array, as_bfloat16=name in inputs) for name, array in arrays.items()}
        results = session.run_with_ort_values(output_names, values, options)
        return [_array(value) for value in results]

    return run


def _value(array: Array, *, as_bfloat16: bool) -> Any:
    contiguous = np.ascontiguousarray(array)
    if as_bfloat16:
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(contiguous, _ELEMENT_TYPE)
    return onnxruntime.OrtValue.ortvalue_from_numpy(contiguous)


def _array(value: Any) -> Array:
    if value.data_type() != ONNX_TYPE:
        array: Array = value.numpy()
        return array
    # The memory goes with the value, so its bytes are copied.
    raw = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return np.frombuffer(raw, "<u2").reshape(value.shape())
