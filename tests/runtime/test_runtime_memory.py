"""Several models in one process within a memory budget: what does not fit is drained for, or refused with figures."""

import asyncio
from pathlib import Path

import pytest
from fleetfit_api.model_status import ModelPhase
from fleetfit_api.reasons import Reason
from fleetfit_runtime.engine.memory_budget import (
    Footprints,
    MemoryBudget,
    MemoryShort,
    default_budget_bytes,
)
from fleetfit_runtime.probe.cgroup import CgroupFacts
from runtime_models import assignment, saved, scale_model
from runtime_node import Node


async def test_new_variant_that_does_not_fit_beside_the_old_one_takes_its_place(
    node: Node, tmp_path: Path
) -> None:
    node.assign(assignment(saved(tmp_path, "a", scale_model(2.0)), "two"))
    await node.until_phase(ModelPhase.READY)
    memory = node.engine.memory
    assert node.keeper.served is not None
    memory.settle(node.keeper.served.memory_ticket, 16 << 20)
    memory.total_bytes = memory.held_bytes + 1000
    seen: set[str] = set()

    def served() -> bool:
        seen.add(node.keeper.reason)
        return node.keeper.served is not None and node.keeper.served.variant == "three"

    node.assign(assignment(saved(tmp_path, "b", scale_model(3.0)), "three"))
    await node.until(served)
    assert Reason.MAKING_ROOM in seen
    status, answer = await node.infer([1.0, 1.0, 1.0])
    assert (status, answer["model_version"]) == (200, "three")


async def test_model_that_does_not_fit_at_all_is_refused_with_figures_and_the_others_serve(
    node: Node, tmp_path: Path
) -> None:
    two = assignment(saved(tmp_path, "a", scale_model(2.0)), "two")
    node.assign(two)
    await node.until_phase(ModelPhase.READY)
    before = node.table.get("digits")
    node.engine.memory.total_bytes = node.engine.memory.held_bytes + 1000
    other = assignment(
        saved(tmp_path, "b", scale_model(3.0)), "three", deployment="other", model_name="other"
    )
    node.assign(two, other)
    await node.until(lambda: node.agent.keepers()[-1].phase is ModelPhase.FAILED)
    keeper = node.agent.keepers()[-1]
    assert keeper.reason == Reason.INSUFFICIENT_MEMORY
    assert "needs about 8 MiB" in keeper.message
    assert "FLEETFIT_MODEL_MEMORY_BYTES" in keeper.message
    assert node.table.get("digits") is before


async def test_memory_of_a_replaced_variant_comes_back(node: Node, tmp_path: Path) -> None:
    for factor in (2.0, 3.0, 4.0):
        variant = f"v{factor:.0f}"
        node.assign(assignment(saved(tmp_path, variant, scale_model(factor)), variant))
        await node.until_phase(ModelPhase.READY, variant)
    served = node.keeper.served
    assert served is not None
    memory = node.engine.memory
    async with asyncio.timeout(10):
        while memory.held_bytes != memory.taken_bytes(served.memory_ticket):  # noqa: ASYNC110 - a thread ends it
            await asyncio.sleep(0)
    assert memory.held_bytes > 0


def test_footprints_are_remembered_and_estimated_until_then(tmp_path: Path) -> None:
    path = tmp_path / "footprints.json"
    footprints = Footprints(path)
    assert footprints.estimate("a", 1 << 20) == int(2.5 * (1 << 20)) + (8 << 20)
    footprints.learn("a", 123)
    assert Footprints(path).estimate("a", 1 << 20) == 123
    for number in range(300):
        footprints.learn(f"m{number}", 7)
    assert Footprints(path).estimate("a", 0) == 8 << 20
    path.write_text("[damaged")
    assert Footprints(path).estimate("m299", 0) == 8 << 20


def test_budget_says_whether_the_old_variant_would_make_room() -> None:
    budget = MemoryBudget(100)
    ticket = budget.reserve("a", 60)
    with pytest.raises(MemoryShort) as short:
        budget.reserve("b", 80, budget.taken_bytes(ticket))
    assert short.value.fits_alone
    with pytest.raises(MemoryShort) as short:
        budget.reserve("b", 101, budget.taken_bytes(ticket))
    assert not short.value.fits_alone
    budget.release(ticket)
    assert budget.reserve("b", 100)


def test_default_budget_is_a_share_of_the_tighter_of_limit_and_free_memory(tmp_path: Path) -> None:
    assert default_budget_bytes(1000, 500) == 400
    assert default_budget_bytes(1000, 0) == 800
    assert default_budget_bytes(0, 0) == 0
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 8 kB\nMemFree: 1 kB\nMemAvailable: 4 kB\n")
    assert CgroupFacts(tmp_path).available_memory_bytes() == 4096
