"""Times the reference set: the fingerprint by which the operator predicts what other models take on this node.

Takes 1.5 to 2 seconds per provider on a free core and stays below some 6 seconds at a tenth of one. It blocks: call
it from a thread, before models are loaded, when nothing else runs. Knows neither the cluster nor the agent.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np
import onnxruntime as ort
from fleetfit_api.node_inference import ReferenceRun, ReferenceTime
from onnxruntime.capi.onnxruntime_pybind11_state import (
    EPFail,
    Fail,
    InvalidArgument,
    InvalidGraph,
    RuntimeException,
)
from onnxruntime.capi.onnxruntime_pybind11_state import (
    NotImplemented as NotImplementedByProvider,
)

from fleetfit_runtime.probe.networks import REFERENCE_NETWORKS, SET_VERSION, network_bytes
from fleetfit_runtime.probe.reference_timing import Clock, RoundLength, TimedWork
from fleetfit_runtime.provider_options import with_options

# ONNX Runtime's errors share no base class; the last two come from its Python part.
_ONNXRUNTIME_ERRORS = (
    EPFail,
    Fail,
    InvalidArgument,
    InvalidGraph,
    NotImplementedByProvider,
    RuntimeException,
    RuntimeError,
    ValueError,
)
_ELEMENT_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


@dataclass(frozen=True, slots=True)
class ReferenceBudget:
    """How long a reference run takes.

    Attributes:
        round_length: Length of one round of one network.
        min_rounds: Rounds before the run may end, unless the deadline passes.
        target_s: After this many seconds no further round begins.
        deadline_s: After this many seconds even a begun round ends, once every network was timed.
        stable_spread: The run ends early when the spread of all networks is below this.
    """

    round_length: RoundLength = field(default_factory=RoundLength)
    min_rounds: int = 3
    target_s: float = 1.5
    deadline_s: float = 5.0
    stable_spread: float = 0.02


def run_reference_set(
    providers: Sequence[str],
    intra_op_threads: int,
    clock: Clock = time.perf_counter,
    budget: ReferenceBudget | None = None,
) -> list[ReferenceRun]:
    """Time the reference set on each provider that really runs here and return one run per provider, in order.

    A provider that this ONNX Runtime lacks, or that its sessions silently replace, has no run. A network that a
    provider cannot load or run is left out of its run.
    """
    available = set(ort.get_available_providers())
    runs = (
        _run_provider(provider, intra_op_threads, clock, budget or ReferenceBudget())
        for provider in dict.fromkeys(providers)
        if provider in available
    )
    return [run for run in runs if run is not None]


def _run_provider(
    provider: str, intra_op_threads: int, clock: Clock, budget: ReferenceBudget
) -> ReferenceRun | None:
    works = [work for name in REFERENCE_NETWORKS if (work := _load(name, provider, intra_op_threads))]
    if not works:
        return None
    time_interleaved(works, clock, budget)
    timings = {work.name: work.timing() for work in works}
    return ReferenceRun(
        provider=provider,
        set_version=SET_VERSION,
        intra_op_threads=intra_op_threads,
        spread=round(median(timing.spread for timing in timings.values()), 4),
        times=[
            ReferenceTime(
                name=name,
                latency_p50_seconds=timing.latency_p50_s,
                latency_p95_seconds=timing.latency_p95_s,
                latency_mean_seconds=timing.latency_mean_s,
            )
            for name, timing in timings.items()
        ],
    )


def time_interleaved(works: Sequence[TimedWork], clock: Clock, budget: ReferenceBudget) -> None:
    """Time all works in turns, round by round, until their times are stable or the budget is spent."""
    begin = clock()
    for round_number in range(1, 1000):
        for work in works:
            if round_number > 1 and clock() - begin > budget.deadline_s:
                return
            work.time_round(clock, budget.round_length)
        if round_number < budget.min_rounds:
            continue
        stable = all(work.timing().spread < budget.stable_spread for work in works)
        if stable or clock() - begin > budget.target_s:
            return


def _load(name: str, provider: str, intra_op_threads: int) -> TimedWork | None:
    """Return a network that is warm on the provider, or None where the provider does not run it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = intra_op_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Threads that wait in a loop use up the quota of a small node; the engine's sessions do not spin either.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(
            network_bytes(name), options, providers=with_options([provider], intra_op_threads)
        )
        if session.get_providers()[0] != provider:
            return None
        inputs = {
            value.name: np.full(value.shape, 0.5, _ELEMENT_TYPES[value.type])
            for value in session.get_inputs()
        }
        for _ in range(2):
            session.run(None, inputs)
    except _ONNXRUNTIME_ERRORS:
        return None
    return TimedWork(name, lambda: session.run(None, inputs))
