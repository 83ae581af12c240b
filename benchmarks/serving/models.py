"""The models that are served: a small MLP, a MobileNet for 96x96 and a ResNet-18 for 224x224, with random weights.

What they cost is what matters, not what they answer. Files are made once and kept, with fixed seeds.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_OPSET: Final = 17
_IR_VERSION: Final = 8
_CALIBRATION_SAMPLES: Final = 8
# Channels and stride of the depthwise-separable blocks of a MobileNet without its last repetitions.
_MOBILE_BLOCKS: Final = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
_RESNET_BLOCKS: Final = ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1))


@dataclass(frozen=True, slots=True)
class Workload:
    """A model that is served.

    Attributes:
        name: Name of the model and of its file.
        sample: Shape of one item, without the batch.
        classes: Number of outputs of one item.
    """

    name: str
    sample: tuple[int, ...]
    classes: int


MLP: Final = Workload("mlp", (64,), 10)
MOBILE96: Final = Workload("mobile96", (3, 96, 96), 100)
MOBILE96_INT8: Final = Workload("mobile96_int8", (3, 96, 96), 100)
RESNET224: Final = Workload("resnet224", (3, 224, 224), 1000)
FLOAT_WORKLOADS: Final = (MLP, MOBILE96, RESNET224)
WORKLOADS: Final = (*FLOAT_WORKLOADS, MOBILE96_INT8)


class _Graph:
    """Adds layers with random weights one after another."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def layer(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        output = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def conv(
        self, source: str, channels: tuple[int, int], kernel: int, stride: int = 1, group: int = 1
    ) -> str:
        before, after = channels
        fan_in = before // group * kernel * kernel
        weight = self._normal((after, before // group, kernel, kernel), (2 / fan_in) ** 0.5)
        bias = self._normal((after,), 0.01)
        return self.layer(
            "Conv",
            [source, weight, bias],
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
            group=group,
        )

    def conv_relu(
        self, source: str, channels: tuple[int, int], kernel: int, stride: int = 1, group: int = 1
    ) -> str:
        return self.layer("Relu", [self.conv(source, channels, kernel, stride, group)])

    def dense(self, source: str, before: int, after: int) -> str:
        return self.layer(
            "Gemm", [source, self._normal((before, after), before**-0.5), self._normal((after,), 0.0)]
        )

    def pooled(self, source: str) -> str:
        return self.layer("Flatten", [self.layer("GlobalAveragePool", [source])])

    def _normal(self, shape: tuple[int, ...], deviation: float) -> str:
        name = f"w{len(self.weights)}"
        values = self._rng.normal(0, deviation, shape).astype(np.float32)
        self.weights.append(numpy_helper.from_array(values, name))
        return name


def _mlp(graph: _Graph) -> str:
    hidden = graph.layer("Relu", [graph.dense("input", 64, 64)])
    return graph.dense(hidden, 64, 10)


def _mobile96(graph: _Graph) -> str:
    at, channels = graph.conv_relu("input", (3, 32), 3, stride=2), 32
    for after, stride in _MOBILE_BLOCKS:
        at = graph.conv_relu(at, (channels, channels), 3, stride, group=channels)
        at, channels = graph.conv_relu(at, (channels, after), 1), after
    return graph.dense(graph.pooled(at), channels, 100)


def _resnet224(graph: _Graph) -> str:
    at = graph.conv_relu("input", (3, 64), 7, stride=2)
    at, channels = graph.layer("MaxPool", [at], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), 64
    for after, stride in _RESNET_BLOCKS:
        same = stride == 1 and channels == after
        shortcut = at if same else graph.conv(at, (channels, after), 1, stride)
        inner = graph.conv(graph.conv_relu(at, (channels, after), 3, stride), (after, after), 3)
        at, channels = graph.layer("Relu", [graph.layer("Add", [inner, shortcut])]), after
    return graph.dense(graph.pooled(at), channels, 1000)


_BUILDERS: Final[dict[Workload, Callable[[_Graph], str]]] = {
    MLP: _mlp,
    MOBILE96: _mobile96,
    RESNET224: _resnet224,
}


def make_models(directory: Path) -> dict[str, Path]:
    """Make the files that are missing, and return the file of every workload by name."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = {workload.name: directory / f"{workload.name}.onnx" for workload in WORKLOADS}
    for workload in FLOAT_WORKLOADS:
        if not paths[workload.name].exists():
            onnx.save(_built(workload), paths[workload.name])
    if not paths[MOBILE96_INT8.name].exists():
        _quantise(paths[MOBILE96.name], paths[MOBILE96_INT8.name])
    return paths


def sample_of(workload: Workload, seed: int = 1) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Return one item as a batch of one."""
    return np.random.default_rng(seed).normal(size=(1, *workload.sample)).astype(np.float32)


def _built(workload: Workload) -> onnx.ModelProto:
    graph = _Graph(seed=0)
    last = _BUILDERS[workload](graph)
    graph.nodes[-1].output[0] = "output"
    assert last != "output"  # noqa: S101 - the builders name layers by operator
    built = helper.make_graph(
        graph.nodes,
        workload.name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *workload.sample])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", workload.classes])],
        graph.weights,
    )
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    return model


def _quantise(source: Path, target: Path) -> None:
    """Write the int8 form of a model: static, per channel, quantise-dequantise pairs."""
    # Imported here: it brings half of ONNX Runtime's tools, which only the first run needs.
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Samples(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
        def __init__(self) -> None:
            self._samples = _calibration_samples()

        def get_next(self) -> dict[str, Any] | None:
            return next(self._samples, None)

    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(target),
        Samples(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    prepared.unlink()


def _calibration_samples() -> Iterator[dict[str, Any]]:
    for seed in range(_CALIBRATION_SAMPLES):
        yield {"input": sample_of(MOBILE96, seed)}
