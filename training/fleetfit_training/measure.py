"""Times the graph set on this machine: one CSV file per setting, under `training/data/<machine>/`.

A setting is an execution provider, a number of threads, a CPU quota and a level of graph optimisation; for training
each setting is a device of its own. Settings, graphs and passes are interleaved and figures come from the quieter half
of the passes, so a neighbour spoils little; what a repetition would change is in the column `noise`. Quotas need root.

Graphs are timed in parts: a thousand sessions of OpenVINO in one process make every call some 50 us slower, and no node
has that many. All parts can be gone through several times, in sweeps: on a shared host some minutes are slower than
others, most of all for threads that wake each other, and a graph that was timed in one minute only would not show it.
"""

import argparse
import json
import math
import os
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from fleetfit_runtime.probe.reference_timing import RoundLength, TimedWork, quiet_timing
from fleetfit_runtime.provider_options import with_options

from fleetfit_training.cpu_quota import CpuQuota
from fleetfit_training.measurements import INDEX_FILE, Setting, Times, write_times

_ELEMENT_TYPES: Final = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_ROUND: Final = RoundLength(slice_s=0.015, stopped_slice_s=0.1)
_LEVELS: Final = {
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
}
_PART: Final = 56
Works = Mapping[str, TimedWork]


def measure(
    paths: Sequence[Path], settings: Sequence[Setting], quota: CpuQuota | None, budget_s: float
) -> Mapping[Setting, Works]:
    """Time graphs in all settings, pass by pass, at least one pass, for `budget_s` and what the last pass takes.

    Raises:
        RuntimeError: this ONNX Runtime does not run a graph on the provider of a setting.
    """
    end_s = time.perf_counter() + budget_s
    if quota:
        quota.set_cores(os.cpu_count() or 1)
    sessions: dict[tuple[str, int, str], Works] = {}
    works: dict[Setting, Works] = {}
    for setting in settings:
        key = (setting.provider, setting.threads, setting.level)
        if key not in sessions:
            sessions[key] = {path.stem: _work(path, setting) for path in paths}
        works[setting] = {name: TimedWork(name, work.run) for name, work in sessions[key].items()}
    for passes in range(1, 1000):
        for setting, each in works.items():
            if quota:
                quota.set_cores(setting.cores or os.cpu_count() or 1)
            for work in each.values():
                work.time_round(time.perf_counter, _ROUND)
            print(f"{setting.name}: {passes} passes", file=sys.stderr)  # noqa: T201 - a command's progress
        if time.perf_counter() >= end_s:
            break
    return works


def _work(path: Path, setting: Setting) -> TimedWork:
    options = ort.SessionOptions()
    options.intra_op_num_threads = setting.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = _LEVELS[setting.level]
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers: Any = with_options([setting.provider], setting.threads)
    session = ort.InferenceSession(str(path), options, providers=providers)
    if session.get_providers()[0] != setting.provider:
        raise RuntimeError(f"{setting.provider} does not run {path.stem} here")
    inputs = {
        value.name: np.full(value.shape, 0.5, _ELEMENT_TYPES[value.type]) for value in session.get_inputs()
    }
    session.run(None, inputs)
    return TimedWork(path.stem, lambda: session.run(None, inputs))


def _times(work: TimedWork) -> Times:
    timing = work.timing()
    return Times(
        timing.latency_p50_s * 1e6,
        timing.latency_mean_s * 1e6,
        timing.latency_p95_s * 1e6,
        repeat_noise(work.rounds),
    )


def median_sweep(sweeps: Sequence[Times]) -> Times:
    """Return the figures of the sweep in the middle, with the noise that the others show.

    That is the median of what any two sweeps differ by, or the noise within the only one.
    """
    ordered = sorted(sweeps, key=lambda each: each.mean_us)
    middle = ordered[(len(ordered) - 1) // 2]
    pairs = [math.log(slow.mean_us / quick.mean_us) for quick, slow in combinations(ordered, 2)]
    return replace(middle, noise=float(np.median(pairs))) if pairs else middle


def repeat_noise(rounds: Sequence[Sequence[float]]) -> float:
    """Return how far the figures of every other round lie from those of the rest: what a repetition would change."""
    if len(rounds) < 2:
        return 0.0
    halves = [quiet_timing(rounds[begin::2]).latency_mean_s for begin in (0, 1)]
    return abs(math.log(halves[0] / halves[1]))


def _provenance(passes: int, load: float) -> dict[str, object]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor or platform.processor() or "unknown",
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "onnxruntime": ort.__version__,
        "passes": passes,
        "loadAverage": {"begin": load, "end": os.getloadavg()[0]},
    }


def run(arguments: argparse.Namespace) -> None:
    """Measure and write the files."""
    load = os.getloadavg()[0]
    settings = [Setting.parse(name) for name in arguments.settings]
    parts = _parts(arguments.graphs)
    limited = any(setting.cores for setting in settings)
    times: dict[Setting, dict[str, list[Times]]] = {setting: defaultdict(list) for setting in settings}
    passes: list[int] = []
    with CpuQuota("fleetfit-measure") if limited else nullcontext() as quota:
        for number, part in enumerate(parts * arguments.sweeps, 1):
            works = measure(part, settings, quota, arguments.budget_s / len(parts) / arguments.sweeps)
            for setting, each in works.items():
                for name, work in each.items():
                    times[setting][name].append(_times(work))
                passes.append(min(len(work.rounds) for work in each.values()))
            print(f"part {number} of {len(parts) * arguments.sweeps}", file=sys.stderr)  # noqa: T201 - progress
    provenance = {**_provenance(min(passes), load), "sweeps": arguments.sweeps}
    for setting, swept in times.items():
        measured = {name: median_sweep(each) for name, each in swept.items()}
        write_times(arguments.data / arguments.machine, setting, measured, provenance)


def _parts(graphs: Path) -> list[list[Path]]:
    """Return the graphs in parts that each hold some of every kind."""
    names = [entry["name"] for entry in json.loads((graphs / INDEX_FILE).read_text())]
    count = max(1, math.ceil(len(names) / _PART))
    return [[graphs / f"{name}.onnx" for name in names[begin::count]] for begin in range(count)]
