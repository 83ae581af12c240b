"""Random networks: kernels in the company of others, as no one designs them.

A kernel in a network costs something else than alone: its input is still in the cache, its layout fits that of its
neighbours, its weights compete with theirs. These graphs put every kernel into many such companies.
"""

import random
from collections.abc import Callable
from typing import Final

from fleetfit_training.graph_builder import ConvShape, GraphBuilder, Value

_MOST_ELEMENTS: Final = 130_000
_MOST_MACS: Final = 12e6


class _Images:
    """Random steps on images; remembers earlier tensors for skip connections."""

    def __init__(self, graph: GraphBuilder, rng: random.Random) -> None:
        self._graph = graph
        self._rng = rng
        self._earlier: dict[tuple[int, ...], Value] = {}
        # People design a network with channels that are multiples of one number; kernels depend on it.
        self._multiple = rng.choice([16, 16, 16, 16, 8, 8, 4])

    def step(self, data: Value) -> Value:
        self._earlier.setdefault(data.shape, data)
        kinds: list[Callable[[Value], Value]] = [
            self._conv, self._conv, self._conv, self._pointwise, self._pointwise, self._depthwise, self._grouped,
            self._elementwise, self._elementwise, self._skip, self._skip, self._pool,
        ]  # fmt: skip
        return self._rng.choice(kinds)(data)

    def _channels(self, data: Value, macs_per_channel: float) -> int:
        edge = data.shape[2]
        multiple = self._multiple if self._rng.random() < 0.9 else 4
        factor = self._rng.choice([0.5, 1, 1, 1.5, 2, 4])
        most = min(_MOST_ELEMENTS / edge**2, _MOST_MACS / macs_per_channel, 256)
        return max(4, int(min(data.channels * factor, most) / multiple) * multiple)

    def _conv(self, data: Value) -> Value:
        kernel = self._rng.choice([3, 3, 3, 3, 5])
        channels = self._channels(data, data.channels * kernel**2 * data.shape[2] ** 2)
        stride = 2 if data.shape[2] >= 8 and self._rng.random() < 0.2 else 1
        return self._with_norm(data, ConvShape(channels, kernel=kernel, stride=stride))

    def _pointwise(self, data: Value) -> Value:
        channels = self._channels(data, data.channels * data.shape[2] ** 2)
        return self._with_norm(data, ConvShape(channels, kernel=1))

    def _depthwise(self, data: Value) -> Value:
        stride = 2 if data.shape[2] >= 8 and self._rng.random() < 0.25 else 1
        return self._with_norm(data, ConvShape(data.channels, stride=stride, groups=0))

    def _grouped(self, data: Value) -> Value:
        groups = next((each for each in (4, 2) if data.channels % (4 * each) == 0), 1)
        macs = data.channels**2 * 9 * data.shape[2] ** 2 / groups
        return (
            self._conv(data)
            if macs > _MOST_MACS
            else self._with_norm(data, ConvShape(data.channels, groups=groups))
        )

    def _with_norm(self, data: Value, conv: ConvShape) -> Value:
        relu = self._rng.random() < 0.6
        data = self._graph.conv(data, conv, relu=relu)
        return self._graph.batch_norm(data) if not relu and self._rng.random() < 0.4 else data

    def _elementwise(self, data: Value) -> Value:
        kind = self._rng.choice(["Relu", "Relu", "Relu", "Sigmoid", "norm"])
        return self._graph.batch_norm(data) if kind == "norm" else self._graph.unary(kind, data)

    def _skip(self, data: Value) -> Value:
        return self._graph.add(data, self._earlier[data.shape])

    def _pool(self, data: Value) -> Value:
        kind = self._rng.random()
        if kind < 0.6 or data.shape[2] < 8:
            return self._graph.avg_pool(data)
        return self._graph.max_pool(data) if kind < 0.85 else self._graph.avg_pool(data, kernel=2, stride=2)


def _images(graph: GraphBuilder, rng: random.Random) -> Value:
    edge = rng.choice([8, 12, 16, 24, 32, 32, 48, 64, 96])
    channels = rng.choice([1, 3, 3, 8, 16, 32, 64])
    data = graph.input(1, channels, edge, edge)
    if channels <= 3:
        stem = ConvShape(
            rng.choice([8, 16, 24, 32]), kernel=rng.choice([3, 3, 5, 7]), stride=rng.choice([1, 2])
        )
        data = graph.conv(data, stem, relu=rng.random() < 0.7)
    steps = _Images(graph, rng)
    for _ in range(rng.randint(2, 16)):
        data = steps.step(data)
    if rng.random() < 0.5:
        return data
    return graph.dense(graph.global_pool(data), rng.choice([2, 10, 100, 1000]), relu=False)


def _tokens(graph: GraphBuilder, rng: random.Random) -> Value:
    rows, width = rng.choice([4, 8, 16, 32, 48, 64, 128]), 16 * rng.randint(2, 20)
    data = graph.input(1, rows, width)
    earlier = {data.shape: data}
    for _ in range(rng.randint(2, 14)):
        kind = rng.choice(["project", "project", "project", "norm", "unary", "skip", "mix", "rows"])
        if kind == "project":
            data = graph.project(data, 16 * rng.randint(2, 32))
        elif kind == "norm":
            data = graph.layer_norm(data)
        elif kind == "unary":
            data = graph.unary(rng.choice(["Relu", "Sigmoid"]), data)
        elif kind == "skip":
            data = graph.add(data, earlier[data.shape])
        elif kind == "mix":
            data = mix_rows(graph, rng, data)
        else:
            data = graph.softmax(data)
        earlier.setdefault(data.shape, data)
    return data


def mix_rows(graph: GraphBuilder, rng: random.Random, data: Value) -> Value:
    """Mix rows by products of the data with itself, over some groups of columns."""
    _, rows, width = data.shape
    groups = rng.choice([each for each in (1, 2, 4, 8) if width % each == 0])
    split = graph.reshape(data, 1, rows, groups, width // groups)
    left, right = graph.transpose(split, 0, 2, 1, 3), graph.transpose(split, 0, 2, 3, 1)
    scores = graph.matmul(left, right)
    weights = graph.softmax(scores) if rng.random() < 0.6 else scores
    mixed = graph.transpose(graph.matmul(weights, left), 0, 2, 1, 3)
    return graph.reshape(mixed, 1, rows, width)


RANDOM_FAMILIES: dict[str, Callable[[GraphBuilder, random.Random], Value]] = {
    "random-images": _images,
    "random-tokens": _tokens,
}
