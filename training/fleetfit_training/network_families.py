"""Graphs like those that people run: cells of NAS-Bench-201, MobileNets, ResNets, perceptrons, small transformers.

Each family has its own random generator, so that a family can be held out as a whole. The same seed gives the same
graphs. Sizes are those of edge models: up to some 100 million multiply-accumulates.
"""

import random
from collections.abc import Callable, Sequence

from fleetfit_training.graph_builder import ConvShape, GraphBuilder, Value

CELL_OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
CELL_EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
"""Edges of a NAS-Bench-201 cell as (to, from), in the order of its architecture strings."""


def cell_network(
    graph: GraphBuilder, operations: Sequence[str], *, channels: int = 16, cells: int = 5, classes: int = 10
) -> Value:
    """Add a NAS-Bench-201 network: stem, three stages of equal cells with residual blocks between, head.

    Source: Dong and Yang, NAS-Bench-201, ICLR 2020. An edge `none` contributes nothing and is not written.

    Args:
        graph: Where to add it.
        operations: One operation per edge, in the order of CELL_EDGES.
        channels: Channels of the first stage; each further stage has twice as many at half the resolution.
        cells: Cells per stage.
        classes: Outputs.
    """
    data = graph.input(1, 3, 32, 32)
    data = graph.batch_norm(graph.conv(data, ConvShape(channels), relu=False))
    for stage in range(3):
        if stage:
            channels *= 2
            data = _reduction(graph, data, channels)
        for _ in range(cells):
            data = _cell(graph, data, operations)
    data = graph.unary("Relu", graph.batch_norm(data))
    return graph.dense(graph.global_pool(data), classes, relu=False)


def _cell(graph: GraphBuilder, data: Value, operations: Sequence[str]) -> Value:
    states = [data]
    for target in (1, 2, 3):
        total: Value | None = None
        for (to, source), operation in zip(CELL_EDGES, operations, strict=True):
            value = _edge(graph, states[source], operation) if to == target else None
            if value is not None:
                total = value if total is None else graph.add(total, value)
        # Nothing arrives: the original hands on zeros, and what follows is computed on them.
        states.append(total if total is not None else graph.zero_like(data))
    return states[3]


def _edge(graph: GraphBuilder, data: Value, operation: str) -> Value | None:
    if operation == "none":
        return None
    if operation == "skip_connect":
        return data
    if operation == "avg_pool_3x3":
        return graph.avg_pool(data)
    kernel = 1 if operation == "nor_conv_1x1" else 3
    activated = graph.unary("Relu", data)
    return graph.batch_norm(graph.conv(activated, ConvShape(data.channels, kernel=kernel), relu=False))


def _reduction(graph: GraphBuilder, data: Value, channels: int) -> Value:
    branch = graph.unary("Relu", data)
    branch = graph.batch_norm(graph.conv(branch, ConvShape(channels, stride=2), relu=False))
    branch = graph.unary("Relu", branch)
    branch = graph.batch_norm(graph.conv(branch, ConvShape(channels), relu=False))
    short = graph.conv(graph.avg_pool(data, kernel=2, stride=2), ConvShape(channels, kernel=1), relu=False)
    return graph.add(branch, short)


def _nb201(graph: GraphBuilder, rng: random.Random) -> Value:
    operations = [rng.choice(CELL_OPERATIONS) for _ in CELL_EDGES]
    operations[3] = rng.choice(CELL_OPERATIONS[1:])  # the last node always gets something from the input
    return cell_network(
        graph, operations, channels=rng.choice([8, 16, 16]), cells=rng.choice([1, 2, 3, 5, 5])
    )


def _mobilenet(graph: GraphBuilder, rng: random.Random) -> Value:
    edge = rng.choice([48, 64, 96, 128, 160])
    width = rng.choice([8, 16, 16, 24, 32])
    data = graph.conv(graph.input(1, 3, edge, edge), ConvShape(width, stride=2))
    for stage in range(rng.randint(2, 4)):
        channels = 8 * round(width * (1 + 0.75 * stage) / 8)  # multiples of 8, as MobileNetV2 has them
        for block in range(rng.randint(1, 3)):
            stride = 2 if block == 0 and data.shape[2] > 4 else 1
            data = _inverted_residual(graph, data, channels, stride, rng.choice([2, 3, 4, 6]))
    data = graph.conv(data, ConvShape(data.channels * 4, kernel=1))
    return graph.dense(graph.global_pool(data), rng.choice([10, 100]), relu=False)


def _inverted_residual(graph: GraphBuilder, data: Value, channels: int, stride: int, expansion: int) -> Value:
    branch = graph.conv(data, ConvShape(data.channels * expansion, kernel=1))
    branch = graph.conv(branch, ConvShape(branch.channels, stride=stride, groups=0))
    branch = graph.conv(branch, ConvShape(channels, kernel=1), relu=False)
    return graph.add(branch, data) if branch.shape == data.shape else branch


def _resnet(graph: GraphBuilder, rng: random.Random) -> Value:
    edge = rng.choice([32, 48, 64, 96, 128])
    channels = rng.choice([8, 16, 24, 32, 48])
    data = graph.conv(graph.input(1, 3, edge, edge), ConvShape(channels, kernel=rng.choice([3, 7]), stride=2))
    if rng.random() < 0.5:
        data = graph.max_pool(data)
    bottleneck = rng.random() < 0.5
    for stage in range(rng.randint(2, 4)):
        for block in range(rng.randint(1, 2)):
            stride = 2 if stage and block == 0 and data.shape[2] > 2 else 1
            data = _residual_block(graph, data, channels * 2**stage, stride, bottleneck=bottleneck)
    return graph.dense(graph.global_pool(data), rng.choice([10, 100]), relu=False)


def _residual_block(
    graph: GraphBuilder, data: Value, channels: int, stride: int, *, bottleneck: bool
) -> Value:
    if bottleneck:
        branch = graph.conv(data, ConvShape(max(4, channels // 4), kernel=1))
        branch = graph.conv(branch, ConvShape(branch.channels, stride=stride))
        branch = graph.conv(branch, ConvShape(channels, kernel=1), relu=False)
    else:
        branch = graph.conv(data, ConvShape(channels, stride=stride))
        branch = graph.conv(branch, ConvShape(channels), relu=False)
    short = data
    if branch.shape != data.shape:
        short = graph.conv(data, ConvShape(channels, kernel=1, stride=stride), relu=False)
    return graph.unary("Relu", graph.add(branch, short))


def _perceptron(graph: GraphBuilder, rng: random.Random) -> Value:
    data = graph.input(1, rng.choice([16, 64, 128, 256, 784]))
    for _ in range(rng.randint(2, 8)):
        data = graph.dense(data, rng.choice([64, 128, 256, 512, 1024, 2048]))
    return graph.dense(data, 10, relu=False)


def _transformer(graph: GraphBuilder, rng: random.Random) -> Value:
    tokens, heads = rng.choice([16, 32, 64, 128]), rng.choice([1, 2, 4])
    width = heads * rng.choice([32, 48, 64])
    data = graph.input(1, tokens, width)
    for _ in range(rng.randint(1, 6)):
        data = graph.add(data, _attention(graph, graph.layer_norm(data), heads))
        hidden = graph.unary("Relu", graph.project(graph.layer_norm(data), width * rng.choice([2, 4])))
        data = graph.add(data, graph.project(hidden, width))
    return graph.project(graph.layer_norm(data), rng.choice([10, 32]))


def _attention(graph: GraphBuilder, data: Value, heads: int) -> Value:
    _, tokens, width = data.shape
    size = width // heads

    def split(value: Value, *order: int) -> Value:
        return graph.transpose(graph.reshape(value, 1, tokens, heads, size), *order)

    query = split(graph.project(data, width), 0, 2, 1, 3)
    key = split(graph.project(data, width), 0, 2, 3, 1)
    value = split(graph.project(data, width), 0, 2, 1, 3)
    mixed = graph.matmul(graph.softmax(graph.matmul(query, key)), value)
    joined = graph.reshape(graph.transpose(mixed, 0, 2, 1, 3), 1, tokens, width)
    return graph.project(joined, width)


NETWORK_FAMILIES: dict[str, Callable[[GraphBuilder, random.Random], Value]] = {
    "nb201": _nb201,
    "mobilenet": _mobilenet,
    "resnet": _resnet,
    "perceptron": _perceptron,
    "transformer": _transformer,
}
