"""The status: measured figures are damped, conditions keep their time, the log and the metrics say what they should."""

import asyncio
import io
import logging
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from fleetfit_api.model_status import Measured, MeasurementSource, ModelPhase, ModelStatus, RatingSummary
from fleetfit_api.node_inference import NodeInferenceStatus
from fleetfit_api.node_telemetry import NodeTelemetry
from fleetfit_runtime.agent.node_memory import NodeMemory, Remembered
from fleetfit_runtime.agent.status import NodeState, build_status, damp_measured
from fleetfit_runtime.telemetry.counts import LATENCY_BOUNDS_S, Histogram
from fleetfit_runtime.telemetry.json_log import JsonFormatter

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STATE = NodeState(3, 1, None, "http://10.0.0.1:8080", (), NodeTelemetry())


def status(p95_s: float, samples: int = 100, source: str = "Live", variant: str = "a") -> NodeInferenceStatus:
    measured = Measured(
        latency_p50_seconds=p95_s / 2,
        latency_p95_seconds=p95_s,
        samples=samples,
        source=MeasurementSource(source),
    )
    model = ModelStatus(
        namespace="d",
        deployment="m",
        variant=variant,
        phase=ModelPhase.READY,
        serving_variant=variant,
        measured=measured,
    )
    return NodeInferenceStatus(models=[model])


@pytest.mark.parametrize(
    ("new", "may_move", "written"),
    [
        (status(1.04), True, False),
        (status(1.06), True, True),
        (status(1.06), False, False),
        (status(1.0, samples=200), True, True),
        (status(1.0, source="WarmUp"), True, True),
        (status(1.0, variant="b"), False, True),
    ],
    ids=["within-5-percent", "beyond", "too-soon", "twice-the-samples", "other-source", "other-variant"],
)
def test_figures_are_written_when_they_say_something_new(
    new: NodeInferenceStatus, may_move: bool, written: bool
) -> None:
    before = status(1.0)
    assert (damp_measured(new, before, may_move=may_move) != before) is written


@pytest.mark.parametrize(
    ("voices", "may_move", "written"), [(5.5, True, False), (6.0, True, True), (9.0, False, False)]
)
def test_ratings_are_written_when_they_say_something_new_and_not_at_once(
    voices: float, may_move: bool, written: bool
) -> None:
    def rated(voices: float) -> NodeInferenceStatus:
        figures = status(1.0)
        summary = RatingSummary(variant="a", sha256="a" * 64, voices=voices, score=0.5)
        figures.models[0] = figures.models[0].model_copy(update={"ratings": [summary]})
        return figures

    before = rated(5.0)
    assert (damp_measured(rated(voices), before, may_move=may_move) != before) is written
    assert damp_measured(status(1.0), before, may_move=False) == before


def test_condition_keeps_its_time_while_its_status_stays() -> None:
    first = build_status(STATE, [], NodeInferenceStatus(), NOW)
    assert first.conditions[0].status == "True"
    later = build_status(STATE, [], first, NOW + timedelta(hours=1))
    assert later == first
    stale = NodeState(3, 1, 0, STATE.endpoint, (), NodeTelemetry())
    flipped = build_status(stale, [], later, NOW + timedelta(hours=2))
    assert flipped.conditions[0].status == "False"
    assert flipped.conditions[0].last_transition_time == NOW + timedelta(hours=2)


def test_memory_survives_and_a_refusing_disk_is_no_end(tmp_path: Path) -> None:
    memory = NodeMemory(tmp_path / "memory.json")
    assert memory.read() == Remembered()
    memory.write(Remembered(uid="u", epoch=4))
    assert NodeMemory(tmp_path / "memory.json").read().epoch == 4
    NodeMemory(tmp_path / "absent" / "memory.json").write(Remembered(epoch=5))


def test_histogram_is_cumulative() -> None:
    histogram = Histogram()
    for seconds in (0.0, LATENCY_BOUNDS_S[0], 0.3, 99.0):
        histogram.observe(seconds)
    buckets = dict(histogram.cumulative())
    assert (buckets["0.0001"], buckets["0.25"], buckets["0.5"], buckets["+Inf"]) == (2, 2, 3, 4)


def test_log_line_is_json_with_its_values() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter({"node": "n1"}))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    try:
        raise ValueError("bad")
    except ValueError:
        logger.exception("went wrong", extra={"model": "m", "path": Path("/x")})
    line = orjson.loads(stream.getvalue())
    assert (line["message"], line["level"], line["node"], line["model"]) == ("went wrong", "error", "n1", "m")
    assert (line["path"], "ValueError: bad" in line["exception"]) == ("/x", True)


async def test_lane_is_bounded_and_frees_its_place() -> None:
    from fleetfit_runtime.engine.lane import Lane, LaneFull

    lane = Lane("test", capacity=1)
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()
    first = lane.submit(lambda: asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(5))
    with pytest.raises(LaneFull):
        lane.submit(lambda: random.Random(1).random())
    gate.set()
    assert await first is True
    assert await lane.submit(lambda: 5) == 5
    lane.close()
