"""Who may fetch ahead: those whose turn is near, and nobody else."""

from typing import Any

from fleetfit_api.deployment import Rollout
from fleetfit_api.model_status import ModelPhase
from fleetfit_api.names import NodeName
from fleetfit_operator.fleet.progress import RolloutNode
from fleetfit_operator.rollout.plan import plan_rollout
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.fleet_builders import later, report, rollout_node
from tests.unit.rollout.rollout_simulation import SimulatedNode, Simulation
from tests.unit.rollout.test_rollout_properties import ANY_NODE, ROLLOUTS


def rules(canaries: int = 1, **over: Any) -> Rollout:
    return Rollout.model_validate({"canary": {"nodesPerClass": canaries}, **over})


def upcoming(rollout: Rollout, *nodes: RolloutNode) -> dict[str, int]:
    return dict(plan_rollout(rollout, nodes, later(0)).upcoming)


def flying(name: str) -> RolloutNode:
    return rollout_node(name, has="b", report=report("b", ModelPhase.LOADING, servingVariant="a"))


def failing(name: str) -> RolloutNode:
    return rollout_node(
        name, has="b", report=report("b", ModelPhase.FAILED, reason="CorruptModel", servingVariant="a")
    )


def test_the_next_two_waves_are_near_and_come_in_their_order() -> None:
    nodes = [flying("a"), *(rollout_node(name) for name in "gfedcb")]
    assert upcoming(rules(maxUnavailable=2), *nodes) == {"b": 1, "c": 1, "d": 2, "e": 2}


def test_a_node_that_may_change_now_fetches_for_itself() -> None:
    nodes = [rollout_node(name) for name in "abcd"]
    assert upcoming(rules(maxUnavailable=1), *nodes) == {"b": 1, "c": 2}
    assert upcoming(rules(0, maxUnavailable="100%"), *nodes) == {}


def test_nodes_without_anything_wait_for_the_canary_with_it() -> None:
    nodes = [rollout_node(name, has=None) for name in "abc"]
    assert upcoming(rules(maxUnavailable="100%"), *nodes) == {"b": 1, "c": 1}


def test_no_node_fetches_what_has_failed_too_often() -> None:
    assert upcoming(rules(), failing("a"), rollout_node("b"), rollout_node("c", wanted="c")) == {}
    assert upcoming(rules(maxFailedNodes=1), failing("a"), rollout_node("b"), rollout_node("c")) == {"c": 1}


def test_who_has_or_wants_nothing_new_or_does_not_answer_fetches_nothing() -> None:
    away = rollout_node("d", absent=True)
    idle = [rollout_node("b", has="b"), rollout_node("c", wanted=None), away]
    assert upcoming(rules(), flying("a"), *idle) == {}


def test_a_pause_does_not_end_it() -> None:
    nodes = [flying("a"), rollout_node("b"), rollout_node("c")]
    assert upcoming(rules(paused=True, maxUnavailable=1), *nodes) == {"b": 1, "c": 2}


@settings(deadline=None)
@given(ROLLOUTS, st.lists(ANY_NODE, max_size=9, unique_by=lambda node: node.name))
def test_any_state_names_only_nodes_that_wait_and_no_wave_is_too_large(
    rollout: dict[str, Any], nodes: list[RolloutNode]
) -> None:
    plan = plan_rollout(Rollout.model_validate(rollout), nodes, later(0))
    by_name = {node.name: node for node in nodes}
    assert not plan.moves & plan.upcoming.keys()
    for name, waves in plan.upcoming.items():
        assert 1 <= waves <= 2
        assert not by_name[name].absent
        assert by_name[name].wanted not in (None, by_name[name].assigned)
    assert plan_rollout(Rollout.model_validate(rollout), nodes[::-1], later(0)).upcoming == plan.upcoming


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(0, 3), st.integers(1, 12))
def test_whoever_has_to_wait_is_told_ahead_of_its_turn(limit: int, canaries: int, count: int) -> None:
    nodes = [SimulatedNode(NodeName(f"n{number:02d}"), load_ticks=number % 3) for number in range(count)]
    fleet = Simulation(rules(canaries, maxUnavailable=limit), nodes)
    told: set[str] = set()
    first = True
    for _ in range(100):
        plan = fleet.advance()
        assert first or plan.moves <= told
        told |= plan.upcoming.keys()
        first = False
    assert all(node.serving == "b" for node in nodes)
    assert not plan.upcoming
