"""From trained weights to ONNX files: fp32, fp16 and int8. Knows no training."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper
from onnx.numpy_helper import from_array
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from examples.digits.networks import (
    CLASSES,
    IMAGE_EDGE,
    INPUT_NAME,
    OUTPUT_NAME,
    Network,
    Resize,
    forward,
)
from examples.digits.weights import Weights

_OPSET = 18
_IR_VERSION = 9
_CALIBRATION_BATCH = 64
_INTEGER_OPERATORS = ["Conv", "Relu", "Add", "AveragePool", "GlobalAveragePool", "Gemm"]


class OnnxOperators:
    """Records every operator as a node of a graph; a value is a tensor's name."""

    def __init__(self, weights: Weights, element_type: type[np.floating[Any]]) -> None:
        self._weights = weights
        self._element_type = element_type
        self.nodes: list[NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}

    def resize(self, data: str, factor: int) -> str:
        """Enlarge bilinearly with half-pixel centres."""
        scales = self._constant("resize.scales", np.array([1, 1, factor, factor], np.float32))
        return self._node("Resize", [data, "", scales], mode="linear")

    def conv(self, data: str, name: str, stride: int, groups: int) -> str:
        """Convolve, padded by half the kernel on every side."""
        edge = self._weights[name].shape[-1]
        return self._node(
            "Conv",
            [data, *self._parameters(name)],
            name=name,
            kernel_shape=[edge, edge],
            pads=[edge // 2] * 4,
            strides=[stride, stride],
            group=groups,
        )

    def relu(self, data: str) -> str:
        """Cut off below zero."""
        return self._node("Relu", [data])

    def add(self, left: str, right: str) -> str:
        """Add elementwise."""
        return self._node("Add", [left, right])

    def global_pool(self, data: str) -> str:
        """Average over all pixels."""
        return self.flatten(self._node("GlobalAveragePool", [data]))

    def average_pool(self, data: str, size: int) -> str:
        """Average over windows."""
        return self._node("AveragePool", [data], kernel_shape=[size, size], strides=[size, size])

    def flatten(self, data: str) -> str:
        """Make one row per image."""
        return self._node("Flatten", [data])

    def dense(self, data: str, name: str) -> str:
        """Multiply by the matrix and add the bias."""
        return self._node("Gemm", [data, *self._parameters(name)], name=name)

    def cast(self, data: str, element_type: int) -> str:
        """Convert to another number format."""
        return self._node("Cast", [data], to=element_type)

    def _parameters(self, name: str) -> tuple[str, str]:
        return (
            self._constant(name, self._weights[name].astype(self._element_type)),
            self._constant(f"{name}.bias", self._weights[f"{name}.bias"].astype(self._element_type)),
        )

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self.initializers[name] = from_array(value, name)
        return name

    def _node(self, operator: str, inputs: list[str], name: str = "", **attributes: Any) -> str:
        output = f"t{len(self.nodes)}"
        node = helper.make_node(
            operator, inputs, [output], name=name or f"{operator}{len(self.nodes)}", **attributes
        )
        self.nodes.append(node)
        return output


class _HalfOperators(OnnxOperators):
    """Enlarges in float32, for which every provider has a kernel, and computes the rest in float16."""

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights, np.float16)

    def resize(self, data: str, factor: int) -> str:
        """Enlarge in float32, then convert."""
        return self.cast(super().resize(data, factor), TensorProto.FLOAT16)


def float32_model(network: Network, weights: Weights) -> onnx.ModelProto:
    """Return the network as an ONNX model in float32."""
    operators = OnnxOperators(weights, np.float32)
    return _model(operators, forward(network, operators, INPUT_NAME))


def float16_model(network: Network, weights: Weights) -> onnx.ModelProto:
    """Return the network as an ONNX model that stores and computes in float16; input and output stay float32."""
    operators = _HalfOperators(weights)
    enlarges = any(isinstance(layer, Resize) for layer in network)
    image = INPUT_NAME if enlarges else operators.cast(INPUT_NAME, TensorProto.FLOAT16)
    logits = forward(network, operators, image)
    return _model(operators, operators.cast(logits, TensorProto.FLOAT))


def _model(operators: OnnxOperators, logits: str) -> onnx.ModelProto:
    (last,) = (node for node in operators.nodes if node.output[0] == logits)
    last.output[0] = OUTPUT_NAME
    shape: list[str | int | None] = ["N", 1, IMAGE_EDGE, IMAGE_EDGE]
    graph = helper.make_graph(
        operators.nodes,
        "digits",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["N", CLASSES])],
        list(operators.initializers.values()),
    )
    model: onnx.ModelProto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="fleetfit",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    """Hands the training images to the calibrator in batches."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        self._batches: Iterator[NDArray[np.float32]] = iter(
            np.array_split(images, max(1, len(images) // _CALIBRATION_BATCH))
        )

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the next batch, None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT_NAME: batch}


def write_int8(source: Path, target: Path, images: NDArray[np.float32]) -> None:
    """Quantise the float32 file `source` to int8 with ranges from `images`, in QDQ form.

    Weights keep to seven bits, so that processors with and without VNNI give the same numbers. The classifier,
    a ten-thousandth of the work, stays float32: quantised logits would tie.
    """
    with TemporaryDirectory() as directory:
        prepared = Path(directory) / "prepared.onnx"
        # Only the shapes are wanted of it: folded or fused nodes would be other than those that were trained.
        quant_pre_process(source, prepared, skip_optimization=True, skip_symbolic_shape=True)
        _quantise(prepared, target, images)


def _quantise(source: Path, target: Path, images: NDArray[np.float32]) -> None:
    quantize_static(
        source,
        target,
        _Calibration(images),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=_INTEGER_OPERATORS,
        nodes_to_exclude=["classifier"],
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
