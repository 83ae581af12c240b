"""A short way to write ONNX graphs whose weights take no room in the file.

A weight is a ConstantOfShape node, which ONNX Runtime folds into an initializer when it loads the graph, so even a
large network is a file of a few hundred bytes. Times do not depend on the values of the weights.
"""

from dataclasses import dataclass, replace
from typing import Any

import onnx
from fleetfit_api.suite import Precision
from onnx import NodeProto, TensorProto, ValueInfoProto, helper

OPSET = 18
_IR_VERSION = 9
_FLOAT_TYPES = {Precision.FP32: TensorProto.FLOAT, Precision.FP16: TensorProto.FLOAT16}
_ACTIVATION_SCALE = 0.05
_WEIGHT_SCALE = 0.01


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the graph under construction: its name and its shape, batch first."""

    name: str
    shape: tuple[int, ...]

    @property
    def channels(self) -> int:
        """Size of the second dimension."""
        return self.shape[1]


@dataclass(frozen=True, slots=True)
class ConvShape:
    """What a convolution does besides its input: kernel edge, stride, groups (0: depthwise)."""

    channels: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1


class GraphBuilder:
    """Builds one graph of one precision, operator by operator.

    int8 graphs are in QDQ form, as the quantisers write them: every tensor between operators passes a QuantizeLinear
    and a DequantizeLinear, weights are int8 behind a DequantizeLinear.
    """

    def __init__(self, name: str, precision: Precision) -> None:
        if precision not in {Precision.FP32, Precision.FP16, Precision.INT8}:
            raise ValueError(f"graphs of precision {precision} cannot be built")
        self._name = name
        self._integer = precision is Precision.INT8
        self._type = _FLOAT_TYPES.get(precision, TensorProto.FLOAT)
        self._nodes: list[NodeProto] = []
        self._initializers: list[TensorProto] = []
        self._inputs: list[ValueInfoProto] = []

    def input(self, *shape: int) -> Value:
        """Add an input of that shape, batch included."""
        name = f"input{len(self._inputs)}"
        self._inputs.append(helper.make_tensor_value_info(name, self._type, shape))
        return self._quantised(Value(name, tuple(shape)))

    def conv(self, data: Value, conv: ConvShape, *, relu: bool = True) -> Value:
        """Add a convolution with bias that keeps the resolution (divided by the stride)."""
        groups = conv.groups or data.channels
        weight = self._weight(conv.channels, data.channels // groups, conv.kernel, conv.kernel)
        padding = conv.kernel // 2
        name = self._node(
            "Conv",
            [data.name, weight, self._bias(conv.channels)],
            group=groups,
            kernel_shape=[conv.kernel] * 2,
            pads=[padding] * 4,
            strides=[conv.stride] * 2,
        )
        edges = tuple((edge + 2 * padding - conv.kernel) // conv.stride + 1 for edge in data.shape[2:])
        return self._activated(Value(name, (data.shape[0], conv.channels, *edges)), relu=relu)

    def dense(self, data: Value, units: int, *, relu: bool = True) -> Value:
        """Add a fully connected layer with bias."""
        weight = self._weight(data.channels, units)
        name = self._node("Gemm", [data.name, weight, self._bias(units)])
        return self._activated(Value(name, (data.shape[0], units)), relu=relu)

    def add(self, left: Value, right: Value) -> Value:
        """Add two tensors of one shape."""
        return self._quantised(replace(left, name=self._node("Add", [left.name, right.name])))

    def unary(self, operator: str, data: Value) -> Value:
        """Add an elementwise operator such as Relu or Sigmoid."""
        return self._quantised(replace(data, name=self._node(operator, [data.name])))

    def max_pool(self, data: Value) -> Value:
        """Halve the resolution by maxima."""
        name = self._node("MaxPool", [data.name], kernel_shape=[2, 2], strides=[2, 2])
        return self._quantised(Value(name, (*data.shape[:2], *(edge // 2 for edge in data.shape[2:]))))

    def upsample(self, data: Value) -> Value:
        """Double the resolution by repetition."""
        scales = self._constant("scales", TensorProto.FLOAT, [1.0, 1.0, 2.0, 2.0])
        name = self._node(
            "Resize",
            [data.name, "", scales],
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )
        return self._quantised(Value(name, (*data.shape[:2], *(2 * edge for edge in data.shape[2:]))))

    def global_pool(self, data: Value) -> Value:
        """Average over the resolution and flatten."""
        pooled = self._quantised(Value(self._node("GlobalAveragePool", [data.name]), (*data.shape[:2], 1, 1)))
        return self.flatten(pooled)

    def flatten(self, data: Value) -> Value:
        """Make one dimension of all but the first."""
        units = 1
        for edge in data.shape[1:]:
            units *= edge
        return self._quantised(Value(self._node("Flatten", [data.name]), (data.shape[0], units)))

    def avg_pool(self, data: Value, *, kernel: int = 3, stride: int = 1) -> Value:
        """Average over a window; stride 1 keeps the resolution."""
        padding = kernel // 2 if stride == 1 else 0
        name = self._node(
            "AveragePool",
            [data.name],
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[padding] * 4,
            count_include_pad=0,
        )
        edges = tuple((edge + 2 * padding - kernel) // stride + 1 for edge in data.shape[2:])
        return self._quantised(Value(name, (*data.shape[:2], *edges)))

    def batch_norm(self, data: Value) -> Value:
        """Normalise channels; in an int8 graph it is already part of the convolution, as quantisers make it."""
        if self._integer:
            return data
        vectors = [self._filled(self._type, value, data.channels) for value in (1.0, 0.1, 0.0, 1.0)]
        return replace(data, name=self._node("BatchNormalization", [data.name, *vectors]))

    def zero_like(self, data: Value) -> Value:
        """Add zeros of the shape of a tensor, as a constant."""
        return self._quantised(replace(data, name=self._filled(self._type, 0.0, *data.shape)))

    def layer_norm(self, data: Value) -> Value:
        """Normalise the last dimension."""
        size = data.shape[-1]
        vectors = [self._filled(self._type, value, size) for value in (1.0, 0.0)]
        return self._quantised(replace(data, name=self._node("LayerNormalization", [data.name, *vectors])))

    def matmul(self, left: Value, right: Value) -> Value:
        """Multiply two computed tensors over their last two dimensions."""
        name = self._node("MatMul", [left.name, right.name])
        return self._quantised(Value(name, (*left.shape[:-1], right.shape[-1])))

    def project(self, data: Value, units: int) -> Value:
        """Add a linear layer with bias over the last dimension, as transformers have it."""
        weight = self._weight(data.shape[-1], units)
        shape = (*data.shape[:-1], units)
        product = self._quantised(Value(self._node("MatMul", [data.name, weight]), shape))
        return self._quantised(Value(self._node("Add", [product.name, self._bias(units)]), shape))

    def softmax(self, data: Value) -> Value:
        """Softmax over the last dimension."""
        return self._quantised(replace(data, name=self._node("Softmax", [data.name], axis=-1)))

    def transpose(self, data: Value, *order: int) -> Value:
        """Reorder the dimensions."""
        name = self._node("Transpose", [data.name], perm=list(order))
        return self._quantised(Value(name, tuple(data.shape[axis] for axis in order)))

    def reshape(self, data: Value, *shape: int) -> Value:
        """Give the elements another shape."""
        name = "x".join(map(str, shape))
        target = self._constant(f"shape{name}", TensorProto.INT64, list(shape))
        return self._quantised(Value(self._node("Reshape", [data.name, target]), tuple(shape)))

    def build(self, output: Value, *, check: bool = True) -> onnx.ModelProto:
        """Return the finished model with one output, checked unless it is one of thousands."""
        result = self._node("Identity", [output.name])
        graph = helper.make_graph(
            self._nodes,
            self._name,
            self._inputs,
            [helper.make_tensor_value_info(result, self._type, output.shape)],
            self._initializers,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION
        )
        if check:
            onnx.checker.check_model(model, full_check=True)
        return model

    def _activated(self, data: Value, *, relu: bool) -> Value:
        activated = replace(data, name=self._node("Relu", [data.name])) if relu else data
        # As quantisers do: after a Relu the smallest number stands for zero, so that the Relu itself vanishes.
        return self._quantised(activated, zero_point=0 if relu else 128)

    def _quantised(self, data: Value, *, zero_point: int = 128) -> Value:
        if not self._integer:
            return data
        scale = self._constant("scale", TensorProto.FLOAT, [_ACTIVATION_SCALE])
        zero = self._constant(f"zero{zero_point}", TensorProto.UINT8, [zero_point])
        quantised = self._node("QuantizeLinear", [data.name, scale, zero])
        return replace(data, name=self._node("DequantizeLinear", [quantised, scale, zero]))

    def _weight(self, *shape: int) -> str:
        if not self._integer:
            return self._filled(self._type, 0.01, *shape)
        scale = self._constant("weight_scale", TensorProto.FLOAT, [_WEIGHT_SCALE])
        zero = self._constant("weight_zero", TensorProto.INT8, [0])
        return self._node("DequantizeLinear", [self._filled(TensorProto.INT8, 1, *shape), scale, zero])

    def _bias(self, units: int) -> str:
        if not self._integer:
            return self._filled(self._type, 0.1, units)
        scale = self._constant("bias_scale", TensorProto.FLOAT, [_ACTIVATION_SCALE * _WEIGHT_SCALE])
        return self._node("DequantizeLinear", [self._filled(TensorProto.INT32, 1, units), scale])

    def _filled(self, element_type: int, value: float, *shape: int) -> str:
        size = "x".join(map(str, shape))
        shape_name = self._constant(f"shape{size}", TensorProto.INT64, list(shape))
        return self._node(
            "ConstantOfShape", [shape_name], value=helper.make_tensor("value", element_type, [1], [value])
        )

    def _constant(self, name: str, element_type: int, values: list[float] | list[int]) -> str:
        if all(tensor.name != name for tensor in self._initializers):
            # A scale is a scalar: with one dimension it would mean "per channel".
            scalar = len(values) == 1 and not name.startswith("shape")
            self._initializers.append(
                helper.make_tensor(name, element_type, [] if scalar else [len(values)], values)
            )
        return name

    def _node(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        output = f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output
