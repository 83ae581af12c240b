"""All that the predictor is trained on: graphs, settings in which they were timed, public devices."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from fleetfit_operator.predict.graph_features import model_features
from fleetfit_operator.predict.graph_table import GraphTable
from fleetfit_operator.predict.kernel_costs import Counting
from fleetfit_operator.predict.kernel_groups import BoolArray, FloatArray

from fleetfit_training.graph_set import training_graphs
from fleetfit_training.measurements import DATA_DIR, read_times


@dataclass(frozen=True, slots=True)
class TimedDevice:
    """A machine in one setting.

    Attributes:
        name: Machine and setting.
        mean_s: Mean seconds by graph; NaN where a graph was not timed.
        p50_s: Medians.
        p95_s: 95th percentiles.
        noise: What a repetition would change, relative, by graph.
        measured_on: Day of the measurement.
    """

    name: str
    mean_s: FloatArray
    p50_s: FloatArray
    p95_s: FloatArray
    noise: FloatArray
    measured_on: str

    @property
    def counting(self) -> Counting:
        """Which kernels of a graph the setting runs: OpenVINO compiles what ONNX Runtime hands on."""
        provider = self.name.rpartition("/")[2].partition("-")[0]
        return Counting.COMPILED if provider == "openvino" else Counting.LAUNCHED

    @property
    def timed(self) -> BoolArray:
        """Which graphs were timed."""
        return np.isfinite(self.mean_s)


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The graph set with its times.

    Attributes:
        names: Names of the graphs.
        families: Their families.
        table: Their features.
        devices: Machines and settings.
    """

    names: tuple[str, ...]
    families: npt.NDArray[np.str_]
    table: GraphTable
    devices: tuple[TimedDevice, ...]

    def rows(self, names: tuple[str, ...]) -> npt.NDArray[np.int64]:
        """Return the rows of some graphs."""
        return np.array([self.names.index(name) for name in names])


def read_training_data(directory: Path = DATA_DIR) -> TrainingData:
    """Return the data under a directory; the graphs are built anew, from their seed.

    Raises:
        ValueError: no machine was measured there.
    """
    graphs = list(training_graphs())
    names = tuple(graph.name for graph in graphs)
    devices = tuple(_device(path, names) for path in measured_files(directory))
    if not devices:
        raise ValueError(f"no measurements under {directory}: make some with `fleetfit measure`")
    return TrainingData(
        names=names,
        families=np.array([graph.family for graph in graphs]),
        table=GraphTable.of([model_features(graph.model, graph.name) for graph in graphs]),
        devices=devices,
    )


def measured_files(directory: Path) -> list[Path]:
    """Return the files of measurements, each with its JSON beside it."""
    return [path for path in sorted(directory.glob("*/*.csv")) if path.with_suffix(".json").exists()]


def data_digest(directory: Path = DATA_DIR) -> str:
    """Return the SHA-256 digest of everything under a directory that training reads."""
    digest = hashlib.sha256()
    others = [
        *directory.glob("nasbench201/*.gz"),
        *directory.glob("nasbench201/*.txt"),
        *directory.glob("memory/*.csv"),
    ]
    for path in [*measured_files(directory), *sorted(others)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _device(path: Path, names: tuple[str, ...]) -> TimedDevice:
    times = read_times(path)
    figures = np.full((len(names), 4), np.nan)
    for row, name in enumerate(names):
        if name in times:
            each = times[name]
            figures[row] = each.mean_us * 1e-6, each.p50_us * 1e-6, each.p95_us * 1e-6, each.noise
    provenance = json.loads(path.with_suffix(".json").read_text())
    mean_s, p50_s, p95_s, noise = figures.T
    return TimedDevice(
        f"{path.parent.name}/{path.stem}", mean_s, p50_s, p95_s, noise, str(provenance["date"])
    )
