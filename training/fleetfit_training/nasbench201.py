"""Public latencies of the NAS-Bench-201 networks on 27 devices, as a table with the features of every network.

`python -m fleetfit_training.nasbench201 SOURCE.csv.gz` converts the published file into `training/data/nasbench201`:
the latencies as they are, and for each architecture how often each distinct kernel runs and is written, from an ONNX
graph that is built and described like any other. LICENSE and README.md beside the data say where it comes from.
"""

import argparse
import csv
import gzip
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from fleetfit_api.kernels import Kernel
from fleetfit_api.suite import GraphFeatures
from fleetfit_operator.predict.graph_table import GraphTable
from fleetfit_operator.predict.kernel_groups import KernelArrays

from fleetfit_training.measurements import DATA_DIR

NASBENCH_DIR: Final = DATA_DIR / "nasbench201"
CLASSES: Final = 100
_SUMMARY_FIELDS: Final = (
    "depth",
    "operator_count",
    "activation_bytes",
    "peak_activation_bytes",
    "weight_bytes",
)
_ACCURACY_COLUMN: Final = "cifar100_accuracy_percent"
_PROGRESS_EVERY: Final = 500


@dataclass(frozen=True, slots=True)
class NasBench:
    """The networks, their latencies and, of some, their accuracy.

    Attributes:
        architectures: Architecture strings, one per network.
        devices: Names of the devices; the number behind a GPU's is the batch size.
        latency_s: Seconds by network and device.
        accuracy: Share of right answers on CIFAR-100; NaN where it is not known.
        graphs: Features of the networks.
        cut_off: Whether the cell's output does not depend on its input.
    """

    architectures: tuple[str, ...]
    devices: tuple[str, ...]
    latency_s: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]
    graphs: GraphTable
    cut_off: npt.NDArray[np.bool_]

    def column(self, device: str) -> npt.NDArray[np.float64]:
        """Return the latencies of one device in seconds."""
        return self.latency_s[:, self.devices.index(device)]


def operations_of(architecture: str) -> list[str]:
    """Return the operation of each edge, in the order of `network_families.CELL_EDGES`."""
    edges = (edge for node in architecture.split("+") for edge in node.strip("|").split("|"))
    return [edge.split("~")[0] for edge in edges]


def is_cut_off(architecture: str) -> bool:
    """Return whether no path of operations leads from the input of the cell to its output."""
    first, second, third, fourth, fifth, sixth = (each != "none" for each in operations_of(architecture))
    reached_1 = first
    reached_2 = second or (third and reached_1)
    return not (fourth or (fifth and reached_1) or (sixth and reached_2))


def read_nasbench(directory: Path = NASBENCH_DIR) -> NasBench:
    """Return the converted data."""
    with gzip.open(directory / "latency_ms.csv.gz", "rt", newline="") as file:
        reader = csv.DictReader(file)
        devices = tuple(
            name for name in reader.fieldnames or () if name not in {"architecture", _ACCURACY_COLUMN}
        )
        rows = list(reader)
    architectures = tuple(row["architecture"] for row in rows)
    return NasBench(
        architectures=architectures,
        devices=devices,
        latency_s=np.array([[float(row[device]) for device in devices] for row in rows]) / 1e3,
        accuracy=np.array([float(row[_ACCURACY_COLUMN] or "nan") for row in rows]) / 100,
        graphs=_read_graphs(directory),
        cut_off=np.array([is_cut_off(architecture) for architecture in architectures]),
    )


def _read_graphs(directory: Path) -> GraphTable:
    kernels = tuple(Kernel.parse(line) for line in (directory / "kernels.txt").read_text().splitlines())
    with gzip.open(directory / "graphs.csv.gz", "rt") as text:
        numbers = np.loadtxt(text, delimiter=",", skiprows=1, dtype=np.int64)
    summary, counts = numbers[:, : len(_SUMMARY_FIELDS)], numbers[:, len(_SUMMARY_FIELDS) :]
    named = dict(zip(_SUMMARY_FIELDS, summary.T.astype(np.float64), strict=True))
    run = counts[:, : len(kernels)].astype(np.float64)
    return GraphTable(
        kernels=KernelArrays.of(kernels),
        run=run,
        written=counts[:, len(kernels) :].astype(np.float64),
        # Other frameworks ran these networks, with trained weights: nothing is merged there.
        launched=run,
        compiled=run,
        depth=named["depth"],
        weight_bytes=named["weight_bytes"],
        peak_bytes=named["peak_activation_bytes"],
    )


def describe(architecture: str) -> GraphFeatures:
    """Return the features of one network, from its ONNX graph."""
    from fleetfit_api.suite import Precision
    from fleetfit_operator.predict.graph_features import model_features

    from fleetfit_training.graph_builder import GraphBuilder
    from fleetfit_training.network_families import cell_network

    graph = GraphBuilder("cells", Precision.FP32)
    output = cell_network(graph, operations_of(architecture), classes=CLASSES)
    return model_features(graph.build(output, check=False), architecture)


def convert(source: Path, directory: Path, workers: int = 2) -> None:
    """Write the table of features beside a copy of the latencies."""
    directory.mkdir(parents=True, exist_ok=True)
    with gzip.open(source, "rt", newline="") as file:
        content = file.read()
    architectures = [row["architecture"] for row in csv.DictReader(content.splitlines())]
    with ProcessPoolExecutor(workers) as pool:
        features = list(_with_progress(pool.map(describe, architectures, chunksize=50), len(architectures)))
    kernels = sorted(
        {kernel.uncounted for each in features for kernel in each.parsed_kernels if kernel.written},
        key=lambda kernel: kernel[:-2],
    )
    (directory / "kernels.txt").write_text("".join(f"{kernel}\n" for kernel in kernels))
    _write_gzip(directory / "graphs.csv.gz", _table(features, kernels))
    _write_gzip(directory / "latency_ms.csv.gz", content)


def _table(features: Sequence[GraphFeatures], kernels: Sequence[Kernel]) -> str:
    position = {kernel: index for index, kernel in enumerate(kernels)}
    names = [f"{kind}{index}" for kind in ("run", "written") for index in range(len(kernels))]
    lines = [",".join([*_SUMMARY_FIELDS, *names])]
    for each in features:
        counts = np.zeros((2, len(kernels)), dtype=np.int64)
        for kernel in each.parsed_kernels:
            if kernel.written:
                counts[:, position[kernel.uncounted]] = kernel.run, kernel.written
        lines.append(
            ",".join(map(str, [*(getattr(each, name) for name in _SUMMARY_FIELDS), *counts.ravel()]))
        )
    return "\n".join(lines) + "\n"


def _with_progress(features: Iterator[GraphFeatures], total: int) -> Iterator[GraphFeatures]:
    for number, each in enumerate(features, 1):
        if number % _PROGRESS_EVERY == 0 or number == total:
            print(f"{number} of {total} networks described", file=sys.stderr)  # noqa: T201 - a command's progress
        yield each


def _write_gzip(path: Path, content: str) -> None:
    # Without name and time the same content is the same file.
    path.write_bytes(gzip.compress(content.encode(), compresslevel=9, mtime=0))


def main() -> None:
    """Convert the published file."""
    parser = argparse.ArgumentParser(prog="python -m fleetfit_training.nasbench201", description=__doc__)
    parser.add_argument(
        "source", type=Path, help="latencies as published: architecture, accuracy, one column a device"
    )
    parser.add_argument("--output", type=Path, default=NASBENCH_DIR)
    arguments = parser.parse_args()
    convert(arguments.source, arguments.output)


if __name__ == "__main__":
    main()
