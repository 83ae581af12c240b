"""How often the status is written: what matters at once, what wanders at most once a minute. By a clock of its own."""

import asyncio
import random
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from fleetfit_api.base import ObjectMeta
from fleetfit_api.model_status import Measured, MeasurementSource, ModelPhase, ModelStatus, RatingSummary
from fleetfit_api.node_inference import NodeInference, NodeInferenceStatus
from fleetfit_api.node_telemetry import NodeTelemetry
from fleetfit_kube.errors import ApiError
from fleetfit_runtime.agent.reporter import ReportTiming, StatusReporter
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Server:
    """Takes statuses, and refuses the next one when told to."""

    def __init__(self) -> None:
        self.statuses: list[dict[str, Any]] = []
        self.refuses = 0

    async def apply(self, _resource: object, body: dict[str, Any], **_how: object) -> None:
        if self.refuses:
            self.refuses -= 1
            raise ApiError(503, "ServiceUnavailable", "away")
        self.statuses.append(body["status"])


class Reports:
    """A reporter with its server, its clock, and the status that the node has now."""

    def __init__(self) -> None:
        self.server = Server()
        self.now_s = 1000.0
        self.status = NodeInferenceStatus()
        client: Any = self.server
        timing = ReportTiming(now=lambda: NOW, rng=random.Random(1), clock=lambda: self.now_s)
        self.reporter = StatusReporter(
            client, "n1", lambda _written, _now: self.status, changed=asyncio.Event(), timing=timing
        )
        self.reporter.seen(NodeInference(metadata=ObjectMeta(name="n1", uid="u")))

    async def at(self, now_s: float, status: NodeInferenceStatus) -> bool:
        """Let the node have a status at a time; tell whether it was written."""
        self.now_s, self.status = 1000.0 + now_s, status
        before = len(self.server.statuses)
        await self.reporter.report()
        return len(self.server.statuses) > before


def status(
    p50_s: float = 1.0,
    source: MeasurementSource = MeasurementSource.LIVE,
    voices: float = 0.0,
    phase: ModelPhase = ModelPhase.READY,
    **telemetry: Any,
) -> NodeInferenceStatus:
    measured = Measured(
        latency_p50_seconds=p50_s,
        latency_p95_seconds=2 * p50_s,
        samples=100,
        source=source,
        throttled=telemetry.get("throttled", False),
    )
    ratings = [RatingSummary(variant="a", sha256="a" * 64, voices=voices, score=0.5)] if voices else []
    model = ModelStatus(
        namespace="d",
        deployment="m",
        variant="a",
        serving_variant="a",
        phase=phase,
        measured=measured,
        ratings=ratings,
    )
    return NodeInferenceStatus(models=[model], telemetry=NodeTelemetry(governor="schedutil", **telemetry))


wandering = st.builds(
    status,
    p50_s=st.floats(0.5, 5),
    voices=st.sampled_from([0.0, 3.0, 9.0]),
    cpu_load=st.sampled_from([0.0, 0.5, 1.0]),
    temperature_celsius=st.sampled_from([40.0, 60.0, 80.0]),
    power_watts=st.sampled_from([5.0, 10.0]),
    battery_percent=st.sampled_from([50.0, 45.0]),
)


@given(steps=st.lists(st.tuples(st.floats(0.5, 20), wandering), min_size=1, max_size=80))
async def test_what_wanders_is_written_at_most_once_a_minute(
    steps: list[tuple[float, NodeInferenceStatus]],
) -> None:
    reports = Reports()
    assert await reports.at(0, status())
    at_s, written_at_s = 0.0, [float("-inf")]
    for step_s, new in steps:
        at_s += step_s
        if await reports.at(at_s, new):
            written_at_s.append(at_s)
    gaps_s = [later - before for before, later in pairwise(written_at_s)]
    assert all(gap_s >= 60 for gap_s in gaps_s)
    # And nothing is kept back for longer than that.
    last = steps[-1][1]
    await reports.at(at_s + 61, last)
    assert not await reports.at(at_s + 200, last)


async def test_figures_get_through_while_other_things_are_written_all_the_time() -> None:
    reports = Reports()
    await reports.at(0, status())
    phases = [ModelPhase.LOADING, ModelPhase.READY]
    written = []
    for number in range(30):
        new = status(p50_s=2.0 + number, phase=phases[number % 2])
        assert await reports.at(5.0 * (number + 1), new)
        written.append(reports.server.statuses[-1]["models"][0]["measured"]["latencyP50Seconds"])
    assert len(set(written)) == 3  # at 5 s, 65 s and 125 s


@pytest.mark.parametrize(
    "new",
    [
        status(phase=ModelPhase.FAILED),
        status(source=MeasurementSource.WARM_UP),
        status(throttled=True),
        status(on_battery=True),
        status(driver_version="nvidia 560"),
        NodeInferenceStatus(telemetry=status().telemetry),
    ],
    ids=["phase", "first-of-requests", "throttled", "battery", "driver", "model-gone"],
)
async def test_what_matters_is_written_at_once(new: NodeInferenceStatus) -> None:
    reports = Reports()
    await reports.at(0, status())
    await reports.at(1, status(p50_s=3.0))
    assert await reports.at(2, new)


async def test_a_node_at_the_edge_of_throttling_does_not_write_with_every_degree() -> None:
    reports = Reports()
    await reports.at(0, status())
    writes = sum([await reports.at(second, status(throttled=second % 2 == 1)) for second in range(1, 601)])
    assert writes <= 11
    await reports.at(700, status())
    assert reports.server.statuses[-1].get("telemetry", {}).get("throttled", False) is False


async def test_a_write_that_failed_does_not_count() -> None:
    reports = Reports()
    await reports.at(0, status())
    await reports.at(100, status(p50_s=2.0))
    reports.server.refuses = 1
    reports.reporter._backoff.base_s = 0.0
    assert not await reports.at(200, status(p50_s=4.0))
    assert await reports.at(201, status(p50_s=4.0))
