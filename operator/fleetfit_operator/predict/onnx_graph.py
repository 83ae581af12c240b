"""The part of an ONNX graph that runs: live, not constant, not removed, with what ONNX Runtime fuses.

Counted is what runs, not what is written. Imports onnx, so the operator's image never imports it; see `graph_features`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Final

import onnx
from onnx import NodeProto, TensorProto
from onnx.numpy_helper import to_array

INTEGER_KERNELS: Final = {"Conv": "QLinearConv", "MatMul": "QLinearMatMul", "Gemm": "QGemm"}
# Operators that ONNX Runtime runs on integers where they stand between Dequantize- and QuantizeLinear.
_INTEGER_CAPABLE: Final = frozenset(
    {
        "Add", "Mul", "AveragePool", "GlobalAveragePool", "MaxPool", "Sigmoid", "LeakyRelu", "Softmax", "Concat",
        "Resize", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Gather", "Split", "Slice", "Relu", "Clip",
    }
)  # fmt: skip
_FUSED_INTO_PRODUCER = frozenset({"Relu", "Clip", "LeakyRelu", "HardSigmoid", "BatchNormalization"})
_FUSING_PRODUCERS = frozenset({"Conv", "ConvTranspose", "Gemm", "BatchNormalization"})
_REARRANGING = frozenset({"Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "MaxPool"})
_REMOVED = frozenset({"Identity", "Dropout"})
_FOLDED = frozenset({"Constant", "ConstantOfShape"})
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
class Tensor:
    """Shape and element type of a value of the graph."""

    shape: tuple[int, ...]
    element_type: int

    @property
    def elements(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes in memory."""
        return -(-self.elements * _BITS.get(self.element_type, 32) // 8)


class RunGraph:
    """The part of a graph that runs: live, not constant, not removed; with the tensors between.

    `nodes` are in topological order, which ONNX demands of a graph; `written` are all that the file holds besides
    constants, and `constants` the names of everything that is known before an inference.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._inputs = [value.name for value in graph.input]
        self._outputs = {value.name for value in graph.output}
        self.tensors = dict(_tensors(graph))
        live = self._kept(graph)
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self.constants = {tensor.name for tensor in graph.initializer} | {
            tensor.values.name for tensor in graph.sparse_initializer
        }
        self._stored = set(self.constants)
        self.nodes: list[NodeProto] = []
        for node in live:
            if all(name in self.constants for name in node.input if name) and not _has_subgraph(node):
                self.constants.update(node.output)
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
        self.written = [node for node in graph.node if node.op_type not in _FOLDED | _REMOVED]

    def _kept(self, graph: onnx.GraphProto) -> list[NodeProto]:
        """Return the nodes that are not removed for lack of a use."""
        return _live_nodes(graph)

    def tensor(self, name: str) -> Tensor | None:
        """Return what is known of the value of that name."""
        return self.tensors.get(name)

    def is_integer_product(self, node: NodeProto) -> bool:
        """Return whether ONNX Runtime fuses the node with its DequantizeLinear into an integer kernel."""
        if node.op_type not in INTEGER_KERNELS or len(node.input) < 2:
            return False
        sources = [self._source(name) for name in node.input[:2]]
        if any(source is None or source.op_type != "DequantizeLinear" for source in sources):
            return False
        # Gemm and MatMul have integer kernels with float output, Conv has none.
        return node.op_type != "Conv" or self._is_quantised_again(node.output[0])

    def is_integer(self, node: NodeProto) -> bool:
        """Return whether the node runs on integers: an integer product, or between Dequantize- and QuantizeLinear."""
        if node.op_type in INTEGER_KERNELS:
            return self.is_integer_product(node)
        if node.op_type not in _INTEGER_CAPABLE:
            return False
        data = [name for name in node.input if name and name not in self.constants]
        sources = [self._producers.get(name) for name in data]
        if not sources or any(source is None or source.op_type != "DequantizeLinear" for source in sources):
            return False
        return all(self._all_quantise(name) for name in node.output if name)

    def is_fused_away(self, node: NodeProto) -> bool:
        """Return whether ONNX Runtime makes the node a part of another kernel."""
        if node.op_type in _REMOVED:
            return True
        if node.op_type == "DequantizeLinear":
            consumers = self._consumers.get(node.output[0], [])
            return bool(consumers) and all(self.is_integer(consumer) for consumer in consumers)
        producer = self._producers.get(node.input[0]) if node.input else None
        if producer is None:
            return False
        if node.op_type == "QuantizeLinear":
            return self.is_integer(producer) or (
                self.is_fused_away(producer) and producer.op_type != "DequantizeLinear"
            )
        if node.op_type not in _FUSED_INTO_PRODUCER or len(self._consumers.get(node.input[0], [])) != 1:
            return False
        integer = self.is_integer_product(producer) and self._all_quantise(node.output[0])
        return node.input[0] not in self._outputs and (integer or producer.op_type in _FUSING_PRODUCERS)

    def computed_inputs(self, node: NodeProto) -> list[Tensor]:
        """Return the tensors that the node reads and others compute, as they lie in memory."""
        return [
            tensor
            for name in node.input
            if name not in self.constants and (tensor := self._stored_form(name))
        ]

    def constant_inputs(self, node: NodeProto) -> list[Tensor]:
        """Return the constants that the node reads, as they lie in memory."""
        return [
            tensor for name in node.input if name in self.constants and (tensor := self._stored_form(name))
        ]

    def _stored_form(self, name: str) -> Tensor | None:
        """Return the tensor; where it only widens an integer tensor, the integer tensor."""
        node = self._producers.get(name)
        if node is not None and node.op_type == "DequantizeLinear":
            return self.tensors.get(node.input[0]) or self.tensors.get(name)
        return self.tensors.get(name)

    def _all_quantise(self, name: str) -> bool:
        consumers = self._consumers.get(name, [])
        return bool(consumers) and all(consumer.op_type == "QuantizeLinear" for consumer in consumers)

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
    def peak_activation_bytes(self) -> int:
        """Bytes of computed tensors that are needed at the same time, at most, in the order of the file."""
        last_use = {name: position for position, node in enumerate(self.nodes) for name in node.input if name}
        ends: dict[int, list[str]] = {}
        for name, position in last_use.items():
            ends.setdefault(position, []).append(name)
        alive = {name: self.tensors[name].size_bytes for name in self._inputs if name in self.tensors}
        peak = total = sum(alive.values())
        for position, node in enumerate(self.nodes):
            for name in node.output:
                if name in self.tensors and not self._is_fused_away(name, node):
                    alive[name] = self.tensors[name].size_bytes
                    total += alive[name]
            peak = max(peak, total)
            for name in ends.get(position, []):
                if name not in self._outputs:
                    total -= alive.pop(name, 0)
        return peak

    @cached_property
    def width(self) -> int:
        """Largest number of channels of a computed tensor: the second dimension of images, the last of others."""
        shapes = (tensor.shape for tensor in self._computed())
        return max((shape[1 if len(shape) > 3 else -1] for shape in shapes if shape), default=0)

    @cached_property
    def resolution_stages(self) -> int:
        """Number of different spatial sizes of computed images."""
        return len({tensor.shape[2:] for tensor in self._computed() if len(tensor.shape) > 3})

    def _computed(self) -> Iterator[Tensor]:
        names = (name for node in self.nodes for name in node.output)
        return (self.tensors[name] for name in names if name in self.tensors)

    @cached_property
    def depth(self) -> int:
        """Nodes on the longest path."""
        depths: dict[str, int] = {}
        for node in self.nodes:
            depth = 1 + max((depths.get(name, 0) for name in node.input), default=0)
            depths.update(dict.fromkeys(node.output, depth))
        return max(depths.values(), default=0)


def _tensors(graph: onnx.GraphProto) -> Iterator[tuple[str, Tensor]]:
    for value in [*graph.input, *graph.value_info, *graph.output]:
        kind = value.type.tensor_type
        if kind.HasField("shape"):
            yield value.name, Tensor(tuple(max(1, d.dim_value) for d in kind.shape.dim), kind.elem_type)
    for tensor in [*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)]:
        yield tensor.name, Tensor(tuple(tensor.dims), tensor.data_type)


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
