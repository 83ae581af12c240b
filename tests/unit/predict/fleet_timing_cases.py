"""Fleets whose nodes have timed variants, with errors that tests choose."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from fleetfit_api import ModelSuite, NodeInference
from fleetfit_api.node_telemetry import ReferenceRun
from fleetfit_api.prediction import Evidence
from fleetfit_api.suite import Variant
from fleetfit_operator.fleet.choice import LatencyPrediction
from fleetfit_operator.fleet.measurements import reference_run_digest

from tests.unit.fleet_builders import assigned, digest, suite, variant

PREDICTED_S = 0.01
FEATURES: dict[str, Any] = {
    "multiplyAccumulates": 1_000_000,
    "parameters": 1000,
    "weightBytes": 4000,
    "activationBytes": 8000,
    "operatorCount": 5,
    "depth": 5,
}
FLOAT_KERNEL = "5/7 Conv fp32 1024x576x64 g1 w9 s1 262144+147456>262144"
INTEGER_KERNEL = "5/7 QLinearConv int8 1024x576x64 g1 w9 s1 65536+36864>65536"
VARIANTS = {"exact": FLOAT_KERNEL, "lean": FLOAT_KERNEL.replace("5/7", "2/2"), "small": INTEGER_KERNEL}

Factor = Callable[[str, str], float]
"""Measured over predicted latency, by node and variant."""


class TenMilliseconds:
    """Predicts the same for everything, and remembers for which runs it was asked."""

    def __init__(self) -> None:
        self.runs: list[ReferenceRun | None] = []

    def predict(
        self, run: ReferenceRun | None, variants: Sequence[Variant]
    ) -> Mapping[str, LatencyPrediction]:
        self.runs.append(run)
        return {
            each.name: LatencyPrediction(PREDICTED_S, Evidence.REFERENCE_RUN, PREDICTED_S / 2, log_sigma=0.3)
            for each in variants
        }


def timed_suite() -> ModelSuite:
    return suite(
        *(variant(name, features={**FEATURES, "kernels": [kernel]}) for name, kernel in VARIANTS.items())
    )


def run_of(node: str) -> ReferenceRun:
    speed = 1.0 + int(digest(node)[:2], 16) / 64
    times = [
        {"name": f"net{i}", "latencyP50Seconds": speed * i, "latencyP95Seconds": speed * i}
        for i in range(1, 6)
    ]
    return ReferenceRun.model_validate(
        {"provider": "CPUExecutionProvider", "setVersion": "1", "times": times}
    )


def timing(name: str, p95_s: float, run: ReferenceRun | None, **over: Any) -> dict[str, Any]:
    return {
        "variant": name,
        "sha256": digest(name),
        "latencyP95Seconds": p95_s,
        "samples": 100,
        "referenceRun": reference_run_digest(run),
        **over,
    }


def timed_node(
    name: str, timings: Iterable[Mapping[str, Any]], run: ReferenceRun | None = None
) -> NodeInference:
    assignment = assigned("exact", measuredVariants=list(timings))
    return NodeInference.model_validate(
        {
            "metadata": {"name": name},
            "spec": {"hardwareClass": "x86", "assignments": [assignment]},
            "status": {"referenceRuns": [run] if run else []},
        }
    )


def fleet(count: int, factor: Factor) -> list[NodeInference]:
    """Nodes `edge-0`, `edge-1`, ..., each of which has timed every variant."""
    nodes = []
    for name in (f"edge-{number}" for number in range(count)):
        run = run_of(name)
        timings = [timing(each, PREDICTED_S * factor(name, each), run) for each in VARIANTS]
        nodes.append(timed_node(name, timings, run))
    return nodes


def noise(seed: int, log_sd: float) -> Factor:
    """Timings that are off by chance alone."""
    rng = np.random.default_rng(seed)
    return lambda _node, _variant: float(np.exp(rng.normal(0.0, log_sd)))
