"""What is counted of a graph is what ONNX Runtime will run."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from fleetfit_api.suite import GraphFeatures, Precision
from fleetfit_operator.predict.graph_features import graph_features
from fleetfit_training.graph_builder import ConvShape, GraphBuilder
from onnx import TensorProto, helper, numpy_helper


def operators(features: GraphFeatures) -> dict[str, tuple[int, int]]:
    return {cost.name: (cost.count, cost.multiply_accumulates) for cost in features.operators}


def saved(model: onnx.ModelProto, directory: Path) -> Path:
    path = directory / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def plain_model(batch: int | str = 1) -> onnx.ModelProto:
    """Conv 3 -> 4 on 8x8 with real initializers, Relu, and a branch that no output needs."""
    weight = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "weight")
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["features"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["features"], ["activated"]),
        helper.make_node("Sigmoid", ["features"], ["dead"]),
        helper.make_node("GlobalMaxPool", ["activated"], ["result"]),
    ]
    graph = helper.make_graph(
        nodes,
        "plain",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, [batch, 4, 1, 1])],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_a_plain_convolution(tmp_path: Path) -> None:
    features = graph_features(saved(plain_model(), tmp_path))

    macs = 4 * 8 * 8 * 3 * 3 * 3
    assert features.multiply_accumulates == macs
    assert operators(features) == {"Conv": (1, macs), "GlobalMaxPool": (1, 0), "Relu": (1, 0)}
    assert features.parameters == 4 * 3 * 3 * 3
    assert features.weight_bytes == 4 * features.parameters
    assert features.depth == 3


def test_fused_and_dead_tensors_take_no_room(tmp_path: Path) -> None:
    features = graph_features(saved(plain_model(), tmp_path))

    assert features.activation_bytes == 4 * (4 * 8 * 8 + 4)


def test_an_open_batch_counts_as_one(tmp_path: Path) -> None:
    assert graph_features(saved(plain_model("N"), tmp_path)) == graph_features(saved(plain_model(), tmp_path))


@pytest.mark.parametrize(
    ("conv", "name", "macs"),
    [
        (ConvShape(16), "Conv", 16 * 16 * 16 * 16 * 9),
        (ConvShape(16, groups=0), "Conv.depthwise", 16 * 16 * 16 * 9),
        (ConvShape(32, kernel=1), "Conv.pointwise", 32 * 16 * 16 * 16),
        (ConvShape(16, stride=2), "Conv", 16 * 8 * 8 * 16 * 9),
        (ConvShape(16, groups=4), "Conv", 16 * 16 * 16 * 4 * 9),
    ],
)
def test_convolutions_of_every_kind(conv: ConvShape, name: str, macs: int, tmp_path: Path) -> None:
    graph = GraphBuilder("conv", Precision.FP32)
    model = graph.build(graph.conv(graph.input(1, 16, 16, 16), conv))

    assert operators(graph_features(saved(model, tmp_path)))[name] == (1, macs)


def test_a_qdq_graph_counts_as_the_integer_kernels_it_becomes(tmp_path: Path) -> None:
    graph = GraphBuilder("qdq", Precision.INT8)
    data = graph.conv(graph.input(1, 8, 8, 8), ConvShape(8))
    model = graph.build(graph.dense(graph.flatten(data), 10))

    features = graph_features(saved(model, tmp_path))

    costs = operators(features)
    assert costs["QLinearConv"] == (1, 8 * 8 * 8 * 8 * 9)
    assert costs["QGemm"] == (1, 8 * 8 * 8 * 10)
    assert "Conv" not in costs
    assert "Gemm" not in costs
    # Weights are one byte each, biases four, and tensors between operators one.
    assert 8 * 8 * 9 + 512 * 10 < features.weight_bytes < 8 * 8 * 9 + 512 * 10 + 4 * 18 + 200
    assert features.activation_bytes < 4 * 8 * 8 * 8


def test_a_relu_that_cannot_vanish_keeps_the_convolution_in_float(tmp_path: Path) -> None:
    graph = GraphBuilder("qdq", Precision.INT8)
    model = graph.build(graph.conv(graph.input(1, 8, 8, 8), ConvShape(8)))
    for tensor in model.graph.initializer:
        if tensor.name == "zero0":
            tensor.CopyFrom(helper.make_tensor("zero0", TensorProto.UINT8, [], [128]))

    assert "Conv" in operators(graph_features(saved(model, tmp_path)))


def test_quantised_weights_alone_leave_the_work_in_float(tmp_path: Path) -> None:
    initializers = [
        numpy_helper.from_array(np.ones((16, 16), np.int8), "weight"),
        numpy_helper.from_array(np.float32(0.1), "scale"),
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["weight", "scale"], ["wide"]),
        helper.make_node("MatMul", ["data", "wide"], ["result"]),
    ]
    graph = helper.make_graph(
        nodes,
        "weights",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 16])],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, [1, 16])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)

    features = graph_features(saved(model, tmp_path))

    assert operators(features) == {"MatMul": (1, 256)}
    assert features.weight_bytes == 256 + 4
    assert features.parameters == 256


def test_weights_made_by_the_graph_count_like_stored_ones(tmp_path: Path) -> None:
    graph = GraphBuilder("folded", Precision.FP32)
    features = graph_features(saved(graph.build(graph.dense(graph.input(1, 32), 64, relu=False)), tmp_path))

    assert features.parameters == 32 * 64 + 64
    assert operators(features) == {"Gemm": (1, 32 * 64)}


def test_an_operator_of_an_unknown_domain_is_counted(tmp_path: Path) -> None:
    model = plain_model()
    model.graph.node[1].op_type = "Strange"
    model.graph.node[1].domain = "vendor"
    model.opset_import.append(helper.make_opsetid("vendor", 1))

    assert operators(graph_features(saved(model, tmp_path)))["vendor.Strange"] == (1, 0)


def test_what_is_no_onnx_file_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"\xff\xfenot a model")

    with pytest.raises(ValueError, match=r"broken\.onnx"):
        graph_features(path)
