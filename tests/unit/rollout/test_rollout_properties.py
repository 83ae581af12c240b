"""Laws of the rollout, over simulated fleets with random delays, failures and absences."""

import random
from typing import Any

from fleetfit_api.deployment import Rollout
from fleetfit_api.model_status import ModelPhase
from fleetfit_api.names import NodeName
from fleetfit_operator.fleet.progress import RolloutNode
from fleetfit_operator.rollout.hardware_class import max_unavailable_nodes
from fleetfit_operator.rollout.plan import plan_rollout
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.fleet_builders import later, report, rollout_node, target
from tests.unit.rollout.rollout_simulation import SimulatedNode, Simulation

CLASSES = ["arm", "x86"]
ROLLOUTS = st.fixed_dictionaries(
    {
        "maxUnavailable": st.one_of(st.integers(1, 4), st.sampled_from(["10%", "25%", "50%", "100%"])),
        "canary": st.fixed_dictionaries({"nodesPerClass": st.integers(0, 3)}),
        "maxFailedNodes": st.integers(0, 3),
        "progressDeadlineSeconds": st.just(200),
    }
)


@st.composite
def fleets(draw: st.DrawFn, absences: bool = True, bad: bool = False) -> list[SimulatedNode]:
    away = st.builds(
        lambda start, count: frozenset(range(start, start + count)), st.integers(1, 30), st.integers(0, 8)
    )
    return [
        SimulatedNode(
            name=NodeName(f"n{number:02d}"),
            hardware_class=draw(st.sampled_from(CLASSES)),
            wanted=draw(st.sampled_from("bc")),
            assigned=(has := draw(st.sampled_from(["a", "c", None]))),
            serving=has,
            load_ticks=draw(st.integers(0, 6)),
            away=draw(away) if absences else frozenset(),
            bad=frozenset("b") if bad and draw(st.booleans()) else frozenset(),
        )
        for number in range(draw(st.integers(1, 10)))
    ]


def simulation(rules: dict[str, Any], nodes: list[SimulatedNode]) -> Simulation:
    return Simulation(Rollout.model_validate(rules), nodes)


def limit(rules: dict[str, Any], fleet: Simulation, hardware_class: str) -> int:
    present = [n for n in fleet.nodes if n.hardware_class == hardware_class and fleet.tick not in n.away]
    return max_unavailable_nodes(rules["maxUnavailable"], len(present))


@settings(max_examples=40, deadline=None)
@given(ROLLOUTS, fleets(bad=True))
def test_never_more_than_max_unavailable_change_at_the_same_time(
    rules: dict[str, Any], nodes: list[SimulatedNode]
) -> None:
    fleet = simulation(rules, nodes)
    for _ in range(60):
        plan = fleet.advance()
        for name in CLASSES:
            moved = [n for n in nodes if n.name in plan.moves and n.hardware_class == name]
            # A node that comes back in the middle of its change may exceed the limit; then nothing is added to it.
            if moved:
                assert fleet.loading(name) <= limit(rules, fleet, name)
            assert all(fleet.tick not in node.away for node in moved)


@settings(max_examples=40, deadline=None)
@given(ROLLOUTS, fleets())
def test_a_fleet_without_failures_converges_whatever_the_delays_and_absences(
    rules: dict[str, Any], nodes: list[SimulatedNode]
) -> None:
    fleet = simulation(rules, nodes)
    for _ in range(40 + 8 * len(nodes)):
        plan = fleet.advance()
    assert [each.phase for each in plan.classes] == ["Complete"] * len(plan.classes)
    assert all(node.serving == node.wanted for node in nodes)
    assert not plan.moves
    assert plan.next_check_s is None


@settings(max_examples=40, deadline=None)
@given(ROLLOUTS, fleets())
def test_a_node_that_serves_is_never_told_twice_and_always_serves_something(
    rules: dict[str, Any], nodes: list[SimulatedNode]
) -> None:
    fleet = simulation(rules, nodes)
    had = {node.name: node.serving is not None for node in nodes}
    for _ in range(60):
        fleet.advance()
        assert all(node.serving is not None for node in nodes if had[node.name])
    assert all(len(node.given) <= 1 for node in nodes)


@settings(max_examples=40, deadline=None)
@given(ROLLOUTS, st.integers(1, 12), st.integers(0, 3))
def test_a_bad_variant_reaches_only_the_canaries_and_the_tolerated(
    rules: dict[str, Any], count: int, load_ticks: int
) -> None:
    nodes = [
        SimulatedNode(NodeName(f"n{number:02d}"), load_ticks=load_ticks, bad=frozenset("b"))
        for number in range(count)
    ]
    fleet = simulation(rules, nodes)
    for _ in range(100):
        plan = fleet.advance()
    tolerated = rules["maxFailedNodes"]
    first_wave = rules["canary"]["nodesPerClass"] or max_unavailable_nodes(rules["maxUnavailable"], count)
    assert sum(bool(node.given) for node in nodes) <= tolerated + first_wave
    if count > tolerated:
        assert plan.classes[0].phase == "Stopped"
        assert not plan.moves
    assert all(node.serving == "a" for node in nodes)


@settings(max_examples=40, deadline=None)
@given(ROLLOUTS, st.integers(2, 8))
def test_a_corrected_variant_cures_a_stopped_class(rules: dict[str, Any], count: int) -> None:
    nodes = [SimulatedNode(NodeName(f"n{number:02d}"), bad=frozenset("b")) for number in range(count)]
    fleet = simulation(rules, nodes)
    for _ in range(60):
        fleet.advance()
    for node in nodes:
        node.wanted = "corrected"
    for _ in range(60):
        plan = fleet.advance()
    assert plan.classes[0].phase == "Complete"
    assert all(node.serving == "corrected" for node in nodes)


@settings(max_examples=25, deadline=None)
@given(ROLLOUTS, fleets(), st.integers(0, 20))
def test_a_pause_at_any_time_stops_all_moves_and_ends_without_a_trace(
    rules: dict[str, Any], nodes: list[SimulatedNode], pause_at: int
) -> None:
    fleet = simulation(rules, nodes)
    for _ in range(pause_at):
        fleet.advance()
    running = fleet.rollout
    fleet.rollout = running.model_copy(update={"paused": True})
    assert all(not fleet.advance().moves for _ in range(50))
    fleet.rollout = running
    for _ in range(40 + 8 * len(nodes)):
        fleet.advance()
    assert all(node.serving == node.wanted for node in nodes)


@settings(max_examples=40, deadline=None)
@given(ROLLOUTS, fleets(bad=True), st.integers(1, 40), st.integers(0, 99))
def test_an_operator_that_starts_anew_at_any_point_plans_the_same(
    rules: dict[str, Any], nodes: list[SimulatedNode], stop_at: int, seed: int
) -> None:
    fleet = simulation(rules, nodes)
    for _ in range(stop_at):
        fleet.advance()
    before = fleet.plan()
    random.Random(seed).shuffle(fleet.nodes)
    assert Simulation(fleet.rollout, fleet.nodes, fleet.tick).plan() == before


TARGETS = st.sampled_from([target(name) for name in "abc"])
REPORTS = st.one_of(st.none(), st.builds(report, st.sampled_from("abc"), st.sampled_from(list(ModelPhase))))
TIMES = st.one_of(st.none(), st.builds(later, st.integers(-2000, 2000)))
ANY_NODE = st.builds(
    RolloutNode,
    name=st.sampled_from([NodeName(f"n{number}") for number in range(9)]),
    hardware_class=st.sampled_from(["", *CLASSES]),
    wanted=st.one_of(st.none(), TARGETS),
    assigned=st.one_of(st.none(), TARGETS),
    assigned_at=TIMES,
    report=REPORTS,
    absent=st.booleans(),
    absent_since=TIMES,
    not_ready_since=TIMES,
    failed_targets=st.frozensets(TARGETS),
)


@settings(deadline=None)
@given(ROLLOUTS, st.lists(ANY_NODE, max_size=9, unique_by=lambda node: node.name))
def test_any_state_has_a_plan_that_keeps_the_rules(rules: dict[str, Any], nodes: list[RolloutNode]) -> None:
    rollout = Rollout.model_validate(rules)
    plan = plan_rollout(rollout, nodes, later(0))
    by_name = {node.name: node for node in nodes}
    for name in plan.moves:
        node = by_name[name]
        assert not node.absent
        assert node.wanted is not None
        assert node.wanted != node.assigned
    assert sum(each.nodes for each in plan.classes) == len(nodes)
    assert all(each.message and len(each.message) <= 2048 for each in plan.classes)
    assert plan.next_check_s is None or plan.next_check_s > 0
    assert plan_rollout(rollout, nodes[::-1], later(0)) == plan


def test_the_plan_of_a_large_fleet_takes_its_size_and_not_its_square() -> None:
    nodes = [rollout_node(f"n{number:05d}") for number in range(5000)]
    plan = plan_rollout(Rollout(canary={"nodesPerClass": 0}, max_unavailable="100%"), nodes, later(0))
    assert len(plan.moves) == 5000
