"""Large JSON means the same as small JSON."""

import json
from typing import Any

import numpy as np
import pytest
from fleetfit_runtime.engine.tensor_types import DATATYPES
from fleetfit_runtime.serve.errors import RequestError
from fleetfit_runtime.serve.json_document import read_document
from fleetfit_runtime.serve.numbers_apart import LARGE_BYTES
from fleetfit_runtime.serve.tensor_json import array_from_json
from hypothesis import given
from hypothesis import strategies as st

NUMBERS = st.integers(-(2**64), 2**65) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = NUMBERS | st.booleans() | st.none() | st.text(max_size=3)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[list[Any], tuple[int, ...]]:
    shape = tuple(draw(st.lists(st.integers(0, 3), min_size=1, max_size=3)))
    count = int(np.prod(shape))
    elements = draw(st.sampled_from([NUMBERS, VALUES, st.integers(0, 100), st.floats(-5, 5)]))
    flat = draw(st.lists(elements, min_size=count, max_size=count))
    return draw(
        st.sampled_from([flat, np.array(flat, object).reshape(shape).tolist(), [*flat, 1], [flat, 2]])
    ), shape


def outcome(text: bytes, datatype: str, shape: tuple[int, ...]) -> object:
    try:
        document = read_document(text)
        array = array_from_json("x", document["inputs"][0]["data"], DATATYPES[datatype], shape)
    except RequestError as error:
        return error.status
    return array.dtype.str, array.shape, array.tolist()


@given(tensors(), st.sampled_from(["FP32", "FP64", "INT8", "INT64", "UINT64", "BOOL", "BYTES"]))
def test_a_large_text_gives_the_arrays_of_a_small_one(
    drawn: tuple[list[Any], tuple[int, ...]], datatype: str
) -> None:
    data, shape = drawn
    small = json.dumps({"inputs": [{"data": data}]}).encode()
    large = small + b" " * LARGE_BYTES
    assert outcome(large, datatype, shape) == outcome(small, datatype, shape)


@given(
    st.recursive(
        VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner)
    )
)
def test_other_members_are_what_they_are_in_a_small_text(value: object) -> None:
    text = json.dumps({"parameters": value, "inputs": [value, {"name": "x", "parameters": value}]}).encode()
    results: list[object] = []
    for each in (text, text + b" " * LARGE_BYTES):
        try:
            results.append(read_document(each))
        except RequestError as error:
            results.append(error.status)
    assert results[0] == results[1]


@pytest.mark.parametrize(
    "text", [b"[1]", b"5", b"{", b"\xff", b'{"a":1,}', b"[" * 3000 + b"]" * 3000, b"{} {}"]
)
def test_what_is_no_object_is_refused_at_any_size(text: bytes) -> None:
    for each in (text, text + b" " * LARGE_BYTES):
        with pytest.raises(RequestError):
            read_document(each)
