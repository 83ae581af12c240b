"""Random designs: dense layers one after the other, and rows that pass the same random block again and again.

Random networks put kernels into any company; here the company is that of a design, with widths that stay or fall and
parts that repeat.
"""

import random
from collections.abc import Callable

from fleetfit_training.graph_builder import GraphBuilder, Value
from fleetfit_training.random_networks import mix_rows


def _vectors(graph: GraphBuilder, rng: random.Random) -> Value:
    multiple = rng.choice([1, 8, 32])

    def units(most: int) -> int:
        value: float = 16 * (most / 16) ** rng.random()
        return max(8, round(value / multiple) * multiple)

    data = graph.input(1, units(2048))
    earlier = {data.shape: data}
    shape = rng.choice(["any", "equal", "falling"])
    width = units(1024)
    for _ in range(rng.randint(2, 10)):
        if shape == "any":
            width = units(2048 if data.channels < 1024 else 1024)
        elif shape == "falling":
            width = max(8, width * 3 // 4)
        data = graph.dense(data, width, relu=rng.random() < 0.7)
        if rng.random() < 0.15:
            data = graph.unary("Sigmoid", data)
        if data.shape in earlier and rng.random() < 0.4:
            data = graph.add(data, earlier[data.shape])
        earlier.setdefault(data.shape, data)
    return data


def _rows(graph: GraphBuilder, rng: random.Random) -> Value:
    rows, width = rng.choice([8, 12, 16, 24, 32, 48, 64, 96, 128]), 16 * rng.randint(2, 16)
    data = graph.input(1, rows, width)
    parts = [rng.choice(["mix", "mix", "wide", "wide", "project", "norm"]) for _ in range(rng.randint(1, 3))]
    wider, before, skips = rng.choice([0.5, 2, 3, 4]), rng.random() < 0.6, rng.random() < 0.7
    activation = rng.choice(["Relu", "Relu", "Sigmoid"])
    for _ in range(rng.randint(1, 5)):
        for part in parts:
            branch = graph.layer_norm(data) if before else data
            if part == "mix":
                branch = graph.project(mix_rows(graph, rng, graph.project(branch, width)), width)
            elif part == "wide":
                hidden = graph.unary(
                    activation, graph.project(branch, 16 * max(1, round(width * wider / 16)))
                )
                branch = graph.project(hidden, width)
            elif part == "project":
                branch = graph.project(branch, width)
            else:
                branch = graph.layer_norm(branch)
            data = graph.add(branch, data) if skips else branch
    return graph.project(data, rng.choice([8, 16, 64])) if rng.random() < 0.5 else data


DESIGN_FAMILIES: dict[str, Callable[[GraphBuilder, random.Random], Value]] = {
    "random-vectors": _vectors,
    "random-rows": _rows,
}
