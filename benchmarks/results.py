"""How benchmarks report: the JSON file that all of them write, tables on standard output, facts of the machine.

Knows nothing of what is measured.
"""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

RESULTS_DIRECTORY: Final = Path("build/bench")
_PACKAGES: Final = ("numpy", "lightgbm", "onnxruntime", "scipy")
Cell = str | int | float


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    Attributes:
        value: What was measured.
        unit: Its unit, such as ratio, ms or ratings.
        baseline: What others reach in the same run, by name.
        bar: What it must reach, as in ">= 0.97"; empty without a bar.
        detail: Further figures behind it (per seed, per device), by name.
    """

    value: float
    unit: str
    baseline: Mapping[str, float] = field(default_factory=dict)
    bar: str = ""
    detail: Mapping[str, object] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """Return the figure as it is written."""
        content: dict[str, object] = {"value": self.value, "unit": self.unit, "baseline": dict(self.baseline)}
        if self.bar:
            content["bar"] = self.bar
        if self.detail:
            content["detail"] = dict(self.detail)
        return content


def write_results(name: str, figures: Mapping[str, Figure], directory: Path = RESULTS_DIRECTORY) -> Path:
    """Write `NAME.json` with the figures, the commit, the date and the machine, and return its path.

    Args:
        name: Name of the benchmark.
        figures: Figures by id.
        directory: Where to write; made when it is missing.
    """
    content = {
        "figures": {figure_id: figure.as_json() for figure_id, figure in figures.items()},
        "commit": current_commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": machine_facts(),
    }
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.json"
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    return path


def print_figures(figures: Mapping[str, Figure]) -> None:
    """Print the figures with their bars and baselines."""
    rows = [
        (
            figure_id,
            figure.value,
            figure.unit,
            figure.bar or "-",
            ", ".join(f"{name} {value:.4g}" for name, value in figure.baseline.items()) or "-",
        )
        for figure_id, figure in figures.items()
    ]
    print_table("Figures", ("figure", "value", "unit", "bar", "baselines"), rows)


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print a table with columns as wide as their widest cell; the first column is flush left, numbers right."""
    texts = [[_text(cell) for cell in row] for row in rows]
    widths = [max([len(head), *(len(row[column]) for row in texts)]) for column, head in enumerate(header)]
    numeric = [bool(rows) and not isinstance(rows[0][column], str) for column in range(len(header))]
    print(f"\n{title}")
    for row in [list(header), ["-" * width for width in widths], *texts]:
        cells = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        )
        print("  " + "  ".join(cells).rstrip())


def current_commit() -> str:
    """Return the commit of the working tree, with `+` when it differs from it; empty outside a repository."""
    root = Path(__file__).resolve().parent
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+" if commit and changed else commit


def machine_facts() -> dict[str, object]:
    """Return what figures of this machine depend on; no names of hosts or users."""
    return {
        "processor": _processor(),
        "cpus": len(os.sched_getaffinity(0)),
        "system": platform.system(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def _text(cell: Cell) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _git(directory: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 (fixed program and arguments of this file)
            ["git", *arguments],  # noqa: S607 (git is wherever the user has it)
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
