"""Times the reference set: the fingerprint by which the operator predicts what other models take on this node.

Takes 1.5 to 2 seconds per provider on a free core, up to 3 where the processor seems to slow down, and stays below
some 6 seconds at a tenth of a core. It blocks: call it from a thread, when as little else runs as can be. Knows neither
the cluster nor the agent.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import onnxruntime as ort
from fleetfit_api.node_telemetry import ReferenceRun, ReferenceTime
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
from fleetfit_runtime.probe.node_probe import Conditions, NodeProbe
from fleetfit_runtime.probe.reference_passes import Clocks, PassResult, ReferenceBudget, time_in_turns
from fleetfit_runtime.probe.reference_timing import TimedWork
from fleetfit_runtime.provider_attachment import attach_providers, available_providers

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
_CPU: Final = "CPUExecutionProvider"
_ELEMENT_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


def run_reference_set(
    providers: Sequence[str],
    intra_op_threads: int,
    clocks: Clocks | None = None,
    budget: ReferenceBudget | None = None,
    probe: NodeProbe | None = None,
) -> list[ReferenceRun]:
    """Time the reference set on each provider that really runs here and return one run per provider, in order.

    A provider that this ONNX Runtime lacks, or that its sessions silently replace, has no run. A network that a
    provider cannot load or run is left out of its run.
    """
    available = set(available_providers())
    clocks, budget, probe = clocks or Clocks(), budget or ReferenceBudget(), probe or NodeProbe()
    runs = []
    for provider in dict.fromkeys(providers):
        works = _load_all(provider, intra_op_threads) if provider in available else []
        if not works:
            continue
        episode = probe.begin()
        result = time_in_turns(works, clocks, budget, on_processor=provider == _CPU, after_pass=episode.look)
        runs.append(_reference_run(provider, intra_op_threads, result, episode.end()))
    return runs


def _reference_run(
    provider: str, intra_op_threads: int, result: PassResult, conditions: Conditions
) -> ReferenceRun:
    return ReferenceRun(
        provider=provider,
        set_version=SET_VERSION,
        intra_op_threads=intra_op_threads,
        spread=round(result.spread, 4),
        throttled=result.slowed or conditions.throttled,
        outlier_rounds=result.disturbed,
        governor=conditions.governor,
        driver_version=conditions.driver_version,
        times=[
            ReferenceTime(
                name=name,
                latency_p50_seconds=timing.latency_p50_s,
                latency_p95_seconds=timing.latency_p95_s,
                latency_mean_seconds=timing.latency_mean_s,
            )
            for name, timing in result.timings.items()
        ],
    )


def _load_all(provider: str, intra_op_threads: int) -> list[TimedWork]:
    return [work for name in REFERENCE_NETWORKS if (work := _load(name, provider, intra_op_threads))]


def _load(name: str, provider: str, intra_op_threads: int) -> TimedWork | None:
    """Return a network that is warm on the provider, or None where the provider does not run it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = intra_op_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Threads that wait in a loop use up the quota of a small node; the engine's sessions do not spin either.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        attached = attach_providers(options, [provider], intra_op_threads)
        session = ort.InferenceSession(network_bytes(name), options, providers=attached)
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
