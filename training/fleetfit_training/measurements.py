"""The measurements that the predictor is trained on, as files that are kept with the code.

A directory per machine, in it a file per setting: `t1-q0.5.csv` with a row per graph (times in microseconds) and
`t1-q0.5.json` with how it was measured.
"""

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

DATA_DIR: Final = Path(__file__).parents[1] / "data"
INDEX_FILE: Final = "index.json"
_COLUMNS: Final = ["p50_us", "mean_us", "p95_us", "noise"]
_SHORT_PROVIDERS: Final = {
    "cpu": "CPUExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
}
_NAME: Final = re.compile(
    r"(?P<provider>[a-z]+)(?:-(?P<level>basic))?-t(?P<threads>\d+)(?:-q(?P<cores>[\d.]+))?"
)


@dataclass(frozen=True, slots=True)
class Times:
    """Figures of one piece of work in microseconds, and what a repetition would change, as a ratio."""

    p50_us: float
    mean_us: float
    p95_us: float
    noise: float


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to run graphs on a machine.

    Attributes:
        provider: Execution provider of ONNX Runtime.
        threads: Threads of one inference.
        cores: CPU quota in cores; 0 for none.
        level: Graph optimisation of ONNX Runtime: all or basic.
    """

    provider: str
    threads: int
    cores: float = 0.0
    level: str = "all"

    @property
    def name(self) -> str:
        """Name in the files, such as cpu-t1-q0.3 or openvino-t2."""
        short = next(short for short, provider in _SHORT_PROVIDERS.items() if provider == self.provider)
        level = "" if self.level == "all" else f"-{self.level}"
        return f"{short}{level}-t{self.threads}" + (f"-q{self.cores:g}" if self.cores else "")

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the setting of a name.

        Raises:
            ValueError: there is no such setting; the message says what one looks like.
        """
        match = _NAME.fullmatch(name)
        if match is None or match["provider"] not in _SHORT_PROVIDERS:
            raise ValueError(
                f"{name!r} is no setting: write PROVIDER-tTHREADS, such as cpu-t1, cpu-t2-q1.5 or openvino-t4; "
                f"providers are {', '.join(_SHORT_PROVIDERS)}"
            )
        provider = _SHORT_PROVIDERS[match["provider"]]
        return cls(provider, int(match["threads"]), float(match["cores"] or 0), match["level"] or "all")


def write_times(
    directory: Path, setting: Setting, times: Mapping[str, Times], provenance: Mapping[str, Any]
) -> None:
    """Write the measurements of one setting, replacing what is there."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / f"{setting.name}.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["graph", *_COLUMNS])
        for name, each in times.items():
            figures = (each.p50_us, each.mean_us, each.p95_us, each.noise)
            writer.writerow([name, *(f"{figure:.5g}" for figure in figures)])
    (directory / f"{setting.name}.json").write_text(json.dumps(provenance, indent=1) + "\n")


def read_times(path: Path) -> dict[str, Times]:
    """Return the measurements of one setting, by graph."""
    with path.open(newline="") as file:
        return {
            row["graph"]: Times(*(float(row[column]) for column in _COLUMNS)) for row in csv.DictReader(file)
        }
