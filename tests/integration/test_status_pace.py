"""How often a node whose figures wander all the time writes to the real API server, by a clock of its own."""

import asyncio
import random
from datetime import UTC, datetime

from fleetfit_api.model_status import Measured, MeasurementSource, ModelPhase, ModelStatus
from fleetfit_api.node_inference import NodeInference, NodeInferenceStatus
from fleetfit_api.node_telemetry import NodeTelemetry
from fleetfit_kube.client import ApiClient
from fleetfit_kube.resources import NODE_INFERENCES
from fleetfit_runtime.agent.reporter import ReportTiming, StatusReporter

SECONDS, STEP_S = 1800, 10
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def wandering(rng: random.Random) -> NodeInferenceStatus:
    p50_s = rng.uniform(0.001, 0.1)
    measured = Measured(
        latency_p50_seconds=p50_s, latency_p95_seconds=2 * p50_s, samples=512, source=MeasurementSource.LIVE
    )
    model = ModelStatus(
        namespace="d",
        deployment="m",
        model_name="m",
        variant="a",
        sha256="a" * 64,
        phase=ModelPhase.READY,
        serving_variant="a",
        measured=measured,
    )
    telemetry = NodeTelemetry(
        governor="schedutil",
        temperature_celsius=rng.choice([40.0, 60.0, 80.0]),
        power_watts=rng.choice([5.0, 10.0]),
        cpu_load=rng.choice([0.0, 0.5]),
    )
    return NodeInferenceStatus(models=[model], telemetry=telemetry)


async def test_half_an_hour_of_a_wandering_node_is_one_write_a_minute(
    admin: ApiClient, namespace: str
) -> None:
    name, rng, now_s = f"pace-{namespace}", random.Random(1), [0.0]
    body = {"metadata": {"name": name}, "spec": {"leaderEpoch": 1}}
    created = await admin.apply(NODE_INFERENCES, body, field_manager="test")
    status = [wandering(rng)]
    timing = ReportTiming(now=lambda: NOW, rng=rng, clock=lambda: now_s[0])
    reporter = StatusReporter(
        admin, name, lambda _written, _now: status[0], changed=asyncio.Event(), timing=timing
    )
    reporter.seen(NodeInference.model_validate(created))
    versions = {created["metadata"]["resourceVersion"]}
    try:
        for second in range(0, SECONDS, STEP_S):
            now_s[0], status[0] = float(second), wandering(rng)
            await reporter.report()
            found = await admin.get(NODE_INFERENCES, name)
            versions.add(found["metadata"]["resourceVersion"])
        shown = found["status"]["telemetry"]
    finally:
        await admin.delete(NODE_INFERENCES, name)
    assert shown["governor"] == "schedutil"
    # The first write says that the model is ready; from then on it is one a minute.
    assert SECONDS / 60 <= len(versions) - 1 <= SECONDS / 60 + 1
