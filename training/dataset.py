"""The measurements that the predictor is trained on, as files that are kept with the code.

One directory per machine: `graphs.jsonl` (features), `measurements.csv` and `reference_runs.csv` (times in
microseconds, one row per setting and graph or network), `provenance.json` (how they were measured). A setting is a
number of threads with a CPU quota; for training each setting is a node of its own.
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetfit_api.node_inference import ReferenceRun, ReferenceTime
from fleetfit_api.suite import GraphFeatures, Precision

DATA_DIR = Path(__file__).parent / "data"
_FILES = ("graphs.jsonl", "measurements.csv", "reference_runs.csv")
_TIME_COLUMNS = ["p50_us", "mean_us", "p95_us", "spread"]


@dataclass(frozen=True, slots=True)
class MeasuredGraph:
    """A graph and what it costs."""

    name: str
    family: str
    precision: Precision
    features: GraphFeatures


@dataclass(frozen=True, slots=True)
class Times:
    """Figures of one piece of work in microseconds, and the relative spread of its rounds."""

    p50_us: float
    mean_us: float
    p95_us: float
    spread: float

    def row(self) -> list[str]:
        """Return the columns of a CSV row, five digits each."""
        return [f"{value:.5g}" for value in (self.p50_us, self.mean_us, self.p95_us, self.spread)]


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to run graphs on a machine."""

    threads: int
    cores: float

    @property
    def name(self) -> str:
        """Name in the files, such as t1-q0.3."""
        return f"t{self.threads}-q{self.cores:g}"


@dataclass(frozen=True, slots=True)
class MachineData:
    """All measurements of one machine.

    Attributes:
        machine: Name of the machine.
        graphs: The graphs by name.
        times: Times by (setting, graph).
        reference_runs: The setting's fingerprint, by setting.
    """

    machine: str
    graphs: Mapping[str, MeasuredGraph]
    times: Mapping[tuple[str, str], Times]
    reference_runs: Mapping[str, ReferenceRun]


def write_machine(directory: Path, data: MachineData, provenance: Mapping[str, Any]) -> None:
    """Write the measurements of one machine, replacing what is there."""
    directory.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps(
            {
                "name": graph.name,
                "family": graph.family,
                "precision": graph.precision.value,
                "features": graph.features.to_json(),
            },
            separators=(",", ":"),
        )
        for graph in data.graphs.values()
    ]
    (directory / "graphs.jsonl").write_text("\n".join(lines) + "\n")
    _write_csv(
        directory / "measurements.csv",
        ["setting", "graph", *_TIME_COLUMNS],
        ([setting, graph, *times.row()] for (setting, graph), times in data.times.items()),
    )
    _write_csv(
        directory / "reference_runs.csv",
        ["setting", "threads", "set_version", "network", *_TIME_COLUMNS],
        (
            [setting, run.intra_op_threads, run.set_version, time.name, *_reference_times(run, time).row()]
            for setting, run in data.reference_runs.items()
            for time in run.times
        ),
    )
    (directory / "provenance.json").write_text(json.dumps(provenance, indent=1) + "\n")


def read_machines(root: Path = DATA_DIR) -> list[MachineData]:
    """Return the measurements of all machines."""
    return [_read_machine(path.parent) for path in sorted(root.glob("*/measurements.csv"))]


def data_digest(root: Path = DATA_DIR) -> str:
    """Return the SHA-256 digest of all data that training reads."""
    digest = hashlib.sha256()
    for path in sorted(root.glob("*/measurements.csv")):
        for name in _FILES:
            digest.update((path.parent / name).read_bytes())
    return digest.hexdigest()


def _read_machine(directory: Path) -> MachineData:
    graphs = {}
    for line in (directory / "graphs.jsonl").read_text().splitlines():
        entry = json.loads(line)
        graphs[entry["name"]] = MeasuredGraph(
            entry["name"],
            entry["family"],
            Precision(entry["precision"]),
            GraphFeatures.model_validate(entry["features"]),
        )
    times = {
        (row["setting"], row["graph"]): Times(*(float(row[column]) for column in _TIME_COLUMNS))
        for row in _read_csv(directory / "measurements.csv")
    }
    rows: dict[str, list[dict[str, str]]] = {}
    for row in _read_csv(directory / "reference_runs.csv"):
        rows.setdefault(row["setting"], []).append(row)
    runs = {setting: _reference_run(entries) for setting, entries in rows.items()}
    return MachineData(directory.name, graphs, times, runs)


def _reference_run(rows: Sequence[Mapping[str, str]]) -> ReferenceRun:
    return ReferenceRun(
        provider="CPUExecutionProvider",
        set_version=rows[0]["set_version"],
        intra_op_threads=int(rows[0]["threads"]),
        spread=float(rows[0]["spread"]),
        times=[
            ReferenceTime(
                name=row["network"],
                latency_p50_seconds=float(row["p50_us"]) * 1e-6,
                latency_p95_seconds=float(row["p95_us"]) * 1e-6,
                latency_mean_seconds=float(row["mean_us"]) * 1e-6,
            )
            for row in rows
        ],
    )


def _reference_times(run: ReferenceRun, time: ReferenceTime) -> Times:
    return Times(
        time.latency_p50_seconds * 1e6,
        time.latency_mean_seconds * 1e6,
        time.latency_p95_seconds * 1e6,
        run.spread,
    )


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
