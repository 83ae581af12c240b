"""The graphs that the predictor learns from and is tested on, as a directory of ONNX files with their features.

Networks like those that people run, single kernels and short chains of one, random networks and random designs. The
digits suite is not among them. The same seed gives the same graphs. A board without `onnx` gets the directory instead.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx
from fleetfit_api.suite import Precision

from fleetfit_training.graph_builder import GraphBuilder, Value
from fleetfit_training.kernel_chains import KERNEL_CHAINS
from fleetfit_training.measurements import INDEX_FILE
from fleetfit_training.network_families import NETWORK_FAMILIES
from fleetfit_training.random_designs import DESIGN_FAMILIES
from fleetfit_training.random_networks import RANDOM_FAMILIES

Fill = Callable[[GraphBuilder, random.Random], Value]
GRAPH_SET_SEED: Final = 1

# Families, and how many graphs of each precision.
_KINDS: Final[tuple[tuple[dict[str, Fill], dict[Precision, int]], ...]] = (
    (NETWORK_FAMILIES, {Precision.FP32: 12, Precision.INT8: 10}),
    (KERNEL_CHAINS, {Precision.FP32: 12, Precision.INT8: 8, Precision.FP16: 1}),
    ({"dense": KERNEL_CHAINS["dense"]}, {Precision.FP32: 50, Precision.INT8: 25}),
    (RANDOM_FAMILIES, {Precision.FP32: 120, Precision.INT8: 80, Precision.FP16: 8}),
    (DESIGN_FAMILIES, {Precision.FP32: 80, Precision.INT8: 60}),
)


@dataclass(frozen=True, slots=True)
class TrainingGraph:
    """One graph to measure."""

    name: str
    family: str
    precision: Precision
    model: onnx.ModelProto


def training_graphs(seed: int = GRAPH_SET_SEED, share: float = 1.0) -> Iterator[TrainingGraph]:
    """Yield the graphs; a `share` below 1 takes that part of each family and precision, at least one."""
    known: set[str] = set()
    for families, counts in _KINDS:
        for family, fill in families.items():
            for precision, count in counts.items():
                for number in range(max(1, round(count * share))):
                    graph = _graph(family, fill, precision, number, seed)
                    if graph.name not in known:
                        known.add(graph.name)
                        yield graph


def _graph(family: str, fill: Fill, precision: Precision, number: int, seed: int) -> TrainingGraph:
    name = f"{family}-{precision.value}-{number}"
    rng = random.Random(f"{seed}/{name}")  # noqa: S311 - chooses graphs, guards nothing
    graph = GraphBuilder(name, precision)
    return TrainingGraph(name, family, precision, graph.build(fill(graph, rng)))


def write_graph_set(directory: Path, graphs: Iterator[TrainingGraph]) -> int:
    """Write the graphs and their index; return how many they are."""
    directory.mkdir(parents=True, exist_ok=True)
    index = []
    for graph in graphs:
        (directory / f"{graph.name}.onnx").write_bytes(graph.model.SerializeToString(deterministic=True))
        index.append({"name": graph.name, "family": graph.family, "precision": graph.precision.value})
    (directory / INDEX_FILE).write_text(json.dumps(index, indent=0) + "\n")
    return len(index)
