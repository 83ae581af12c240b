"""The architectures of the suite as data, and how an image goes through one.

`forward` is written against `Operators`, which JAX and ONNX both implement: what is trained is what is exported.
This module knows neither of them, no weights and no data.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")
CLASSES = 10
IMAGE_EDGE = 8
INPUT_NAME = "image"
OUTPUT_NAME = "logits"


@dataclass(frozen=True, slots=True)
class Resize:
    """Bilinear enlargement of the image by a whole factor."""

    factor: int


@dataclass(frozen=True, slots=True)
class Conv:
    """Convolution with bias and Relu, padded to keep the resolution (divided by the stride)."""

    name: str
    inputs: int
    channels: int
    kernel: int = 3
    stride: int = 1
    depthwise: bool = False


@dataclass(frozen=True, slots=True)
class Residual:
    """Two 3x3 convolutions beside a shortcut; `inner` channels between them are what pruning takes away."""

    name: str
    inputs: int
    inner: int
    channels: int
    stride: int = 1

    @property
    def has_projection(self) -> bool:
        """Whether the shortcut needs a 1x1 convolution to fit."""
        return self.stride != 1 or self.inputs != self.channels


@dataclass(frozen=True, slots=True)
class GlobalPool:
    """Mean over all pixels, giving one number per channel."""


@dataclass(frozen=True, slots=True)
class GridPool:
    """Mean over each cell of a grid of cells x cells on edge x edge pixels: where strokes are stays known."""

    cells: int
    edge: int


@dataclass(frozen=True, slots=True)
class Flatten:
    """All numbers of an image in one row."""


@dataclass(frozen=True, slots=True)
class Dense:
    """Fully connected layer with bias, followed by Relu where asked for."""

    name: str
    inputs: int
    outputs: int
    relu: bool = False


Layer = Resize | Conv | Residual | GlobalPool | GridPool | Flatten | Dense
Network = tuple[Layer, ...]


class Operators(Protocol[T]):
    """The operators that a network is made of; `name` says which weights to use."""

    def resize(self, data: T, factor: int) -> T:
        """Enlarge bilinearly."""

    def conv(self, data: T, name: str, stride: int, groups: int) -> T:
        """Convolve, padded by half the kernel."""

    def relu(self, data: T) -> T:
        """Cut off below zero."""

    def add(self, left: T, right: T) -> T:
        """Add elementwise."""

    def global_pool(self, data: T) -> T:
        """Average over all pixels and flatten."""

    def average_pool(self, data: T, size: int) -> T:
        """Average over windows of size x size pixels."""

    def flatten(self, data: T) -> T:
        """Make one row per image."""

    def dense(self, data: T, name: str) -> T:
        """Multiply by a matrix [inputs, outputs] and add the bias."""


def forward(network: Network, operators: Operators[T], image: T) -> T:
    """Return the logits of the images."""
    data = image
    for layer in network:
        data = _apply(layer, operators, data)
    return data


def _apply(layer: Layer, operators: Operators[T], data: T) -> T:
    match layer:
        case Resize(factor):
            return operators.resize(data, factor)
        case Conv():
            groups = layer.inputs if layer.depthwise else 1
            return operators.relu(operators.conv(data, layer.name, layer.stride, groups))
        case Residual():
            return _residual(layer, operators, data)
        case GlobalPool():
            return operators.global_pool(data)
        case GridPool(cells, edge):
            return operators.average_pool(data, edge // cells)
        case Flatten():
            return operators.flatten(data)
        case Dense():
            product = operators.dense(data, layer.name)
            return operators.relu(product) if layer.relu else product


def _residual(layer: Residual, operators: Operators[T], data: T) -> T:
    inner = operators.relu(operators.conv(data, f"{layer.name}.first", layer.stride, 1))
    branch = operators.conv(inner, f"{layer.name}.second", 1, 1)
    shortcut = (
        operators.conv(data, f"{layer.name}.projection", layer.stride, 1) if layer.has_projection else data
    )
    return operators.relu(operators.add(branch, shortcut))


def weight_shapes(network: Network) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the name and shape of every weight; the bias of each has the length of its outputs."""
    for layer in network:
        match layer:
            case Conv():
                inputs = 1 if layer.depthwise else layer.inputs
                yield layer.name, (layer.channels, inputs, layer.kernel, layer.kernel)
            case Residual():
                yield f"{layer.name}.first", (layer.inner, layer.inputs, 3, 3)
                yield f"{layer.name}.second", (layer.channels, layer.inner, 3, 3)
                if layer.has_projection:
                    yield f"{layer.name}.projection", (layer.channels, layer.inputs, 1, 1)
            case Dense():
                yield layer.name, (layer.inputs, layer.outputs)
            case _:
                pass


def halved(network: Network) -> Network:
    """Return the network at half the resolution, which the same weights fit."""
    return tuple(_halved(layer) for layer in network)


def _halved(layer: Layer) -> Layer:
    match layer:
        case Resize(factor):
            return Resize(factor // 2)
        case GridPool(cells, edge):
            return GridPool(cells, edge // 2)
        case _:
            return layer


RESIDUAL_WIDE: Network = (
    Resize(4),
    Conv("stem", 1, 32),
    Residual("fine1", 32, 32, 32),
    Residual("fine2", 32, 32, 32),
    Residual("fine3", 32, 32, 32),
    Residual("coarse1", 32, 64, 64, stride=2),
    Residual("coarse2", 64, 64, 64),
    GridPool(4, edge=16),
    Flatten(),
    Dense("classifier", 64 * 16, CLASSES),
)
RESIDUAL_COMPACT: Network = (
    Resize(2),
    Conv("stem", 1, 24),
    Residual("fine1", 24, 24, 24),
    Residual("coarse1", 24, 32, 32, stride=2),
    Residual("coarse2", 32, 32, 32),
    GlobalPool(),
    Dense("classifier", 32, CLASSES),
)
CNN_SMALL: Network = (
    Conv("first", 1, 8),
    Conv("second", 8, 16, stride=2),
    Flatten(),
    Dense("classifier", 16 * 16, CLASSES),
)
DEPTHWISE: Network = (
    Resize(2),
    Conv("stem", 1, 16, stride=2),
    Conv("spatial1", 16, 16, depthwise=True),
    Conv("mix1", 16, 32, kernel=1),
    Conv("spatial2", 32, 32, stride=2, depthwise=True),
    Conv("mix2", 32, 32, kernel=1),
    GlobalPool(),
    Dense("classifier", 32, CLASSES),
)
MLP: Network = (Flatten(), Dense("hidden", 64, 16, relu=True), Dense("classifier", 16, CLASSES))
