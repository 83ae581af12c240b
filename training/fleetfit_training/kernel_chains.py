"""Short chains of one kind of kernel: what a processor does at one size, apart from any architecture.

They teach what a kernel costs, so that graphs of families that nobody measured can be summed up from their kernels.
Sizes are drawn evenly in their logarithm. Most chains are so small that even a slow board runs them in milliseconds;
the reference set is chosen among these.
"""

import random
from collections.abc import Callable

from fleetfit_training.graph_builder import ConvShape, GraphBuilder, Value

_MOST_MACS = 30e6
_MOST_ELEMENTS = 200_000


def _size(rng: random.Random, low: int, high: int, multiple: int = 1) -> int:
    value: float = low * (high / low) ** rng.random()
    return max(low, round(value / multiple) * multiple)


def _image(rng: random.Random) -> tuple[int, int]:
    """Return channels and edge of a tensor of usual size."""
    edge = rng.choice([2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 80])
    multiple = rng.choice([1, 4, 8, 8, 16])
    channels = _size(rng, max(8, multiple), max(16, min(384, _MOST_ELEMENTS // edge**2)), multiple)
    return channels, edge


def _conv(kernel: int) -> Callable[[GraphBuilder, random.Random], Value]:
    def fill(graph: GraphBuilder, rng: random.Random) -> Value:
        channels, edge = _image(rng)
        while channels * channels * kernel**2 * edge**2 > _MOST_MACS:
            channels = max(4, channels // 2)
        data = graph.input(1, channels, edge, edge)
        relu = rng.random() < 0.6
        for _ in range(rng.randint(1, 4)):
            wide = rng.choice([0.5, 1, 1, 1, 2]) if kernel == 1 else rng.choice([1, 1, 1, 2])
            stride = 2 if data.shape[2] >= 8 and rng.random() < 0.15 else 1
            data = graph.conv(
                data, ConvShape(max(4, int(channels * wide)), kernel=kernel, stride=stride), relu=relu
            )
        return data

    return fill


def _depthwise(graph: GraphBuilder, rng: random.Random) -> Value:
    channels, edge = _image(rng)
    data = graph.input(1, channels, edge, edge)
    kernel = rng.choice([3, 3, 3, 5])
    for _ in range(rng.randint(1, 4)):
        stride = 2 if data.shape[2] >= 8 and rng.random() < 0.2 else 1
        data = graph.conv(data, ConvShape(channels, kernel=kernel, stride=stride, groups=0))
    return data


def _stem(graph: GraphBuilder, rng: random.Random) -> Value:
    edge = rng.choice([16, 24, 32, 48, 64, 96, 128])
    data = graph.input(1, rng.choice([1, 3]), edge, edge)
    conv = ConvShape(rng.choice([8, 16, 24, 32]), kernel=rng.choice([3, 3, 5, 7]), stride=rng.choice([1, 2]))
    return graph.conv(data, conv, relu=rng.random() < 0.6)


def _dense(graph: GraphBuilder, rng: random.Random) -> Value:
    multiple = rng.choice([1, 16, 64])
    data = graph.input(1, _size(rng, 64, 4096, multiple))
    units = _size(rng, 64, 4096 if data.shape[1] < 2048 else 2048, multiple)
    return graph.dense(data, units, relu=rng.random() < 0.6)


def _projection(graph: GraphBuilder, rng: random.Random) -> Value:
    rows, width = _size(rng, 4, 192), _size(rng, 32, 384, 8)
    data = graph.input(1, rows, width)
    for _ in range(rng.randint(1, 4)):
        data = graph.project(data, _size(rng, 32, 512, 8))
    return data


def _product(graph: GraphBuilder, rng: random.Random) -> Value:
    heads, rows, size = rng.choice([1, 2, 4, 8]), _size(rng, 8, 160), _size(rng, 16, 64, 4)
    left = graph.input(1, heads, rows, size)
    right = graph.input(1, heads, size, rows)
    scores = graph.matmul(left, right)
    return graph.softmax(scores) if rng.random() < 0.5 else scores


def _elementwise(graph: GraphBuilder, rng: random.Random) -> Value:
    channels, edge = _image(rng)
    data = graph.input(1, channels, edge, edge)
    for _ in range(rng.randint(1, 6)):
        operator = rng.choice(["Relu", "Sigmoid", "Add", "Add", "HardSigmoid"])
        data = graph.add(data, data) if operator == "Add" else graph.unary(operator, data)
    return data


def _pooling(graph: GraphBuilder, rng: random.Random) -> Value:
    channels, edge = _image(rng)
    data = graph.input(1, channels, max(4, edge), max(4, edge))
    for _ in range(rng.randint(1, 3)):
        halve = rng.random() < 0.3 and data.shape[2] >= 8
        data = graph.max_pool(data) if halve else graph.avg_pool(data)
    return graph.global_pool(data) if rng.random() < 0.5 else data


def _rearrangement(graph: GraphBuilder, rng: random.Random) -> Value:
    rows, heads, size = _size(rng, 8, 160), rng.choice([1, 2, 4, 8]), _size(rng, 16, 64, 4)
    data = graph.input(1, rows, heads * size)
    for _ in range(rng.randint(1, 3)):
        data = graph.layer_norm(data)
        split = graph.transpose(graph.reshape(data, 1, rows, heads, size), 0, 2, 1, 3)
        data = graph.reshape(graph.transpose(split, 0, 2, 1, 3), 1, rows, heads * size)
    return data


def _upsampling(graph: GraphBuilder, rng: random.Random) -> Value:
    channels, edge = _image(rng)
    return graph.upsample(graph.input(1, max(1, channels // 4), edge, edge))


KERNEL_CHAINS: dict[str, Callable[[GraphBuilder, random.Random], Value]] = {
    "conv3": _conv(3),
    "conv5": _conv(5),
    "conv1": _conv(1),
    "depthwise-chain": _depthwise,
    "stem": _stem,
    "dense": _dense,
    "projection": _projection,
    "product": _product,
    "elementwise": _elementwise,
    "pooling": _pooling,
    "rearrangement": _rearrangement,
    "upsample": _upsampling,
}
