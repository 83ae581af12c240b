"""What is counted as launched is what ONNX Runtime's own optimised graph holds."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime as ort
import pytest
from fleetfit_api.kernels import Kernel
from fleetfit_api.suite import Precision
from fleetfit_operator.predict.graph_features import model_features
from fleetfit_training.graph_builder import ConvShape, GraphBuilder, Value

Fill = Callable[[GraphBuilder], Value]
# What ONNX Runtime calls kernels that are counted under another name, and what only rearranges for its own sake.
_SAME = {"FusedConv": "Conv", "FusedGemm": "Gemm", "SkipLayerNormalization": "LayerNormalization"}
_OWN = {"ReorderInput", "ReorderOutput", "Transpose", "Reshape", "Cast"}


def optimised(model: onnx.ModelProto, directory: Path) -> Counter[str]:
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(directory / "optimised.onnx")
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(directory / "optimised.onnx").graph.node
    return Counter(_SAME.get(node.op_type, node.op_type) for node in nodes if node.op_type not in _OWN)


def launched(model: onnx.ModelProto) -> Counter[str]:
    counts: Counter[str] = Counter()
    for kernel in model_features(model, "graph").parsed_kernels:
        name = kernel.operator.partition(".")[0]
        integer = (
            kernel.precision == "int8"
            and not name.startswith("Q")
            and name not in _OWN | {"MaxPool", "Flatten"}
        )
        count = kernel.run if kernel.launched is None else kernel.launched
        counts[f"QLinear{name}" if integer else name] += count
    return Counter({name: count for name, count in counts.items() if count and name not in _OWN})


def residual(graph: GraphBuilder) -> Value:
    data = graph.conv(graph.input(1, 16, 16, 16), ConvShape(16))
    branch = graph.batch_norm(graph.conv(data, ConvShape(16), relu=False))
    return graph.unary("Relu", graph.add(branch, data))


def two_branches(graph: GraphBuilder) -> Value:
    data = graph.conv(graph.input(1, 16, 16, 16), ConvShape(16, kernel=1), relu=False)
    left = graph.conv(graph.unary("Relu", data), ConvShape(16), relu=False)
    right = graph.avg_pool(graph.unary("Relu", data))
    return graph.add(left, right)


def dead_branch(graph: GraphBuilder) -> Value:
    data = graph.conv(graph.input(1, 16, 16, 16), ConvShape(16))
    graph.conv(graph.avg_pool(data), ConvShape(32), relu=False)
    return graph.global_pool(data)


def projections(graph: GraphBuilder) -> Value:
    data = graph.input(1, 16, 32)
    return graph.layer_norm(graph.add(data, graph.project(graph.unary("Relu", graph.project(data, 64)), 32)))


def pooled(graph: GraphBuilder) -> Value:
    return graph.global_pool(graph.max_pool(graph.conv(graph.input(1, 16, 16, 16), ConvShape(16))))


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8])
@pytest.mark.parametrize("fill", [residual, two_branches, dead_branch, projections, pooled])
def test_launched_is_what_onnx_runtime_makes_of_a_graph(
    fill: Fill, precision: Precision, tmp_path: Path
) -> None:
    graph = GraphBuilder("graph", precision)
    model = graph.build(fill(graph))

    found, expected = launched(model), optimised(model, tmp_path)
    if precision is Precision.INT8:
        # Biases that stay floats are widened each time, of which nothing is counted: they are small.
        found["DequantizeLinear"] = expected["DequantizeLinear"] = 0
    if fill is projections and precision is Precision.FP32:
        # A product with a bias is a Gemm there.
        found["Gemm"] = found.pop("MatMul")

    assert +found == +expected


def test_a_compiler_drops_what_no_output_needs() -> None:
    graph = GraphBuilder("graph", Precision.FP32)
    kernels = model_features(graph.build(dead_branch(graph)), "graph").parsed_kernels

    dead = [kernel for kernel in kernels if kernel.launched]

    assert [kernel.operator for kernel in dead] == ["Conv", "AveragePool"]
    assert all(kernel.run == kernel.compiled == 0 for kernel in dead)


def test_a_kernel_that_runs_as_listed_needs_no_further_counts() -> None:
    graph = GraphBuilder("graph", Precision.FP32)
    features = model_features(graph.build(graph.dense(graph.input(1, 32), 64)), "graph")

    assert all(text.split()[0].count("/") == 1 for text in features.kernels)


def test_the_notation_keeps_further_counts() -> None:
    text = "5/7/6/4 Conv fp32 1024x576x64 g1 w9 s1 262144+147456>262144"

    kernel = Kernel.parse(text)

    assert (kernel.launched, kernel.compiled) == (6, 4)
    assert str(kernel) == text
    assert Kernel.parse(text.replace("5/7/6/4", "5/7")).launched is None
