"""Figures that were taken on a busy or hot node are taken again, with a real model, once the node is calm."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fleetfit_api.model_status import BUSY_LOAD, ModelPhase
from fleetfit_runtime.agent.timing_repeats import TimingKeeper, TimingPolicy, TimingRepeats, was_disturbed
from fleetfit_runtime.engine.model_session import Array
from fleetfit_runtime.engine.run_watch import RunLimit
from fleetfit_runtime.engine.served_model import ServedModel
from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.probe.load import Load
from fleetfit_runtime.probe.node_probe import NodeReading
from runtime_models import assignment, saved, scale_model
from runtime_node import Node

CALM = NodeReading(load=Load(0.1, 0.1))
BUSY = NodeReading(load=Load(0.9, 0.2))
HOT = NodeReading(load=Load(0.1, 0.1), throttled=True)
POLICY = TimingPolicy(first_wait_s=10.0, most_repeats=3)


@pytest.fixture
async def served(node: Node, tmp_path: Path) -> ServedModel:
    node.assign(assignment(saved(tmp_path, "double", scale_model(2.0)), "double"))
    await node.until_phase(ModelPhase.READY)
    model = node.keeper.served
    assert model is not None
    return model


def disturb(model: ServedModel, *, load: float = BUSY_LOAD, throttled: bool = False) -> None:
    update = {"cpu_load": load, "throttled": throttled, "latency_p95_seconds": 9.0}
    model.warm_up = model.warm_up.model_copy(update=update)


def timed_at(repeats: TimingRepeats, model: ServedModel, end_s: int) -> list[int]:
    """Return the seconds at which a model was due, when every timing is disturbed too."""
    seconds = []
    for second in range(end_s):
        if repeats.due(second, CALM, [model]) is model:
            repeats.timed(second, model)
            seconds.append(second)
    return seconds


async def test_quiet_figures_are_not_taken_again(served: ServedModel) -> None:
    disturb(served, load=BUSY_LOAD - 0.05)
    assert timed_at(TimingRepeats(POLICY), served, 1000) == []


@pytest.mark.parametrize("how", [{"load": BUSY_LOAD}, {"load": 0.0, "throttled": True}])
async def test_disturbed_ones_are_ever_more_rarely_and_not_for_ever(
    served: ServedModel, how: dict[str, float]
) -> None:
    disturb(served, **how)  # type: ignore[arg-type] # mypy takes the dictionary's floats for the flag too
    assert timed_at(TimingRepeats(POLICY), served, 10_000) == [10, 30, 70]


async def test_a_node_that_is_not_calm_waits(served: ServedModel) -> None:
    disturb(served)
    repeats = TimingRepeats(POLICY)
    assert repeats.due(0, CALM, [served]) is None
    assert repeats.due(50, BUSY, [served]) is None
    assert repeats.due(50, HOT, [served]) is None
    assert repeats.due(50, CALM, [served]) is served


async def test_the_longest_waiting_comes_first_and_a_replaced_model_is_forgotten(
    served: ServedModel, node: Node, tmp_path: Path
) -> None:
    disturb(served)
    repeats = TimingRepeats(POLICY)
    repeats.due(0, CALM, [served])
    node.assign(assignment(saved(tmp_path, "other", scale_model(2.0)), "other"))
    await node.until_phase(ModelPhase.READY, "other")
    other = node.keeper.served
    assert other is not None
    disturb(other)
    assert repeats.due(30, CALM, [other, served]) is served
    assert repeats.due(30, CALM, [other]) is None
    assert repeats.due(40, CALM, [other]) is other


async def test_new_figures_replace_the_disturbed_ones(served: ServedModel, node: Node) -> None:
    disturb(served)
    changes: list[None] = []
    policy = TimingPolicy(first_wait_s=0.0, most_repeats=100)
    keeper = TimingKeeper(
        TimingRepeats(policy),
        lambda: list(node.table),
        lambda: CALM,
        node.engine.time_again,
        lambda: changes.append(None),
    )
    before = served.warm_up
    await keeper.look()
    assert served.warm_up.latency_p95_seconds < 1.0 < before.latency_p95_seconds
    assert served.warm_up.samples > 0
    assert len(changes) == 1
    status, reply = await node.infer([1.0, 2.0, 3.0])
    assert (status, reply["model_version"]) == (200, "double")
    # On a machine that is busy this time too, the model stays due.
    assert (TimingRepeats(policy).due(0, CALM, [served]) is served) == was_disturbed(served.warm_up)


async def test_timing_that_hangs_is_let_go_and_blamed_on_its_model(served: ServedModel, node: Node) -> None:
    good, limit = served.model, served.guard.in_thread.limit
    goes_on, at_work = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(_names: Sequence[str], _inputs: Mapping[str, Array], _options: Any, /) -> list[Array]:
        loop.call_soon_threadsafe(at_work.set)
        goes_on.wait()
        return []

    before = served.warm_up
    served.model = replace(good, run_with=hang)
    served.guard.in_thread.limit = RunLimit(0.0, 1, least_s=0.2)
    timing = asyncio.create_task(node.engine.time_again(served))
    await at_work.wait()
    assert served.guard._record.marked
    with pytest.raises(ModelFailure, match=r"did not end within 0\.2 s"):
        await timing
    assert served.warm_up is before
    status, reply = await node.infer([1.0, 2.0, 3.0])
    assert (status, reply["model_version"]) == (200, "double")
    # Others are timed by another thread meanwhile.
    served.model, served.guard.in_thread.limit = good, limit
    assert (await node.engine.time_again(served)).samples > 0
    goes_on.set()
