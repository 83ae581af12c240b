"""Cost features of an ONNX graph, as ONNX Runtime will run it.

The command line and the suite builders call this; the operator never does, it reads the features from the
ModelSuite. So this, with `graph_kernels` and `onnx_graph` under it, is all of the operator package that imports onnx.

Counted is what runs, not what is written: nodes that no output needs and nodes that are folded into constants
are left out, and tensors that disappear in the fusions that ONNX Runtime always does (Conv with its activation,
the Quantize/Dequantize pairs of a QDQ graph) have no activation bytes. An operator that is fused into an integer
kernel is counted under the kernel's name (QLinearConv, QLinearMatMul, QGemm), and convolutions of a kind with
its own cost carry it as a suffix (`Conv.depthwise`, `Conv.pointwise`).
"""

from collections import Counter
from pathlib import Path

import onnx
from fleetfit_api.kernels import Kernel
from fleetfit_api.suite import GraphFeatures, OperatorCost
from google.protobuf.message import DecodeError
from onnx.inliner import inline_local_functions
from onnx.shape_inference import InferenceError, infer_shapes

from fleetfit_operator.predict.executed_graph import CompiledGraph, LaunchedGraph
from fleetfit_operator.predict.graph_kernels import (
    is_unknown,
    kernel_of,
    kernels_of,
    multiply_accumulates,
    operator_name,
)
from fleetfit_operator.predict.onnx_graph import RunGraph

_MOST_KERNELS = 512
_MOST_NAMED = 64


def graph_features(path: Path) -> GraphFeatures:
    """Return the cost features of the ONNX file at `path` for one inference; dimensions left open count as 1.

    Raises:
        ValueError: the file is not a readable ONNX graph; the message says what is wrong with it.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError) as error:
        raise ValueError(f"{path.name} cannot be read as an ONNX file: {error}") from error
    return model_features(model, path.name)


def model_features(model: onnx.ModelProto, name: str) -> GraphFeatures:
    """Return the cost features of a model in memory; `name` is what error messages call it.

    Raises:
        ValueError: the model has no graph that computes anything, or its shapes contradict each other.
    """
    if not model.graph.node or not model.graph.output:
        raise ValueError(f"{name} holds no ONNX graph with nodes and outputs")
    inlined = inline_local_functions(model) if model.functions else model
    fixed = onnx.ModelProto()
    fixed.CopyFrom(inlined)
    _close_dimensions(fixed.graph)
    try:
        inferred = infer_shapes(fixed, data_prop=True).graph
        graph = RunGraph(inferred)
    except InferenceError as error:
        raise ValueError(f"{name} has contradictory shapes: {error}") from error
    costs = _operator_costs(graph)
    launched = LaunchedGraph(inferred).kernels(kernel_of)
    kernels = kernels_of(graph, launched, CompiledGraph(inferred).kernels(kernel_of))
    traffic_bytes = sum(
        kernel.run * (kernel.read_bytes + kernel.weight_bytes + kernel.write_bytes) for kernel in kernels
    )
    return GraphFeatures(
        multiply_accumulates=sum(cost.multiply_accumulates for cost in costs),
        parameters=graph.parameters,
        weight_bytes=graph.weight_bytes,
        activation_bytes=graph.activation_bytes,
        operator_count=max(1, len(graph.nodes)),
        depth=max(1, graph.depth),
        width=graph.width,
        resolution_stages=graph.resolution_stages,
        memory_traffic_bytes=traffic_bytes,
        peak_activation_bytes=graph.peak_activation_bytes,
        operators=costs,
        # The costliest first, should a graph have more than the API holds.
        kernels=[str(kernel) for kernel in sorted(kernels, key=_weight, reverse=True)[:_MOST_KERNELS]],
        unknown_operators=_unknown_operators(graph),
    )


def _weight(kernel: Kernel) -> tuple[int, int, str]:
    count = max(kernel.run, kernel.launched or 0)
    work = count * kernel.multiply_accumulates
    return (work, count * (kernel.read_bytes + kernel.write_bytes), str(kernel))


def _unknown_operators(graph: RunGraph) -> list[str]:
    return sorted({operator_name(graph, node) for node in graph.nodes if is_unknown(graph, node)})[
        :_MOST_NAMED
    ]


def _close_dimensions(graph: onnx.GraphProto) -> None:
    """Set open dimensions of the inputs to 1 and forget the shapes behind them: inference finds them anew."""
    for value in graph.input:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_value <= 0:
                dimension.dim_value = 1
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")


def _operator_costs(graph: RunGraph) -> list[OperatorCost]:
    counts: Counter[str] = Counter()
    work: Counter[str] = Counter()
    for node in graph.nodes:
        name = operator_name(graph, node)
        counts[name] += 1
        work[name] += multiply_accumulates(graph, node)
    return [
        OperatorCost(name=name, count=counts[name], multiply_accumulates=work[name])
        for name in sorted(counts)
    ]
