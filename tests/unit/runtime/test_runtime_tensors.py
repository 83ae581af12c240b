"""Tensors in JSON and binary form: what goes out comes back, whatever it is."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pytest
from fleetfit_runtime.engine.tensor_types import DATATYPES
from fleetfit_runtime.serve.errors import RequestError
from fleetfit_runtime.serve.tensor_binary import array_from_binary, binary_from_array
from fleetfit_runtime.serve.tensor_json import array_from_json, json_from_array
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def arrays(draw: st.DrawFn, datatypes: Sequence[str] = sorted(DATATYPES)) -> tuple[str, np.ndarray[Any, Any]]:
    datatype = draw(st.sampled_from(datatypes))
    dtype = DATATYPES[datatype].dtype
    if datatype == "BYTES":
        text = st.text(st.characters(codec="utf-8"), max_size=5)
        return datatype, draw(hnp.arrays(object, draw(SHAPES), elements=text))
    finite = {"allow_nan": False, "allow_infinity": False} if dtype.kind == "f" else {}
    elements = hnp.from_dtype(dtype, **finite)
    return datatype, draw(hnp.arrays(dtype, draw(SHAPES), elements=elements))


@given(arrays())
def test_binary_form_comes_back(drawn: tuple[str, np.ndarray[Any, Any]]) -> None:
    datatype, array = drawn
    raw = binary_from_array(array, DATATYPES[datatype])
    back = array_from_binary("x", memoryview(raw), DATATYPES[datatype], array.shape)
    assert back.shape == array.shape
    assert back.tolist() == array.tolist()


@given(arrays(sorted(DATATYPES.keys() - {"BF16"})), st.booleans())
def test_json_form_comes_back_flat_and_nested(drawn: tuple[str, np.ndarray[Any, Any]], nested: bool) -> None:
    datatype, array = drawn
    written = array.tolist() if nested and array.ndim else json_from_array(array, DATATYPES[datatype])
    data = orjson.loads(orjson.dumps(written, option=orjson.OPT_SERIALIZE_NUMPY))
    back = array_from_json("x", data, DATATYPES[datatype], array.shape)
    assert back.shape == array.shape
    assert back.dtype == array.dtype
    assert back.tolist() == array.tolist()


@given(st.binary(max_size=40), st.sampled_from(sorted(DATATYPES)), SHAPES)
def test_arbitrary_bytes_give_an_array_or_a_sentence(
    raw: bytes, datatype: str, shape: tuple[int, ...]
) -> None:
    got: tuple[int, ...] | int
    try:
        got = array_from_binary("x", memoryview(raw), DATATYPES[datatype], shape).shape
    except RequestError as error:
        got = error.status
    assert got in (shape, 400)


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("INT8", [128]),
        ("UINT8", [-1]),
        ("INT64", [2**64]),
        ("INT32", [1.5]),
        ("UINT64", [0, 1.5]),
        ("FP32", ["1"]),
        ("FP32", [1e39]),
        ("FP16", [70000.0]),
        ("BOOL", [2]),
        ("BOOL", ["true"]),
        ("BYTES", [1]),
    ],
)
def test_element_of_another_type_or_range_is_refused(datatype: str, data: list[Any]) -> None:
    with pytest.raises(RequestError) as caught:
        array_from_json("x", data, DATATYPES[datatype], (len(data),))
    assert caught.value.status == 400
