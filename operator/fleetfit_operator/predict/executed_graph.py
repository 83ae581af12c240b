"""What is left of a graph where it runs: ONNX Runtime merges equal nodes, adds sums to convolutions, runs dead ones.

`RunGraph` tells what a graph has to do, on any device. Here is what ONNX Runtime makes of it, in two forms: what its
CPU provider launches, and what a compiler of whole graphs (OpenVINO) keeps. The rules follow ONNX Runtime's optimised
graphs, against which the tests compare. Imports onnx, so the operator's image never imports it; see `graph_features`.
"""

from collections import Counter
from collections.abc import Callable
from typing import ClassVar, Final

import onnx
from fleetfit_api.kernels import Kernel
from onnx import NodeProto, TensorProto

from fleetfit_operator.predict.onnx_graph import RunGraph

_EIGHT_BITS: Final = frozenset({TensorProto.UINT8, TensorProto.INT8})
_FLOAT_ACTIVATIONS: Final = frozenset({"Relu", "Clip"})
_FUSED_WITH_SUM: Final = frozenset({"Relu", "Clip", "Sigmoid", "LeakyRelu"})
_NEED_ONE_SCALE: Final = frozenset({"Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "MaxPool"})
_IMAGE_DIMENSIONS: Final = 4

KernelOf = Callable[[RunGraph, NodeProto], Kernel]


class CompiledGraph(RunGraph):
    """What a compiler of whole graphs keeps: equal nodes once, sums as a part of the convolutions before them."""

    own_dequantisers: ClassVar[bool] = False
    """Whether every reader of a quantised tensor gets a DequantizeLinear of its own; behind it no nodes are equal."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        super().__init__(_merged(graph, behind_dequantisers=not self.own_dequantisers))

    def kernels(self, kernel_of: KernelOf) -> Counter[Kernel]:
        """Return how often each kernel runs; `kernel_of` tells what a node does."""
        absorbed = self._absorbed()
        counts: Counter[Kernel] = Counter()
        for node in self.nodes:
            if not (node.output[0] in absorbed or self.is_fused_away(node)):
                counts[kernel_of(self, node)] += self._launches(node)
        return counts

    def _launches(self, node: NodeProto) -> int:
        """Return how often a node that is there once is launched."""
        if not self.own_dequantisers or node.op_type != "DequantizeLinear":
            return 1
        readers = self._consumers.get(node.output[0], [])
        return max(1, sum(not self.is_integer(reader) for reader in readers))

    def _absorbed(self) -> set[str]:
        """Return the outputs of the nodes that become a part of the node before or behind them."""
        absorbed: set[str] = set()
        taken: set[str] = set()
        sums: set[str] = set()
        for node in self.nodes:
            if self.is_integer(node) or not node.input:
                continue
            output = node.output[0]
            if node.op_type in _FUSED_WITH_SUM and node.input[0] in sums and self._is_alone(node.input[0]):
                absorbed.add(output)
            elif node.op_type == "Add":
                convolution = self._adding_convolution(node, taken)
                if convolution:
                    taken.add(convolution)
                    sums.add(output)
                if convolution or self._is_bias_of_product(node) or self._is_only_normalised(output):
                    absorbed.add(output)
        return absorbed

    def _adding_convolution(self, node: NodeProto, taken: set[str]) -> str | None:
        """Return the output of the convolution that adds the other summand itself; each adds one."""
        tensors = [self.tensor(name) for name in (*node.input, node.output[0])]
        shapes = {tensor.shape for tensor in tensors if tensor is not None}
        if None in tensors or len(shapes) != 1 or len(shapes.pop()) != _IMAGE_DIMENSIONS:
            return None
        found = (self._convolution(name) for name in node.input)
        return next((output for output in found if output and output not in taken), None)

    def _convolution(self, name: str) -> str | None:
        """Return the output of the float convolution, normalised or not, that alone makes the value for one reader."""
        node = self._producers.get(name)
        if node is not None and node.op_type == "BatchNormalization" and self._is_alone(name):
            name = node.input[0]
            node = self._producers.get(name)
        if node is None or node.op_type != "Conv" or self.is_integer(node) or not self._is_alone(name):
            return None
        return name

    def _is_bias_of_product(self, node: NodeProto) -> bool:
        """Return whether the node adds a constant vector to a float product with constant weights: a Gemm."""
        summands = [name for name in node.input if name not in self.constants]
        biases = [tensor for name in node.input if name in self.constants and (tensor := self.tensor(name))]
        product = self._producers.get(summands[0]) if len(summands) == 1 else None
        if product is None or product.op_type != "MatMul" or [len(bias.shape) for bias in biases] != [1]:
            return False
        integer = self.is_integer(product)
        return product.input[1] in self.constants and not integer and self._is_alone(summands[0])

    def _is_only_normalised(self, name: str) -> bool:
        """Return whether a sum goes into a LayerNormalization and nowhere else: a SkipLayerNormalization."""
        return self._is_alone(name) and self._consumers[name][0].op_type == "LayerNormalization"

    def _is_alone(self, name: str) -> bool:
        return len(self._consumers.get(name, [])) == 1 and name not in self._outputs


class LaunchedGraph(CompiledGraph):
    """What ONNX Runtime's CPU provider launches: dead nodes too, and integer kernels only where it has them."""

    own_dequantisers = True

    def is_integer(self, node: NodeProto) -> bool:
        """Return whether the provider has an integer kernel for the node where it stands."""
        if node.op_type in _FLOAT_ACTIVATIONS or not super().is_integer(node):
            return False
        if node.op_type in _NEED_ONE_SCALE:
            return self._keeps_scale(node)
        return node.op_type not in {"Add", "Mul"} or all(self._is_eight_bits(name) for name in node.input)

    def _kept(self, graph: onnx.GraphProto) -> list[NodeProto]:
        return list(graph.node)

    def _keeps_scale(self, node: NodeProto) -> bool:
        """Return whether scale and zero point behind the node are those before it, so that both can go."""
        before = self._producers.get(node.input[0])
        behind = self._consumers.get(node.output[0], [])
        return before is not None and all(list(each.input[1:]) == list(before.input[1:]) for each in behind)

    def _is_eight_bits(self, name: str) -> bool:
        source = self._producers.get(name)
        stored = self.tensor(source.input[0]) if source is not None and source.input else None
        return stored is not None and stored.element_type in _EIGHT_BITS


def _merged(graph: onnx.GraphProto, *, behind_dequantisers: bool) -> onnx.GraphProto:
    """Return the graph with nodes that compute the same from the same inputs there once.

    With `behind_dequantisers` also those that read what a DequantizeLinear makes.
    """
    result = onnx.GraphProto()
    result.CopyFrom(graph)
    del result.node[:]
    names: dict[str, str] = {}
    first: dict[tuple[object, ...], list[str]] = {}
    dequantised: set[str] = set()
    outputs = {value.name for value in graph.output}
    for original in graph.node:
        node = NodeProto()
        node.CopyFrom(original)
        for position, name in enumerate(original.input):
            node.input[position] = names.get(name, name)
        apart = not behind_dequantisers and not dequantised.isdisjoint(node.input)
        if node.op_type == "DequantizeLinear":
            dequantised.update(node.output)
            apart = False
        known = first.setdefault(_work(node), list(node.output))
        if apart or known == list(node.output) or outputs.intersection(node.output):
            result.node.append(node)
        else:
            names.update(zip(node.output, known, strict=True))
    return result


def _work(node: NodeProto) -> tuple[object, ...]:
    """Return what a node does with what; a node with a subgraph or a random one is like no other."""
    attributes = tuple(sorted(attribute.SerializeToString() for attribute in node.attribute))
    inner = any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)
    unique = tuple(node.output) if inner or node.op_type.startswith(("Random", "Bernoulli")) else ()
    return node.domain, node.op_type, tuple(node.input), attributes, len(node.output), unique
