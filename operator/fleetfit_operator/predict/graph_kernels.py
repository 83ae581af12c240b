"""The kernels of an ONNX graph: what each node does, at which size, and how often it runs and is written.

Imports onnx, so the operator's image never imports it; see `graph_features`.
"""

import re
from collections import Counter
from math import prod
from typing import Any, Final, NamedTuple

import onnx
from fleetfit_api.kernels import Kernel
from onnx import NodeProto, TensorProto

from fleetfit_operator.predict.onnx_graph import INTEGER_KERNELS, RunGraph

_CONVOLUTIONS: Final = frozenset({"Conv", "FusedConv", "QLinearConv", "ConvInteger"})
_MATRIX_PRODUCTS: Final = frozenset(
    {
        "Gemm",
        "MatMul",
        "MatMulInteger",
        "QLinearMatMul",
        "FusedGemm",
        "FusedMatMul",
        "QGemm",
        "DynamicQuantizeMatMul",
    }
)
_RECURRENT_GATES: Final = {"LSTM": 4, "GRU": 3, "RNN": 1}
_KNOWN_DOMAINS: Final = frozenset({"", "ai.onnx"})
_CONTRIBUTED: Final = frozenset(
    {
        "FusedConv", "FusedGemm", "FusedMatMul", "QGemm", "QLinearAdd", "QLinearMul", "QLinearAveragePool",
        "QLinearGlobalAveragePool", "QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", "QLinearConcat",
        "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QuantizeLinear", "DequantizeLinear", "Gelu", "BiasGelu",
        "FastGelu", "SkipLayerNormalization", "EmbedLayerNormalization", "LayerNormalization", "BiasSplitGelu",
    }
)  # fmt: skip
_TYPE_NAMES: Final[dict[int, str]] = {
    TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16", TensorProto.DOUBLE: "fp64",
    TensorProto.INT8: "int8", TensorProto.UINT8: "int8", TensorProto.INT4: "int4", TensorProto.UINT4: "int4",
    TensorProto.INT64: "int64", TensorProto.INT32: "int32", TensorProto.BOOL: "bool",
}  # fmt: skip


# What the notation of kernels has no room for.
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_.]")


class _Shape(NamedTuple):
    rows: int = 0
    depth: int = 0
    columns: int = 0
    groups: int = 1
    window: int = 1
    stride: int = 1


def kernels_of(graph: RunGraph, launched: Counter[Kernel], compiled: Counter[Kernel]) -> list[Kernel]:
    """Return the distinct kernels in a fixed order, with what is `launched` and `compiled` in ONNX Runtime."""
    run: Counter[Kernel] = Counter()
    written: Counter[Kernel] = Counter()
    running = {node.output[0] for node in graph.nodes}
    for node in graph.written:
        if node.op_type == "DequantizeLinear" and not graph.computed_inputs(node):
            continue  # a weight in its stored form
        kernel = kernel_of(graph, node)
        written[kernel] += 1
        if node.output[0] in running and not graph.is_fused_away(node):
            run[kernel] += 1
    kernels = sorted(run.keys() | written.keys() | launched.keys() | compiled.keys(), key=lambda k: k[:-2])
    return [
        _counted(kernel, run[kernel], written[kernel], (launched[kernel], compiled[kernel]))
        for kernel in kernels
    ]


def _counted(kernel: Kernel, run: int, written: int, executed: tuple[int, int]) -> Kernel:
    counted = kernel._replace(run=run, written=written)
    if executed == (run, run):
        return counted
    return counted._replace(launched=executed[0], compiled=executed[1])


def kernel_of(graph: RunGraph, node: NodeProto) -> Kernel:
    """Return what a node does; its counts are 0."""
    shape = _shape(graph, node)
    outputs = [tensor for name in node.output if (tensor := graph.tensor(name))]
    integer = graph.is_integer(node)
    element_type = outputs[0].element_type if outputs else TensorProto.UNDEFINED
    elements = sum(tensor.elements for tensor in outputs)
    return Kernel(
        run=0,
        written=0,
        operator=_NO_NAME.sub("_", operator_name(graph, node)),
        precision="int8" if integer else _TYPE_NAMES.get(element_type, "other"),
        rows=shape.rows or elements,
        depth=shape.depth,
        columns=shape.columns,
        groups=shape.groups,
        window=shape.window,
        stride=shape.stride,
        read_bytes=sum(tensor.size_bytes for tensor in graph.computed_inputs(node)),
        weight_bytes=sum(tensor.size_bytes for tensor in graph.constant_inputs(node)),
        write_bytes=elements if integer else sum(tensor.size_bytes for tensor in outputs),
    )


def operator_name(graph: RunGraph, node: NodeProto) -> str:
    """Return the operator that runs, with the suffix of convolutions of a kind with its own cost."""
    name = INTEGER_KERNELS[node.op_type] if graph.is_integer_product(node) else node.op_type
    if node.domain not in {"", "ai.onnx", "com.microsoft"}:
        return f"{node.domain}.{name}"[:128]
    weight = graph.tensor(node.input[_weight_position(node)]) if node.op_type in _CONVOLUTIONS else None
    if weight is None or len(weight.shape) < 3:
        return name
    if _integer_attribute(node, "group", 1) > 1 and weight.shape[1] == 1:
        return f"{name}.depthwise"
    return f"{name}.pointwise" if prod(weight.shape[2:]) == 1 else name


def is_unknown(graph: RunGraph, node: NodeProto) -> bool:
    """Return whether nothing is known of what the node costs: a foreign operator, or shapes that nobody can tell."""
    if node.domain == "com.microsoft":
        known = node.op_type in _CONTRIBUTED
    else:
        known = node.domain in _KNOWN_DOMAINS and onnx.defs.has(node.op_type)
    return not known or all(graph.tensor(name) is None for name in node.output if name)


def multiply_accumulates(graph: RunGraph, node: NodeProto) -> int:
    """Return the multiply-accumulates of a node; 0 for operators without and where shapes are unknown."""
    shape = _shape(graph, node)
    return shape.rows * shape.depth * shape.columns


def _shape(graph: RunGraph, node: NodeProto) -> _Shape:
    if node.op_type in _CONVOLUTIONS:
        return _convolution(graph, node)
    if node.op_type == "ConvTranspose":
        return _transposed_convolution(graph, node)
    if node.op_type in _MATRIX_PRODUCTS:
        return _product(graph, node)
    if node.op_type in _RECURRENT_GATES:
        return _recurrent(graph, node)
    window = prod(_integers(node, "kernel_shape")) if node.op_type.endswith("Pool") else 1
    return _Shape(window=max(1, window), stride=max([1, *_integers(node, "strides")]))


def _convolution(graph: RunGraph, node: NodeProto) -> _Shape:
    weight, output = graph.tensor(node.input[_weight_position(node)]), graph.tensor(node.output[0])
    if not weight or not output or len(weight.shape) < 3 or len(output.shape) < 2:
        return _Shape()
    return _Shape(
        rows=output.elements // max(1, output.shape[1]),
        depth=prod(weight.shape[1:]),
        columns=weight.shape[0],
        groups=_integer_attribute(node, "group", 1),
        window=prod(weight.shape[2:]),
        stride=max([1, *_integers(node, "strides")]),
    )


def _transposed_convolution(graph: RunGraph, node: NodeProto) -> _Shape:
    weight, data = graph.tensor(node.input[1]), graph.tensor(node.input[0])
    if not weight or not data or len(weight.shape) < 3 or len(data.shape) < 2:
        return _Shape()
    groups = _integer_attribute(node, "group", 1)
    positions = data.elements // max(1, data.shape[1])
    columns = prod(weight.shape[1:])
    window = prod(weight.shape[2:])
    return _Shape(
        positions, weight.shape[0], columns, groups, window, stride=max([1, *_integers(node, "strides")])
    )


def _product(graph: RunGraph, node: NodeProto) -> _Shape:
    data, output = graph.tensor(node.input[0]), graph.tensor(node.output[0])
    if not (data and data.shape and output and output.shape):
        return _Shape()
    transposed = _integer_attribute(node, "transA", 0) == 1 and len(data.shape) > 1
    columns = output.shape[-1]
    # Two computed operands: one product for each leading position (the heads of an attention).
    batched = len(graph.computed_inputs(node)) > 1 and len(output.shape) > 2
    return _Shape(
        rows=output.elements // max(1, columns),
        depth=data.shape[-2 if transposed else -1],
        columns=columns,
        groups=prod(output.shape[:-2]) if batched else 1,
    )


def _recurrent(graph: RunGraph, node: NodeProto) -> _Shape:
    data, weight, recurrence = (graph.tensor(name) for name in node.input[:3])
    if not (data and weight and recurrence) or len(data.shape) != 3 or len(weight.shape) != 3:
        return _Shape()
    # X is [steps, batch, inputs], W [directions, gates * hidden, inputs], R [directions, gates * hidden, hidden].
    return _Shape(
        rows=data.shape[0] * data.shape[1],
        depth=weight.shape[2] + recurrence.shape[2],
        columns=weight.shape[0] * weight.shape[1],
    )


def _weight_position(node: NodeProto) -> int:
    return 3 if node.op_type in {"QLinearConv", "QLinearMatMul"} else 1


def _integer_attribute(node: NodeProto, name: str, default: int) -> int:
    found: Any = next((attribute.i for attribute in node.attribute if attribute.name == name), default)
    return int(found)


def _integers(node: NodeProto, name: str) -> list[int]:
    return next((list(attribute.ints) for attribute in node.attribute if attribute.name == name), [])
