"""Which number formats the weights of a graph are stored in, and the precision that follows.

A weight is a constant of two or more dimensions; biases, scales and zero points have fewer. What counts is the share
of elements, since quantisers leave a layer or two in floating point. Weights that a QuantizeLinear turns into integers
when the graph is loaded count as integers, and packed ones (MatMulNBits) as what they are unpacked.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Final

import onnx
from fleetfit_api.suite import Precision
from onnx import AttributeProto, NodeProto, TensorProto
from onnx.numpy_helper import to_array

_FORMATS: Final[Mapping[int, str]] = {
    TensorProto.FLOAT: "fp32", TensorProto.DOUBLE: "fp64", TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16",
    TensorProto.INT8: "int8", TensorProto.UINT8: "int8", TensorProto.INT4: "int4", TensorProto.UINT4: "int4",
    TensorProto.INT16: "int16", TensorProto.UINT16: "int16",
    TensorProto.FLOAT8E4M3FN: "fp8", TensorProto.FLOAT8E4M3FNUZ: "fp8",
    TensorProto.FLOAT8E5M2: "fp8", TensorProto.FLOAT8E5M2FNUZ: "fp8",
}  # fmt: skip
_PACKED: Final = frozenset({"MatMulNBits", "GatherBlockQuantized"})


@dataclass(frozen=True, slots=True)
class WeightFormats:
    """Elements of the weights by number format, the most first; the outputs' format where there are none."""

    elements: Mapping[str, int]

    @property
    def precision(self) -> Precision | None:
        """The format of most elements; None where a suite has no word for it."""
        most = next(iter(self.elements), "")
        return Precision(most) if most in set(Precision) else None

    @property
    def shares(self) -> dict[str, float]:
        """Share of the elements by format."""
        total = sum(self.elements.values())
        return {name: count / total for name, count in self.elements.items()}


def weight_formats(model: onnx.ModelProto) -> WeightFormats:
    """Return the formats of the weights of a model."""
    counts: Counter[str] = Counter()
    nodes = list(_all_nodes(model.graph.node))
    nodes += [node for function in model.functions for node in _all_nodes(function.node)]
    constants = _constants(model, nodes)
    converted = _converted(constants, nodes)
    for name, (shape, element_type) in constants.items():
        if len(shape) >= 2:
            label, per_element = converted.get(name, (_FORMATS.get(element_type, ""), 1))
            counts[label] += prod(shape) * per_element
    del counts[""]
    if not counts:
        counts.update(_FORMATS.get(value.type.tensor_type.elem_type, "fp32") for value in model.graph.output)
    return WeightFormats(dict(counts.most_common()))


def _all_nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Yield the nodes and those of the graphs within them (If, Loop, Scan)."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in [attribute.g, *attribute.graphs]:
                yield from _all_nodes(graph.node)


def _all_graphs(model: onnx.ModelProto, nodes: Iterable[NodeProto]) -> Iterator[onnx.GraphProto]:
    yield model.graph
    for node in nodes:
        for attribute in node.attribute:
            yield from [attribute.g, *attribute.graphs]


def _constants(model: onnx.ModelProto, nodes: list[NodeProto]) -> dict[str, tuple[tuple[int, ...], int]]:
    """Return shape and element type of every constant by name."""
    tensors = {tensor.name: tensor for graph in _all_graphs(model, nodes) for tensor in graph.initializer}
    for node in nodes:
        value = _attribute(node, "value")
        if node.op_type == "Constant" and value is not None:
            tensors[node.output[0]] = value.t
    found = {name: (tuple(tensor.dims), tensor.data_type) for name, tensor in tensors.items()}
    for node in nodes:
        if node.op_type == "ConstantOfShape" and node.input[0] in tensors:
            value = _attribute(node, "value")
            element_type = TensorProto.FLOAT if value is None else value.t.data_type
            found[node.output[0]] = (tuple(map(int, to_array(tensors[node.input[0]]))), element_type)
    return found


def _converted(
    constants: Mapping[str, tuple[tuple[int, ...], int]], nodes: Iterable[NodeProto]
) -> dict[str, tuple[str, int]]:
    """Return format and number of weights per element of constants that are not used as they are stored."""
    converted = {}
    for node in nodes:
        if node.op_type == "QuantizeLinear":
            zero_point = constants.get(node.input[2]) if len(node.input) > 2 else None
            converted[node.input[0]] = (_FORMATS.get(zero_point[1], "int8") if zero_point else "int8", 1)
        elif node.op_type in _PACKED:
            bits = _attribute(node, "bits")
            width = bits.i if bits is not None and bits.i > 0 else 4
            data = node.input[0 if node.op_type == "GatherBlockQuantized" else 1]
            if constants.get(data, ((), 0))[1] == TensorProto.UINT8:
                converted[data] = (f"int{width}", max(1, 8 // width))
    return converted


def _attribute(node: NodeProto, name: str) -> AttributeProto | None:
    return next((attribute for attribute in node.attribute if attribute.name == name), None)
