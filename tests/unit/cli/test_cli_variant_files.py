"""Files that are read, files that are refused, and dimensions that only the user knows."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from fleetfit_api.suite import Precision
from fleetfit_cli.errors import WrongUseError
from fleetfit_cli.suites.input_shapes import InputShape, fix_shapes, open_inputs
from fleetfit_cli.suites.variant_file import read_variant_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tests.unit.cli.onnx_files import VARIANTS, built, convolution, model_of, write_model


def with_shapes(model: onnx.ModelProto, path: Path, *shapes: str) -> int:
    file = read_variant_file(write_model(model, path), [InputShape.parse(shape) for shape in shapes])
    return file.features.multiply_accumulates


def test_an_open_batch_is_one_and_needs_no_word(tmp_path: Path) -> None:
    file = read_variant_file(write_model(convolution(["N", 3, 8, 8]), tmp_path / "a.onnx"))
    assert file.open_inputs == ()
    assert file.features.multiply_accumulates == 4 * 6 * 6 * 3 * 9


def test_sizes_that_are_given_are_those_that_are_counted(tmp_path: Path) -> None:
    model = convolution(["N", 3, "height", "width"])
    assert with_shapes(model, tmp_path / "a.onnx", "data=2,3,10,12") == 2 * 4 * 8 * 10 * 3 * 9


def test_open_sizes_are_told_with_the_way_to_fix_them() -> None:
    assert open_inputs(convolution(["N", 3, "height", "width"])) == ["data=1,3,HEIGHT,WIDTH"]
    assert open_inputs(convolution([1, 3, 0, 8])) == ["data=1,3,SIZE2,8"]
    assert open_inputs(convolution([1, 3, 8, 8])) == []


def test_a_symbol_gets_its_size_in_every_input() -> None:
    model = model_of([helper.make_node("Add", ["data", "mask"], ["result"])], {}, ["N", "tokens"])
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["N", "tokens"]))
    fix_shapes(model, [InputShape("data", (1, 128))])
    assert [[d.dim_value for d in value.type.tensor_type.shape.dim] for value in model.graph.input] == [
        [1, 128],
        [1, 128],
    ]
    assert open_inputs(model) == []


def test_an_input_without_any_shape_gets_the_whole_one() -> None:
    model = convolution([1, 3, 8, 8])
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert open_inputs(model) == ["data=SIZES"]
    fix_shapes(model, [InputShape("data", (1, 3, 8, 8))])
    assert open_inputs(model) == []


def test_weights_that_are_listed_as_inputs_are_no_inputs() -> None:
    model = convolution([1, 3, 8, 8])
    model.graph.input.append(helper.make_tensor_value_info("weight", TensorProto.FLOAT, [4, 3, "h", "w"]))
    assert open_inputs(model) == []


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ("image=1,3,8,8", "there is no input 'image'; inputs are data"),
        ("data=1,4,8,8", "input data is 1,3,8,WIDTH in the file, which 1,4,8,8 does not fit"),
        ("data=1,3,8", "input data is 1,3,8,WIDTH in the file, which 1,3,8 does not fit"),
    ],
)
def test_shapes_that_the_file_does_not_have(shape: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(WrongUseError, match=sentence):
        with_shapes(convolution(["N", 3, 8, "width"]), tmp_path / "a.onnx", shape)


def large_model() -> onnx.ModelProto:
    """Return a model whose shapes hang on a small constant and whose weights are many."""
    nodes = [
        helper.make_node("Reshape", ["data", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["result"]),
    ]
    weights = np.arange(512 * 256, dtype=np.float32).reshape(512, 256)
    return model_of(nodes, {"shape": np.array([1, 512], np.int64), "w": weights}, (1, 16, 32))


def save_apart(
    model: onnx.ModelProto, path: Path, location: str | None = "part/large.bin", **over: bool
) -> Path:
    (path.parent / "part").mkdir(exist_ok=True)
    words: dict[str, Any] = {"save_as_external_data": True, "size_threshold": 0, **over}
    onnx.save_model(model, path, location=location, **words)
    return path


def test_a_file_with_external_data_costs_the_same_and_names_its_files(tmp_path: Path) -> None:
    whole = read_variant_file(write_model(large_model(), tmp_path / "whole.onnx"))
    file = read_variant_file(save_apart(large_model(), tmp_path / "large.onnx"))
    assert file.features == whole.features
    assert file.formats == whole.formats
    assert whole.external == ()
    data = tmp_path / "part" / "large.bin"
    (external,) = file.external
    assert (external.name, external.path, external.size_bytes) == (
        "part/large.bin",
        data,
        data.stat().st_size,
    )
    assert external.sha256 == hashlib.sha256(data.read_bytes()).hexdigest()
    assert file.size_bytes < 1000


def test_external_data_within_branches_is_found(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.ones((300, 300), np.float32), "w")
    graphs = [
        helper.make_graph(
            [helper.make_node("Identity", ["w"], ["out"])],
            name,
            [],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, [300, 300])],
            [weight],
        )
        for name in ("yes", "no")
    ]
    node = helper.make_node("If", ["choice"], ["result"], then_branch=graphs[0], else_branch=graphs[1])
    model = model_of([helper.make_node("Cast", ["data"], ["choice"], to=TensorProto.BOOL), node], {}, [1])
    file = read_variant_file(save_apart(model, tmp_path / "a.onnx"))
    assert [each.name for each in file.external] == ["part/large.bin"]


def renamed(path: Path, location: str) -> None:
    model = onnx.load_model(path, load_external_data=False)
    for tensor in model.graph.initializer:
        next(entry for entry in tensor.external_data if entry.key == "location").value = location
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (
            lambda path: (path.parent / "part/large.bin").unlink(),
            "part/large.bin, which cannot be read: No such file",
        ),
        (lambda path: (path.parent / "part/large.bin").write_bytes(b"x"), "which is cut off: 1 of 52"),
        (lambda path: renamed(path, "../../etc/passwd"), "which is not below its own directory"),
        (lambda path: renamed(path, "/etc/passwd"), "which is not below its own directory"),
    ],
    ids=["missing", "cut off", "outside", "absolute"],
)
def test_external_data_that_no_node_could_use_is_refused(
    harm: Callable[[Path], object], sentence: str, tmp_path: Path
) -> None:
    path = save_apart(large_model(), tmp_path / "large.onnx")
    harm(path)
    with pytest.raises(WrongUseError, match=re.escape(sentence)):
        read_variant_file(path)


def test_more_files_than_a_variant_has_are_refused_with_the_way_out(tmp_path: Path) -> None:
    weights = {f"w{number}": np.ones((4, 4), np.float32) for number in range(9)}
    names = ["data", *(f"t{number}" for number in range(8)), "result"]
    nodes = [helper.make_node("MatMul", [names[n], f"w{n}"], [names[n + 1]]) for n in range(9)]
    path = save_apart(model_of(nodes, weights), tmp_path / "a.onnx", None, all_tensors_to_one_file=False)
    with pytest.raises(
        WrongUseError, match=r"in 9 other files, .* at most 8: .* all_tensors_to_one_file=True"
    ):
        read_variant_file(path)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (onnx.ModelProto(), "not a valid ONNX model: The model does not have an ir_version"),
        (
            model_of([helper.make_node("Relu", ["absent"], ["result"])], {}),
            "not a valid ONNX model: Nodes in a graph",
        ),
        (model_of([], {}), "a.onnx"),
    ],
    ids=["empty", "broken graph", "no nodes"],
)
def test_what_no_runtime_could_load_is_refused(model: onnx.ModelProto, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(WrongUseError, match=sentence):
        read_variant_file(write_model(model, tmp_path / "a.onnx"))


def test_operators_of_other_domains_are_no_fault(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Fancy", ["data"], ["result"], domain="acme")], {})
    file = read_variant_file(write_model(model, tmp_path / "a.onnx"))
    assert [(cost.name, cost.count) for cost in file.features.operators] == [("acme.Fancy", 1)]


INT8 = (VARIANTS / "residual-compact-int8.onnx").read_bytes()
edits = st.lists(st.tuples(st.integers(0, len(INT8) - 1), st.integers(0, 255)), max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=edits, length=st.integers(0, len(INT8)) | st.just(len(INT8)))
def test_a_damaged_file_is_read_or_refused_in_a_sentence(
    edits: list[tuple[int, int]], length: int, tmp_path: Path
) -> None:
    content = bytearray(INT8)
    for position, value in edits:
        content[position] = value
    path = tmp_path / "damaged.onnx"
    path.write_bytes(content[:length])
    file, sentence = None, ""
    try:
        file = read_variant_file(path)
    except WrongUseError as error:
        sentence = str(error)
    if file is None:
        assert "damaged.onnx" in sentence
        assert "\n" not in sentence
    else:
        assert file.size_bytes == length
        assert file.formats.precision is not None


def test_the_digest_and_the_size_are_those_of_the_file(tmp_path: Path) -> None:
    path = write_model(built(Precision.FP32), tmp_path / "a.onnx")
    before = read_variant_file(path)
    path.write_bytes(path.read_bytes() + b"\x32\x00")  # an empty field of metadata
    after = read_variant_file(path)
    assert after.size_bytes == before.size_bytes + 2
    assert after.sha256 != before.sha256
    assert after.features == before.features
