"""The graphs that the predictor learns from: random small networks of several families and precisions.

The digits suite is not among them: it is what the predictor is tested on. The same seed gives the same graphs.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import onnx
from fleetfit_api.suite import Precision

from training.graph_builder import ConvShape, GraphBuilder, Value

PRECISIONS = (Precision.FP32, Precision.FP16, Precision.INT8)


@dataclass(frozen=True, slots=True)
class TrainingGraph:
    """One graph to measure."""

    name: str
    family: str
    precision: Precision
    model: onnx.ModelProto


def _input(graph: GraphBuilder, rng: random.Random) -> Value:
    edge = rng.choice([8, 12, 16, 24, 32, 48, 64])
    return graph.input(1, rng.choice([1, 3]), edge, edge)


def _head(graph: GraphBuilder, data: Value, rng: random.Random) -> Value:
    if data.shape[2] <= 4 and rng.random() < 0.5:
        data = graph.dense(graph.flatten(data), rng.choice([16, 32, 64]))
    else:
        data = graph.global_pool(data)
    return graph.dense(data, rng.choice([10, 100]), relu=False)


def _plain(graph: GraphBuilder, rng: random.Random) -> Value:
    data = _input(graph, rng)
    channels = rng.choice([8, 12, 16, 24, 32])
    for _ in range(rng.randint(1, 6)):
        data = graph.conv(data, ConvShape(channels, kernel=rng.choice([3, 3, 3, 5])))
        if data.shape[2] > 4 and rng.random() < 0.6:
            data = graph.max_pool(data)
            channels = min(160, int(channels * rng.choice([1, 1.5, 2])))
    return _head(graph, data, rng)


def _residual(graph: GraphBuilder, rng: random.Random) -> Value:
    channels = rng.choice([8, 16, 24, 32])
    data = graph.conv(_input(graph, rng), ConvShape(channels, stride=rng.choice([1, 2])))
    for _ in range(rng.randint(1, 4)):
        branch = graph.conv(data, ConvShape(channels))
        branch = graph.conv(branch, ConvShape(channels), relu=False)
        data = graph.unary("Relu", graph.add(branch, data))
        if data.shape[2] > 4 and rng.random() < 0.5:
            channels = min(128, channels * 2)
            data = graph.conv(data, ConvShape(channels, stride=2))
    return _head(graph, data, rng)


def _depthwise(graph: GraphBuilder, rng: random.Random) -> Value:
    channels = rng.choice([8, 16, 32])
    data = graph.conv(_input(graph, rng), ConvShape(channels, stride=rng.choice([1, 2])))
    for _ in range(rng.randint(1, 7)):
        stride = 2 if data.shape[2] > 4 and rng.random() < 0.4 else 1
        if rng.random() < 0.5:
            data = graph.conv(data, ConvShape(data.channels * rng.choice([2, 4]), kernel=1))
        data = graph.conv(data, ConvShape(data.channels, kernel=3, stride=stride, groups=0))
        channels = min(160, int(channels * rng.choice([1, 1.5, 2])))
        data = graph.conv(data, ConvShape(channels, kernel=1))
    return _head(graph, data, rng)


def _mlp(graph: GraphBuilder, rng: random.Random) -> Value:
    data = graph.input(1, rng.choice([16, 64, 128, 784]))
    units = rng.choice([16, 32, 64, 128, 256, 512, 1024])
    for _ in range(rng.randint(1, 5)):
        data = graph.dense(data, units)
    return graph.dense(data, 10, relu=False)


def _upsampling(graph: GraphBuilder, rng: random.Random) -> Value:
    channels = rng.choice([8, 16, 24])
    data = graph.conv(_input(graph, rng), ConvShape(channels, stride=2))
    for _ in range(rng.randint(0, 2)):
        data = graph.conv(data, ConvShape(channels))
    data = graph.conv(graph.upsample(data), ConvShape(channels))
    return graph.unary("Sigmoid", graph.conv(data, ConvShape(1, kernel=1), relu=False))


FAMILIES: dict[str, Callable[[GraphBuilder, random.Random], Value]] = {
    "plain": _plain,
    "residual": _residual,
    "depthwise": _depthwise,
    "mlp": _mlp,
    "upsampling": _upsampling,
}


def training_graphs(per_kind: int, seed: int) -> Iterator[TrainingGraph]:
    """Yield `per_kind` graphs of every family and precision."""
    for family, fill in FAMILIES.items():
        for precision in PRECISIONS:
            for number in range(per_kind):
                name = f"{family}-{precision.value}-{number}"
                rng = random.Random(f"{seed}/{name}")  # noqa: S311 - chooses graphs, guards nothing
                graph = GraphBuilder(name, precision)
                yield TrainingGraph(name, family, precision, graph.build(fill(graph, rng)))
