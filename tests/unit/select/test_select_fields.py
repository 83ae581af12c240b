"""Nodes that cannot be told apart are scored once, and every node gets what it would get alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from fleetfit_api.model_status import ModelPhase
from fleetfit_operator.fleet.choice import LatencyPrediction, QoeEstimate, QoeFacts
from fleetfit_operator.fleet.snapshot import FleetNode
from fleetfit_operator.select.choose import choose, choose_from
from fleetfit_operator.select.fields import Fields
from fleetfit_operator.select.policy import Policy, policy_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.fleet_builders import (
    assigned,
    deployment,
    digest,
    fleet_node,
    latencies,
    later,
    report,
    suite,
    variant,
)

NAMES = ("a", "b", "c")
CPU, GPU = "CPUExecutionProvider", "CUDAExecutionProvider"


class Users:
    """Like everything a little less than the formula; count how often they were asked."""

    def __init__(self) -> None:
        self.asked = 0

    def adjusted(self, facts: Sequence[QoeFacts]) -> Sequence[QoeEstimate]:
        self.asked += 1
        return [QoeEstimate(0.9 * each.prior, 0.01, 3.0) for each in facts]


def policy(**spec: Any) -> Policy:
    members = (
        variant("a", 0.9),
        variant("b", 0.95, requirements={"providers": [GPU]}),
        variant("c", 0.99, requirements={"memoryBytes": 2000}),
    )
    return policy_of(deployment(**spec), suite(*members))


RULES = policy(qoe={"latencyTargetMilliseconds": 5, "constraints": {"maxLatencyMilliseconds": 10}})
# Two predictions that are equal and yet not the same object, and one that is another.
PREDICTED = (
    latencies(0.1, a=2, b=4, c=9.5),
    latencies(0.1, a=2, b=4, c=9.5),
    latencies(0.1, a=8, b=12, c=9.5),
)


def failure(name: str) -> dict[str, str]:
    return {"variant": name, "sha256": digest(name), "reason": "CorruptModel"}


@st.composite
def nodes(draw: st.DrawFn) -> FleetNode:
    has = draw(st.sampled_from([None, *NAMES]))
    edited = draw(st.booleans())
    failed = draw(st.lists(st.sampled_from(NAMES), unique=True))
    decided_from = "another" if edited else RULES.decided_from
    phase = draw(st.sampled_from([ModelPhase.READY, ModelPhase.LOADING]))
    provider = draw(st.sampled_from(["", CPU, GPU]))
    return fleet_node(
        f"n{draw(st.integers(0, 99))}",
        assignment=has
        and assigned(has, decidedFrom=decided_from, failedVariants=[failure(name) for name in failed]),
        report=has and report(has, phase, provider=provider),
        memory_bytes=draw(st.sampled_from([None, 1000.0, 5000.0])),
        providers=draw(st.sampled_from([(CPU,), (GPU, CPU)])),
        telemetry={"availableProviders": draw(st.sampled_from([[], [CPU]]))},
        labels=draw(st.sampled_from([{}, {"pinned": "yes"}])),
    )


@settings(deadline=None)
@given(st.lists(st.tuples(nodes(), st.sampled_from(PREDICTED)), max_size=12), st.booleans())
def test_every_node_gets_what_it_would_get_alone(
    fleet: list[tuple[FleetNode, Mapping[str, LatencyPrediction]]], rated: bool
) -> None:
    users = Users() if rated else None
    fields = Fields(RULES, users)
    for node, predicted in fleet:
        shared = choose_from(RULES, node, fields.of(RULES, node, predicted), later(1))
        assert shared == choose(RULES, node, predicted, later(1), users)


def test_a_thousand_nodes_alike_are_scored_once() -> None:
    users = Users()
    fields = Fields(RULES, users)
    found = [fields.of(RULES, fleet_node(f"n{i}"), PREDICTED[0]) for i in range(1000)]
    assert users.asked == 1
    assert all(each is found[0] for each in found)


@pytest.mark.parametrize(
    "other",
    [
        {"memory_bytes": 1000.0},
        {"providers": (GPU, CPU)},
        {"telemetry": {"memoryTotalBytes": 1000}},
        {"telemetry": {"availableProviders": [GPU]}},
        {"assignment": assigned("c", decidedFrom=RULES.decided_from)},
        {"assignment": assigned("c", failedVariants=[failure("a")], decidedFrom=RULES.decided_from)},
        {"assignment": assigned("c"), "report": report("c", provider=GPU)},
    ],
)
def test_a_node_that_stands_in_another_way_is_scored_for_itself(other: dict[str, Any]) -> None:
    users = Users()
    fields = Fields(RULES, users)
    fields.of(RULES, fleet_node("n1"), PREDICTED[0])
    fields.of(RULES, fleet_node("n2", **other), PREDICTED[0])
    assert users.asked == 2


def test_a_node_whose_labels_give_other_accuracies_is_scored_for_itself() -> None:
    fields = Fields(RULES)
    local = policy_of(deployment(), suite(variant("a", 0.5)))
    shared = fields.of(RULES, fleet_node("n1"), PREDICTED[0])
    assert fields.of(local, fleet_node("n2"), PREDICTED[0]).by_name["a"].variant.accuracy == 0.5
    assert fields.of(RULES, fleet_node("n3"), PREDICTED[0]) is shared


def test_predictions_that_are_gone_lend_their_place_to_no_others() -> None:
    fields = Fields(RULES)
    for milliseconds in range(1, 200):
        found = fields.of(RULES, fleet_node(), latencies(a=milliseconds))
        assert found.by_name["a"].latency.latency_p95_s == milliseconds / 1000
