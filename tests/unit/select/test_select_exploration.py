"""Trials of variants on few nodes, with what a fleet of nodes makes of them over time."""

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from fleetfit_api.model_status import ModelPhase, ModelStatus
from fleetfit_api.node_inference import Assignment
from fleetfit_api.prediction import Evidence
from fleetfit_operator.fleet.choice import Choice, LatencyPrediction
from fleetfit_operator.fleet.measurements import known_measurements
from fleetfit_operator.fleet.snapshot import FleetNode
from fleetfit_operator.select.assignment import next_assignment
from fleetfit_operator.select.choose import choose
from fleetfit_operator.select.exploration import Explorer, Trials, explore
from fleetfit_operator.select.policy import Policy, policy_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.fleet_builders import (
    KEY,
    assigned,
    deployment,
    digest,
    fleet_node,
    hardware_class,
    later,
    report,
    suite,
    variant,
)

ACCURACIES = {"a": 0.95, "b": 0.94, "c": 0.93, "d": 0.60}
MODELS = suite(*(variant(name, accuracy) for name, accuracy in ACCURACIES.items()))


def rules(share: float = 0.25, loss: float = 0.05, **spec: Any) -> Policy:
    exploration = {"maxNodesShare": share, "maxExpectedLoss": loss}
    selection = {"exploration": exploration, "minimumDwellSeconds": 100, **spec.pop("selection", {})}
    return policy_of(deployment(selection=selection, qoe={"latencyTargetMilliseconds": 10}, **spec), MODELS)


def with_assignment(node: FleetNode, assignment: Assignment | None, state: ModelStatus | None) -> FleetNode:
    inference = fleet_node(assignment=assignment, report=state).inference
    return replace(node, inference=inference)


class Fleet:
    """Nodes that do at once what they are told, unless a variant is one that they cannot run or never get ready."""

    def __init__(self, count: int, policy: Policy, classes: Iterable[str] = ("x86",)) -> None:
        self.policy = policy
        self.seconds = 0.0
        names = list(classes)
        self.nodes = {
            f"n{i}": replace(fleet_node(f"n{i}"), hardware_class=hardware_class(names[i % len(names)]))
            for i in range(count)
        }
        self.slow_ms: dict[str, float] = {}
        self.broken: dict[str, str] = {}
        self.stuck: set[str] = set()
        self.paused = False
        self.trials = Trials({}, None)
        self.log: list[str] = []

    def predictions(self, node: FleetNode) -> dict[str, LatencyPrediction]:
        measured = {each.variant: each for each in known_measurements(node, KEY, MODELS.spec.variants)}
        in_class = {
            each.variant
            for other in self.nodes.values()
            if other.class_name == node.class_name
            for each in known_measurements(other, KEY, MODELS.spec.variants)
        }
        predicted = {}
        for name in ACCURACIES:
            evidence = Evidence.HARDWARE_CLASS if name in in_class else Evidence.REFERENCE_RUN
            predicted[name] = LatencyPrediction(0.005, evidence, log_sigma=0.1)
            if name in measured:
                seconds = measured[name].latency_p95_seconds
                predicted[name] = LatencyPrediction(seconds, Evidence.MEASURED, log_sigma=0.01)
        return predicted

    def choices(self) -> dict[str, Choice]:
        now = later(self.seconds)
        return {
            name: choose(self.policy, node, self.predictions(node), now) for name, node in self.nodes.items()
        }

    def plan(self) -> dict[str, Choice]:
        base = self.choices()
        explorers = [
            Explorer(node, base[name], may_begin=not self.paused, may_go_on=True)
            for name, node in self.nodes.items()
        ]
        self.trials = explore(self.policy, explorers, later(self.seconds))
        return {**base, **self.trials.choices}

    def step(self, seconds: float = 10.0) -> None:
        self.seconds += seconds
        now = later(self.seconds)
        for name, choice in self.plan().items():
            node = self.nodes[name]
            before = node.assignment(KEY)
            made = next_assignment(self.policy, node, choice, True, now)
            assert made is not None
            if before is None or before.variant != made.variant:
                self.log.append(f"{name}:{made.variant}")
            self.nodes[name] = with_assignment(node, made, self.act(made, node.report(KEY)))

    def act(self, told: Assignment, before: ModelStatus | None) -> ModelStatus:
        serving = before.serving_variant if before else ""
        if told.variant in self.broken:
            reason = self.broken[told.variant]
            return report(told.variant, ModelPhase.FAILED, reason=reason, servingVariant=serving)
        if told.variant in self.stuck:
            return report(told.variant, ModelPhase.DOWNLOADING, servingVariant=serving)
        seconds = self.slow_ms.get(told.variant, 5.0) / 1000
        timed = {
            "latencyP50Seconds": seconds, "latencyP95Seconds": seconds, "samples": 100, "source": "WarmUp",
        }  # fmt: skip
        return report(told.variant, warmUp=timed)

    def assignments(self) -> dict[str, Assignment]:
        found = {name: node.assignment(KEY) for name, node in self.nodes.items()}
        return {name: each for name, each in found.items() if each is not None}

    def exploring(self) -> dict[str, str]:
        return {name: each.variant for name, each in self.assignments().items() if each.exploring}

    def variants(self) -> set[str]:
        return {each.variant for each in self.assignments().values()}


def settled(policy: Policy, count: int = 8, classes: Iterable[str] = ("x86",)) -> Fleet:
    """A fleet whose nodes all serve the best variant and whose dwell is over."""
    fleet = Fleet(count, policy, classes)
    fleet.policy = rules(share=0)
    fleet.step()
    fleet.policy = policy
    fleet.nodes = {
        name: with_assignment(
            node, told.model_copy(update={"decided_from": policy.decided_from}), node.report(KEY)
        )
        for name, node in fleet.nodes.items()
        if (told := node.assignment(KEY)) is not None
    }
    fleet.seconds = 1000.0
    fleet.log.clear()
    return fleet


def test_what_nobody_has_measured_is_tried_once_and_left_when_it_is_measured() -> None:
    fleet = settled(rules())
    fleet.slow_ms = {"b": 50.0, "c": 50.0}
    fleet.step()
    first = fleet.exploring()
    assert sorted(first.values()) == ["b", "c"], "two of eight nodes, and not the one that costs too much"
    for name, tried in first.items():
        told = fleet.assignments()[name]
        assert told.reason.startswith(
            f"tries {tried} until it is measured, since no node of the class has run it"
        )
        assert "an expected loss of 0.0" in told.reason
        assert told.runner_up is not None
        assert told.runner_up.variant == "a"
        assert told.would_change == ""
    for _ in range(30):
        fleet.step()
    assert fleet.variants() == {"a"}
    assert fleet.exploring() == {}
    assert len(fleet.log) == 4, "there and back, on two nodes"


def test_a_variant_that_turns_out_better_is_kept_and_found_by_its_class() -> None:
    fleet = settled(rules())
    fleet.slow_ms = {"b": 5.0}
    pessimistic = {"b": LatencyPrediction(0.0104, Evidence.REFERENCE_RUN, log_sigma=0.05)}
    name = next(iter(fleet.nodes))
    node = fleet.nodes[name]
    told = assigned("b", exploring=True, decidedFrom=fleet.policy.decided_from, assignedAt=later(990))
    trying = with_assignment(node, told, fleet.act(told, None))
    measured = {
        **fleet.predictions(node),
        **pessimistic,
        "b": LatencyPrediction(0.005, Evidence.MEASURED, log_sigma=0.01),
        "a": LatencyPrediction(0.02, Evidence.MEASURED, log_sigma=0.01),
    }
    choice = choose(fleet.policy, trying, measured, later(1000))
    after = explore(fleet.policy, [Explorer(trying, choice, True, True)] * 8, later(1000))
    assert after.choices == {}
    made = next_assignment(fleet.policy, trying, choice, True, later(1000))
    assert made is not None
    assert (made.variant, made.exploring, made.assigned_at) == ("b", False, later(990))


def test_deciding_again_changes_nothing_and_no_node_is_tried_on_twice_at_a_time() -> None:
    fleet = settled(rules(share=0.5))
    fleet.stuck = {"b", "c"}
    fleet.step()
    trying = fleet.exploring()
    assert sorted(trying.values()) == ["b", "c"], "one node of a class at a time for each variant"
    before = fleet.assignments()
    for _ in range(5):
        fleet.step()
        assert fleet.assignments() == before
    assert fleet.trials.recheck_s == pytest.approx(550)


def test_every_class_tries_for_itself() -> None:
    fleet = settled(rules(share=0.5), classes=("x86", "arm"))
    fleet.stuck = {"b", "c"}
    fleet.step()
    tried = sorted((fleet.nodes[name].class_name, each) for name, each in fleet.exploring().items())
    assert tried == [("arm", "b"), ("arm", "c"), ("x86", "b"), ("x86", "c")]


@pytest.mark.parametrize("reason", ["CorruptModel", "WarmUpFailed"])
def test_what_fails_in_a_trial_costs_the_class_one_node_once(reason: str) -> None:
    fleet = settled(rules())
    fleet.broken = {"b": reason, "c": reason}
    for _ in range(40):
        fleet.step(50)
    assert fleet.variants() == {"a"}
    assert len(fleet.log) == 4
    remembered = [
        (f.variant, f.reason) for each in fleet.assignments().values() for f in each.failed_variants
    ]
    assert sorted(remembered) == [("b", reason), ("c", reason)]


def test_a_trial_that_never_gets_ready_ends_at_the_deadline_and_is_not_begun_again() -> None:
    fleet = settled(rules())
    fleet.stuck = {"b", "c"}
    for _ in range(11):
        fleet.step(50)
    assert len(fleet.exploring()) == 2
    for _ in range(40):
        fleet.step(50)
    assert fleet.variants() == {"a"}
    assert len(fleet.log) == 4
    reasons = {f.reason for each in fleet.assignments().values() for f in each.failed_variants}
    assert reasons == {"NotMeasuredInTime"}


@pytest.mark.parametrize(("p95_s", "goes_on"), [(0.0, True), (0.005, False)])
def test_a_timing_that_was_disturbed_ends_no_trial(p95_s: float, goes_on: bool) -> None:
    fleet = settled(rules(share=0.5))
    fleet.stuck = {"b", "c"}
    fleet.step()
    name, tried = next(iter(fleet.exploring().items()))
    timed = {
        "variant": tried, "sha256": digest(tried), "latencyP95Seconds": p95_s, "samples": 0,
        "disturbedP95Seconds": 0.009,
    }  # fmt: skip
    told = fleet.assignments()[name].to_json() | {"measuredVariants": [timed]}
    fleet.nodes[name] = with_assignment(fleet.nodes[name], Assignment.model_validate(told), None)
    assert fleet.plan()[name].exploring is goes_on


@pytest.mark.parametrize(
    ("share", "loss", "count"),
    [(0.0, 1.0, 8), (0.1, 1.0, 9), (0.5, 0.0, 8), (0.5, 0.009, 8)],
)
def test_nothing_is_tried_without_the_share_or_beyond_the_loss(share: float, loss: float, count: int) -> None:
    fleet = settled(rules(share, loss), count)
    for _ in range(3):
        fleet.step()
    assert fleet.log == []
    assert fleet.exploring() == {}


def test_pinned_nodes_nodes_that_dwell_and_paused_rollouts_begin_no_trial() -> None:
    pins = [{"name": "p", "variant": "a", "nodeNames": [f"n{i}" for i in range(8)]}]
    pinned = settled(rules(share=0.5, selection={"pins": pins}))
    pinned.step()
    assert pinned.exploring() == {}

    dwelling = settled(rules(share=0.5))
    dwelling.seconds = 59.0
    dwelling.step(0)
    assert dwelling.exploring() == {}
    assert dwelling.trials.recheck_s == pytest.approx(51)
    dwelling.step(52)
    assert len(dwelling.exploring()) == 2

    paused = settled(rules(share=0.5))
    paused.paused = True
    paused.step()
    assert paused.exploring() == {}


def test_an_edit_that_forbids_exploration_brings_the_nodes_back() -> None:
    fleet = settled(rules())
    fleet.stuck = {"b", "c"}
    fleet.step()
    assert len(fleet.exploring()) == 2
    fleet.policy = rules(share=0)
    fleet.step()
    assert fleet.exploring() == {}
    assert fleet.variants() == {"a"}
    assert all(not each.failed_variants for each in fleet.assignments().values())


@settings(deadline=None, max_examples=15)
@given(
    share=st.floats(0.0, 0.5),
    loss=st.floats(0.0, 0.5),
    count=st.integers(1, 8),
    slow_ms=st.dictionaries(st.sampled_from("abcd"), st.floats(1.0, 60.0)),
    stuck=st.sets(st.sampled_from("bcd")),
    broken=st.sets(st.sampled_from("bcd")),
    seed=st.integers(0, 99),
)
def test_trials_keep_their_bounds_at_any_time_and_come_to_an_end(
    share: float,
    loss: float,
    count: int,
    slow_ms: dict[str, float],
    stuck: set[str],
    broken: set[str],
    seed: int,
) -> None:
    fleet = settled(rules(share, loss), count, classes=("x86", "arm"))
    fleet.slow_ms, fleet.stuck, fleet.broken = slow_ms, stuck, dict.fromkeys(broken, "CorruptModel")
    shuffler = random.Random(seed)
    for _ in range(24):
        planned = fleet.plan()
        for choice in planned.values():
            if choice.exploring:
                assert choice.chosen is not None
                assert not choice.chosen.infeasible_because
                best = max(each.qoe for each in choice.candidates.values() if not each.infeasible_because)
                assert best - choice.chosen.qoe <= loss + 1e-6
        shuffled = list(fleet.nodes.items())
        shuffler.shuffle(shuffled)
        fleet.nodes = dict(shuffled)
        assert fleet.plan() == planned
        fleet.step(700)
        assert len(fleet.exploring()) <= share * count + 1e-9
    assert fleet.exploring() == {}
    before = fleet.assignments()
    fleet.step(700)
    assert fleet.assignments() == before
