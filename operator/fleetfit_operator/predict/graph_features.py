"""Cost features of an ONNX graph, as ONNX Runtime will run it.

The command line and the suite builders call this; the operator never does, it reads the features from the
ModelSuite. So this is the only module of the operator package that imports onnx, and no other imports it.

Counted is what runs, not what is written: nodes that no output needs and nodes that are folded into constants
are left out, and tensors that disappear in the fusions that ONNX Runtime always does (Conv with its activation,
the Quantize/Dequantize pairs of a QDQ graph) have no activation bytes. An operator that is fused into an integer
kernel is counted under the kernel's name (QLinearConv, QLinearMatMul, QGemm), and convolutions of a kind with
its own cost carry it as a suffix (`Conv.depthwise`, `Conv.pointwise`).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import onnx
from fleetfit_api.suite import GraphFeatures, OperatorCost
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it ships no types
from onnx import NodeProto, TensorProto
from onnx.inliner import inline_local_functions
from onnx.numpy_helper import to_array
from onnx.shape_inference import InferenceError, infer_shapes

_CONVOLUTIONS = frozenset({"Conv", "FusedConv", "QLinearConv", "ConvInteger"})
_MATRIX_PRODUCTS = frozenset(
    {"Gemm", "MatMul", "MatMulInteger", "QLinearMatMul", "FusedGemm", "FusedMatMul", "QGemm"}
)
_INTEGER_KERNELS = {"Conv": "QLinearConv", "MatMul": "QLinearMatMul", "Gemm": "QGemm"}
_FUSED_INTO_PRODUCER = frozenset({"Relu", "Clip", "LeakyRelu", "HardSigmoid", "BatchNormalization"})
_FUSING_PRODUCERS = frozenset({"Conv", "ConvTranspose", "Gemm", "BatchNormalization"})
_REARRANGING = frozenset({"Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "MaxPool"})
_REMOVED = frozenset({"Identity", "Dropout"})
_BITS: dict[int, int] = {
    TensorProto.FLOAT: 32, TensorProto.FLOAT16: 16, TensorProto.BFLOAT16: 16, TensorProto.DOUBLE: 64,
    TensorProto.INT4: 4, TensorProto.UINT4: 4, TensorProto.INT8: 8, TensorProto.UINT8: 8, TensorProto.BOOL: 8,
    TensorProto.INT16: 16, TensorProto.UINT16: 16, TensorProto.INT32: 32, TensorProto.UINT32: 32,
    TensorProto.INT64: 64, TensorProto.UINT64: 64,
}  # fmt: skip
_QUANTISATION_INPUTS = {
    "QuantizeLinear": (1, 2), "DequantizeLinear": (1, 2),
    "QLinearConv": (1, 2, 4, 5, 6, 7), "QLinearMatMul": (1, 2, 4, 5, 6, 7),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Tensor:
    """Shape and element type of a value of the graph."""

    shape: tuple[int, ...]
    element_type: int

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def size_bytes(self) -> int:
        return -(-self.elements * _BITS.get(self.element_type, 32) // 8)


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
        graph = _RunGraph(infer_shapes(fixed, data_prop=True).graph)
    except InferenceError as error:
        raise ValueError(f"{name} has contradictory shapes: {error}") from error
    costs = _operator_costs(graph)
    return GraphFeatures(
        multiply_accumulates=sum(cost.multiply_accumulates for cost in costs),
        parameters=graph.parameters,
        weight_bytes=graph.weight_bytes,
        activation_bytes=graph.activation_bytes,
        operator_count=max(1, len(graph.nodes)),
        depth=max(1, graph.depth),
        operators=costs,
    )


def _close_dimensions(graph: onnx.GraphProto) -> None:
    """Set open dimensions of the inputs to 1 and forget the shapes behind them: inference finds them anew."""
    for value in graph.input:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_value <= 0:
                dimension.dim_value = 1
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")


class _RunGraph:
    """The part of a graph that runs: live, not constant, not removed; with the tensors between.

    `nodes` are in topological order, which ONNX demands of a graph.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._outputs = {value.name for value in graph.output}
        self.tensors = dict(_tensors(graph))
        live = _live_nodes(graph)
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._constants = {tensor.name for tensor in graph.initializer} | {
            tensor.values.name for tensor in graph.sparse_initializer
        }
        self._stored = set(self._constants)
        self.nodes: list[NodeProto] = []
        for node in live:
            if all(name in self._constants for name in node.input if name) and not _has_subgraph(node):
                self._constants.update(node.output)
                # A folded node stores nothing new, but these two make a weight out of nothing.
                if node.op_type in {"Constant", "ConstantOfShape"}:
                    self._stored.update(node.output)
            else:
                self.nodes.append(node)
        self._live = live
        self._producers = {name: node for node in live for name in node.output if name}
        self._consumers: dict[str, list[NodeProto]] = {}
        for node in live:
            for name in node.input:
                self._consumers.setdefault(name, []).append(node)
        self.nodes = [node for node in self.nodes if node.op_type not in _REMOVED]

    def tensor(self, name: str) -> _Tensor | None:
        """Return what is known of the value of that name."""
        return self.tensors.get(name)

    def is_integer(self, node: NodeProto) -> bool:
        """Return whether ONNX Runtime fuses the node with its DequantizeLinear into an integer kernel."""
        if node.op_type not in _INTEGER_KERNELS or len(node.input) < 2:
            return False
        sources = [self._source(name) for name in node.input[:2]]
        if any(source is None or source.op_type != "DequantizeLinear" for source in sources):
            return False
        # Gemm and MatMul have integer kernels with float output, Conv has none.
        return node.op_type != "Conv" or self._is_quantised_again(node.output[0])

    def _source(self, name: str) -> NodeProto | None:
        """Return the node that makes the value, beyond those that only rearrange it."""
        node = self._producers.get(name)
        while node is not None and node.op_type in _REARRANGING:
            node = self._producers.get(node.input[0])
        return node

    def _is_quantised_again(self, name: str) -> bool:
        consumers = self._consumers.get(name, [])
        if len(consumers) != 1:
            return False
        if consumers[0].op_type == "Relu":
            # A Relu vanishes only where the smallest number stands for zero; else it keeps the Conv a float one.
            quantise = self._only_consumer(consumers[0].output[0])
            return quantise is not None and self._zero_point(quantise) in {0, -128, None}
        return consumers[0].op_type == "QuantizeLinear"

    def _only_consumer(self, name: str) -> NodeProto | None:
        consumers = self._consumers.get(name, [])
        return consumers[0] if len(consumers) == 1 and consumers[0].op_type == "QuantizeLinear" else None

    def _zero_point(self, quantise: NodeProto) -> int | None:
        tensor = self._initializers.get(quantise.input[2]) if len(quantise.input) > 2 else None
        return None if tensor is None else int(to_array(tensor).flat[0])

    def _is_fused_away(self, name: str, producer: NodeProto) -> bool:
        consumers = self._consumers.get(name, [])
        if name in self._outputs or not consumers:
            return False
        if producer.op_type == "DequantizeLinear" or all(c.op_type == "QuantizeLinear" for c in consumers):
            return True
        alone = len(consumers) == 1 and consumers[0].op_type in _FUSED_INTO_PRODUCER
        return alone and producer.op_type in _FUSING_PRODUCERS

    @cached_property
    def activation_bytes(self) -> int:
        """Bytes of all tensors that nodes write."""
        written = ((name, node) for node in self.nodes for name in node.output if name)
        tensors = (self.tensors.get(name) for name, node in written if not self._is_fused_away(name, node))
        return sum(tensor.size_bytes for tensor in tensors if tensor is not None)

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of all constants that live nodes read."""
        used = {name for node in self._live for name in node.input} & self._stored
        return sum(self.tensors[name].size_bytes for name in used if name in self.tensors)

    @cached_property
    def parameters(self) -> int:
        """Elements of all constants except scales, zero points and the whole numbers that describe shapes."""
        used = {
            name
            for node in self._live
            for position, name in enumerate(node.input)
            if position not in _QUANTISATION_INPUTS.get(node.op_type, ())
        } & self._stored
        tensors = (self.tensors[name] for name in used if name in self.tensors)
        return sum(tensor.elements for tensor in tensors if tensor.element_type != TensorProto.INT64)

    @cached_property
    def depth(self) -> int:
        """Nodes on the longest path."""
        depths: dict[str, int] = {}
        for node in self.nodes:
            depth = 1 + max((depths.get(name, 0) for name in node.input), default=0)
            depths.update(dict.fromkeys(node.output, depth))
        return max(depths.values(), default=0)


def _tensors(graph: onnx.GraphProto) -> Iterator[tuple[str, _Tensor]]:
    for value in [*graph.input, *graph.value_info, *graph.output]:
        kind = value.type.tensor_type
        if kind.HasField("shape"):
            yield value.name, _Tensor(tuple(max(1, d.dim_value) for d in kind.shape.dim), kind.elem_type)
    for tensor in [*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)]:
        yield tensor.name, _Tensor(tuple(tensor.dims), tensor.data_type)


def _live_nodes(graph: onnx.GraphProto) -> list[NodeProto]:
    needed = {value.name for value in graph.output}
    live = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            live.append(node)
            needed.update(node.input)
            needed.update(_outer_names(node))
    return live[::-1]


def _outer_names(node: NodeProto) -> Iterator[str]:
    """Yield the names that subgraphs of the node (If, Loop, Scan) may take from the graph around them."""
    for attribute in node.attribute:
        for subgraph in [attribute.g, *attribute.graphs]:
            for inner in subgraph.node:
                yield from inner.input
                yield from _outer_names(inner)
            yield from (value.name for value in subgraph.output)


def _has_subgraph(node: NodeProto) -> bool:
    return any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)


def _operator_costs(graph: _RunGraph) -> list[OperatorCost]:
    counts: Counter[str] = Counter()
    work: Counter[str] = Counter()
    for node in graph.nodes:
        name = _cost_name(graph, node)
        counts[name] += 1
        work[name] += _multiply_accumulates(graph, node)
    return [
        OperatorCost(name=name, count=counts[name], multiply_accumulates=work[name])
        for name in sorted(counts)
    ]


def _cost_name(graph: _RunGraph, node: NodeProto) -> str:
    name = _INTEGER_KERNELS[node.op_type] if graph.is_integer(node) else node.op_type
    if node.domain not in {"", "ai.onnx", "com.microsoft"}:
        return f"{node.domain}.{name}"[:128]
    weight = graph.tensor(node.input[_weight_position(node)]) if node.op_type in _CONVOLUTIONS else None
    if weight is None or len(weight.shape) < 3:
        return name
    if _attribute(node, "group", 1) > 1 and weight.shape[1] == 1:
        return f"{name}.depthwise"
    return f"{name}.pointwise" if prod(weight.shape[2:]) == 1 else name


def _weight_position(node: NodeProto) -> int:
    return 3 if node.op_type in {"QLinearConv", "QLinearMatMul"} else 1


def _attribute(node: NodeProto, name: str, default: int) -> int:
    found: Any = next((attribute.i for attribute in node.attribute if attribute.name == name), default)
    return int(found)


def _multiply_accumulates(graph: _RunGraph, node: NodeProto) -> int:
    """Return the multiply-accumulates of a node; 0 for operators without and where shapes are unknown."""
    if node.op_type in _CONVOLUTIONS:
        weight, output = graph.tensor(node.input[_weight_position(node)]), graph.tensor(node.output[0])
        return output.elements * prod(weight.shape[1:]) if weight and output else 0
    if node.op_type == "ConvTranspose":
        weight, data = graph.tensor(node.input[1]), graph.tensor(node.input[0])
        return data.elements * prod(weight.shape[1:]) if weight and data else 0
    if node.op_type in {
        "Gemm",
        "MatMul",
        "MatMulInteger",
        "QLinearMatMul",
        "FusedGemm",
        "FusedMatMul",
        "QGemm",
    }:
        data, output = graph.tensor(node.input[0]), graph.tensor(node.output[0])
        if not (data and data.shape and output):
            return 0
        transposed = _attribute(node, "transA", 0) == 1 and len(data.shape) > 1
        return output.elements * data.shape[-2 if transposed else -1]
    return 0
