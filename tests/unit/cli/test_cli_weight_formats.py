"""The precision of a file is what most of its weights are, however they are stored."""

import numpy as np
import onnx
import pytest
from fleetfit_api.suite import Precision
from fleetfit_cli.suites.weight_formats import weight_formats
from onnx import TensorProto, helper, numpy_helper

from examples.digits.catalogue import RECIPES, Recipe
from tests.unit.cli.onnx_files import built, model_of


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_the_variants_of_the_example(recipe: Recipe) -> None:
    assert weight_formats(onnx.load(recipe.path)).precision is recipe.precision


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16, Precision.INT8])
def test_weights_that_nodes_make(precision: Precision) -> None:
    formats = weight_formats(built(precision))
    assert formats.precision is precision
    assert formats.shares == {precision.value: 1.0}


def product(weight: onnx.TensorProto, *nodes: onnx.NodeProto, factor: str = "weight") -> onnx.ModelProto:
    model = model_of([*nodes, helper.make_node("MatMul", ["data", factor], ["result"])], {})
    weight.name = "weight"
    model.graph.initializer.append(weight)
    return model


@pytest.mark.parametrize(
    ("element_type", "precision"),
    [
        (TensorProto.FLOAT, Precision.FP32),
        (TensorProto.FLOAT16, Precision.FP16),
        (TensorProto.BFLOAT16, Precision.BF16),
        (TensorProto.INT8, Precision.INT8),
        (TensorProto.UINT8, Precision.INT8),
        (TensorProto.INT4, Precision.INT4),
        (TensorProto.UINT4, Precision.INT4),
        (TensorProto.DOUBLE, None),
        (TensorProto.FLOAT8E4M3FN, None),
    ],
)
def test_every_format_that_weights_are_stored_in(element_type: int, precision: Precision | None) -> None:
    weight = helper.make_tensor("weight", element_type, [4, 4], [1] * 16)
    assert weight_formats(product(weight)).precision is precision


def test_weights_that_are_quantised_when_the_graph_is_loaded() -> None:
    weight = numpy_helper.from_array(np.ones((4, 4), np.float32))
    nodes = [
        helper.make_node("QuantizeLinear", ["weight", "scale"], ["integer"]),
        helper.make_node("DequantizeLinear", ["integer", "scale"], ["float"]),
    ]
    model = product(weight, *nodes, factor="float")
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.1), "scale"))
    assert weight_formats(model).precision is Precision.INT8


@pytest.mark.parametrize(("bits", "precision"), [(4, Precision.INT4), (8, Precision.INT8)])
def test_packed_weights_count_as_what_they_are_unpacked(bits: int, precision: Precision) -> None:
    packed = np.zeros((8, 1, 32 * bits // 8), np.uint8)
    node = helper.make_node(
        "MatMulNBits", ["data", "packed", "scales"], ["result"],
        domain="com.microsoft", bits=bits, block_size=32, K=32, N=8,
    )  # fmt: skip
    model = model_of([node], {"packed": packed, "scales": np.ones((8, 1), np.float32)}, (1, 32))
    formats = weight_formats(model)
    assert formats.precision is precision
    assert formats.elements == {precision.value: 8 * 32, "fp32": 8}


def test_the_majority_counts_and_the_shares_are_told() -> None:
    nodes = [
        helper.make_node("MatMul", ["data", "large"], ["middle"]),
        helper.make_node("MatMul", ["middle", "small"], ["result"]),
    ]
    weights = {"large": np.ones((4, 6), np.float16), "small": np.ones((6, 1), np.float32)}
    formats = weight_formats(model_of(nodes, weights))
    assert formats.precision is Precision.FP16
    assert formats.shares == {"fp16": 0.8, "fp32": 0.2}


def test_weights_within_branches_count() -> None:
    inner = numpy_helper.from_array(np.ones((4, 4), np.float16), "inner")
    constant = helper.make_node("Constant", [], ["weight"], value=inner)
    result = helper.make_tensor_value_info("out", TensorProto.FLOAT16, None)
    branch = helper.make_graph(
        [constant, helper.make_node("Identity", ["weight"], ["out"])], "b", [], [result]
    )
    node = helper.make_node("If", ["choice"], ["result"], then_branch=branch, else_branch=branch)
    model = model_of([node], {"choice": np.array(True)})
    assert weight_formats(model).precision is Precision.FP16


@pytest.mark.parametrize(
    ("element_type", "precision"),
    [(TensorProto.FLOAT, Precision.FP32), (TensorProto.FLOAT16, Precision.FP16)],
)
def test_a_graph_without_weights_has_the_format_of_its_outputs(
    element_type: int, precision: Precision
) -> None:
    model = model_of([helper.make_node("Relu", ["data"], ["result"])], {}, element_type=element_type)
    assert weight_formats(model).precision is precision
