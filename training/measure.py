"""Measures the training graphs on this machine: `python -m training.measure --machine NAME --budget-s 3600`.

Every setting (threads x CPU quota) counts as a node with a reference run of its own. Settings, graphs and passes are
interleaved and figures come from the quieter half of the passes, so a neighbour spoils little; how much it spoilt is
in the column `spread`. Quotas need root. A first set takes some 3 minutes a pass; on a quiet machine take 6 passes.
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnxruntime as ort
from fleetfit_api.node_inference import ReferenceRun
from fleetfit_operator.predict.graph_features import model_features
from fleetfit_runtime.probe.reference import run_reference_set
from fleetfit_runtime.probe.reference_timing import RoundLength, TimedWork

from training.cpu_quota import CpuQuota
from training.dataset import DATA_DIR, MachineData, MeasuredGraph, Setting, Times, write_machine
from training.random_graphs import TrainingGraph, training_graphs

THREADS = (1, 2)
CORES = (1.0, 0.7, 0.5, 0.3, 0.2, 0.1)
_PROVIDER = "CPUExecutionProvider"
_ELEMENT_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_ROUND = RoundLength(slice_s=0.03, stopped_slice_s=0.15)


@dataclass(slots=True)
class _Measurement:
    """What was measured so far in one setting."""

    works: dict[str, TimedWork]
    reference_runs: list[ReferenceRun] = field(default_factory=list)


def measure(
    graphs: Iterable[TrainingGraph],
    settings: Iterable[Setting],
    quota: CpuQuota,
    may_go_on: Callable[[], bool],
) -> Mapping[Setting, _Measurement]:
    """Time all graphs in all settings, pass by pass, at least one pass, as long as `may_go_on` says."""
    quota.set_cores(max(CORES))
    graphs = list(graphs)
    works = {threads: {graph.name: _work(graph, threads) for graph in graphs} for threads in THREADS}
    measurements = {
        setting: _Measurement(
            {name: TimedWork(name, work.run) for name, work in works[setting.threads].items()}
        )
        for setting in settings
    }
    while True:
        for setting, measurement in measurements.items():
            quota.set_cores(setting.cores)
            measurement.reference_runs.extend(run_reference_set([_PROVIDER], setting.threads))
            for work in measurement.works.values():
                work.time_round(time.perf_counter, _ROUND)
            print(f"{setting.name}: {len(measurement.reference_runs)} passes", file=sys.stderr)  # noqa: T201 - a command
        if not may_go_on():
            return measurements


def _work(graph: TrainingGraph, threads: int) -> TimedWork:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(graph.model.SerializeToString(), options, providers=[_PROVIDER])
    inputs = {
        value.name: np.full(value.shape, 0.5, _ELEMENT_TYPES[value.type]) for value in session.get_inputs()
    }
    session.run(None, inputs)
    return TimedWork(graph.name, lambda: session.run(None, inputs))


def _times(work: TimedWork) -> Times:
    timing = work.timing()
    return Times(
        timing.latency_p50_s * 1e6, timing.latency_mean_s * 1e6, timing.latency_p95_s * 1e6, timing.spread
    )


def _machine_data(
    machine: str, graphs: Iterable[TrainingGraph], measurements: Mapping[Setting, _Measurement]
) -> MachineData:
    return MachineData(
        machine=machine,
        graphs={
            graph.name: MeasuredGraph(
                graph.name, graph.family, graph.precision, model_features(graph.model, graph.name)
            )
            for graph in graphs
        },
        times={
            (setting.name, name): _times(work)
            for setting, measurement in measurements.items()
            for name, work in measurement.works.items()
        },
        # A node has one reference run; of several the least noisy stands for it.
        reference_runs={
            setting.name: min(measurement.reference_runs, key=lambda run: run.spread)
            for setting, measurement in measurements.items()
        },
    )


def _provenance(arguments: argparse.Namespace, passes: int, load: tuple[float, float]) -> dict[str, object]:
    return {
        "command": f"python -m training.measure --machine {arguments.machine} --per-kind {arguments.per_kind} "
        f"--seed {arguments.seed} --budget-s {arguments.budget_s:g}",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "kernel": platform.release()},
        "onnxruntime": ort.__version__,
        "passes": passes,
        "loadAverage": {"begin": load[0], "end": load[1]},
        "note": arguments.note,
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def main() -> None:
    """Measure and write `training/data/<machine>/`."""
    parser = argparse.ArgumentParser(prog="python -m training.measure", description=__doc__)
    parser.add_argument("--machine", required=True, help="name of the directory under training/data")
    parser.add_argument("--per-kind", type=int, default=5, help="graphs per family and precision")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--budget-s", type=float, default=900, help="no pass begins after this many seconds")
    parser.add_argument("--note", default="", help="what whoever trusts the data should know")
    arguments = parser.parse_args()
    begin, load = time.perf_counter(), os.getloadavg()[0]
    graphs = list(training_graphs(arguments.per_kind, arguments.seed))
    settings = [Setting(threads, cores) for cores in CORES for threads in THREADS]
    with CpuQuota("fleetfit-measure") as quota:
        measured = measure(graphs, settings, quota, lambda: time.perf_counter() - begin < arguments.budget_s)
    passes = min(len(measurement.reference_runs) for measurement in measured.values())
    write_machine(
        DATA_DIR / arguments.machine,
        _machine_data(arguments.machine, graphs, measured),
        _provenance(arguments, passes, (load, os.getloadavg()[0])),
    )


if __name__ == "__main__":
    main()
