"""A request whose numbers were taken out of its text means what it means as a whole."""

import json
from typing import Any

import numpy as np
import pytest
from fleetfit_runtime.engine.model_session import TensorSpec
from fleetfit_runtime.engine.tensor_types import DATATYPES
from fleetfit_runtime.serve import infer_request
from fleetfit_runtime.serve.errors import RequestError
from fleetfit_runtime.serve.float_reader import FloatReader
from fleetfit_runtime.serve.infer_request import parse_infer_request
from fleetfit_runtime.serve.numbers_apart import LARGE_BYTES, NumbersApart, read_apart
from hypothesis import given
from hypothesis import strategies as st

LONG = [0.25 + 1 / (index + 3) for index in range(1200)]


def spec(name: str, datatype: str = "FP32") -> TensorSpec:
    return TensorSpec(name, DATATYPES[datatype], f"tensor({datatype})", (-1, -1))


INPUTS = (spec("x"), spec("y"), spec("n", "INT64"), spec("s", "BYTES"))
OUTPUTS = (spec("z"),)


def tensor(name: str, data: object, datatype: str = "FP32", **members: object) -> dict[str, Any]:
    count = int(np.array(data, object).size) if isinstance(data, list) else 1
    return {"name": name, "shape": [1, count], "datatype": datatype, **members, "data": data}


def outcome(body: bytes, needed: tuple[str, ...] = ("x",)) -> object:
    inputs = [each for each in INPUTS if each.name in needed]
    try:
        asked = parse_infer_request(body, None, inputs, OUTPUTS)
    except RequestError as error:
        return error.status, error.message
    return asked.id, {name: (a.dtype.str, a.shape, a.tolist()) for name, a in asked.inputs.items()}


def both(body: bytes, needed: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> tuple[object, object]:
    apart = outcome(body, needed)
    with monkeypatch.context() as patch:
        patch.setattr(infer_request, "_FLOATS", None)
        return apart, outcome(body, needed)


X = tensor("x", LONG)
ONE_TENSOR = json.dumps({"inputs": [X]}).encode()
STRINGS = [f"a]{index}" for index in range(1200)]
REQUESTS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "one tensor": ({"id": "7", "inputs": [X]}, ("x",)),
    "data first": ({"inputs": [dict(reversed(list(X.items())))]}, ("x",)),
    "two tensors": ({"inputs": [X, tensor("y", LONG[::-1])]}, ("x", "y")),
    "a short one beside": ({"inputs": [tensor("y", [1.5, 2]), X]}, ("x", "y")),
    "integers": ({"inputs": [tensor("n", list(range(3000)), "INT64")]}, ("n",)),
    "floats for integers": ({"inputs": [tensor("n", LONG, "INT64")]}, ("n",)),
    "whole numbers": ({"inputs": [tensor("x", list(range(3000)))]}, ("x",)),
    "too large": ({"inputs": [tensor("x", [*LONG, 1e39])]}, ("x",)),
    "tiny": ({"inputs": [tensor("x", [*LONG, 1e-300])]}, ("x",)),
    "strings": ({"inputs": [tensor("s", STRINGS, "BYTES")]}, ("s",)),
    "nested": ({"inputs": [tensor("x", [LONG])]}, ("x",)),
    "null inside": ({"inputs": [tensor("x", [*LONG, None])]}, ("x",)),
    "wrong shape": ({"inputs": [{**X, "shape": [2, 7]}]}, ("x",)),
    "huge shape": ({"inputs": [{**X, "shape": [1, 1 << 40]}]}, ("x",)),
    "no shape": ({"inputs": [{"name": "x", "datatype": "FP32", "data": LONG}]}, ("x",)),
    "in parameters too": ({"parameters": {"data": LONG}, "inputs": [X]}, ("x",)),
    "only in parameters": ({"parameters": {"data": LONG}, "inputs": [tensor("x", [1])]}, ("x",)),
    "in no place": ({"data": LONG, "inputs": []}, ("x",)),
    "a key that ends so": ({"inputs": [tensor("x", [1.0], **{'more "data': LONG})]}, ("x",)),
    "inside a string": ({"id": '"data":[' + "1," * 5000 + "]", "inputs": [X]}, ("x",)),
    "a place without numbers": ({"inputs": [X, tensor("y", {"": 0})]}, ("x", "y")),
    "the same place twice": ({"inputs": [{**tensor("y", {"": 0}), "shape": [1, len(LONG)]}, X]}, ("x", "y")),
    "no object": ([X], ("x",)),
}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\n", "\t:\r\n ")])
def test_taken_apart_or_as_a_whole_a_request_means_the_same(
    name: str, separators: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    request, needed = REQUESTS[name]
    apart, whole = both(json.dumps(request, separators=separators).encode(), needed, monkeypatch)
    assert apart == whole


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("", ",]}]}"),
        ("", "]}]"),
        ("", "]}]}}"),
        ("01,", "]}]}"),
        ("1.,", "]}]}"),
        (",", "]}]}"),
        ("", ""),
        ("", '],"data":[' + "2," * 5000 + "2]}]}"),
        ("", '],"shape":[1,1201]}]}'),
        ("", '],"d\\u0061ta":[1]}]}'),
    ],
)
def test_what_is_wrong_is_told_in_the_same_words(
    begin: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = json.dumps([1.0, *LONG])[1:-1]
    text = '{"inputs":[{"name":"x","shape":[1,1201],"datatype":"FP32","data":[' + begin + numbers + end
    apart, whole = both(text.encode(), ("x",), monkeypatch)
    assert apart == whole


@given(st.integers(0, len(ONE_TENSOR) - 1))
def test_a_text_cut_anywhere_is_no_request(end: int) -> None:
    result = outcome(ONE_TENSOR[:end])
    assert isinstance(result, tuple)
    assert result[0] == 400


def test_a_large_array_is_taken_out(reader: FloatReader) -> None:
    document = read_apart(memoryview(ONE_TENSOR), reader)
    assert document is not None
    data = document["inputs"][0]["data"]
    assert isinstance(data, NumbersApart)
    assert data.floats(len(LONG)).tolist() == np.array(LONG, np.float32).tolist()


class CountingReader:
    """Counts what is looked for."""

    def __init__(self, reader: FloatReader) -> None:
        self._reader = reader
        self.searches = 0

    def find(self, text: memoryview, character: bytes, begin: int) -> int:
        self.searches += 1
        return self._reader.find(text, character, begin)


@pytest.mark.parametrize("piece", [b'"data":[', b'"data":[],', b'"data":[1,2],'])
def test_a_text_that_seems_to_have_many_arrays_is_not_searched_for_ever(
    reader: FloatReader, piece: bytes
) -> None:
    counting = CountingReader(reader)
    text = piece * LARGE_BYTES
    assert read_apart(memoryview(text), counting) is None  # type: ignore[arg-type]  # counts beside reading
    assert counting.searches <= 64
