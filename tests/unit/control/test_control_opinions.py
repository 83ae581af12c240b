"""From what nodes report to what is believed of variants, and to what nodes run."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from fleetfit_api.prediction import Evidence
from fleetfit_operator.control.opinions import FleetOpinions, local_policy
from fleetfit_operator.fleet.choice import LatencyPrediction, QoeFacts
from fleetfit_operator.fleet.snapshot import FleetNode
from fleetfit_operator.select.policy import Policy, policy_of

from tests.unit.fleet_builders import assigned, deployment, digest, fleet_node, report, suite, variant

PREDICTED = {
    "big": LatencyPrediction(0.2, Evidence.REFERENCE_RUN, log_sigma=0.1),
    "small": LatencyPrediction(0.05, Evidence.REFERENCE_RUN, log_sigma=0.1),
}


def policy(**ratings: Any) -> Policy:
    return policy_of(
        deployment(qoe={"latencyTargetMilliseconds": 100, "ratings": ratings}),
        suite(variant("big", 0.9), variant("small", 0.8)),
    )


def said(name: str, score: float, voices: float = 10.0, **over: Any) -> dict[str, Any]:
    return {"variant": name, "sha256": digest(name), "voices": voices, "score": score, **over}


def node(name: str, *ratings: dict[str, Any]) -> FleetNode:
    return fleet_node(name, assignment=assigned("big"), report=report("big", ratings=list(ratings)))


def predicted(*nodes: FleetNode) -> Mapping[Any, Any]:
    return {each.name: PREDICTED for each in nodes}


def believed(nodes: list[FleetNode], rules: Policy | None = None) -> float | None:
    """What is believed of the big variant at 0.2 s, where the formula says 0.5."""
    opinion = FleetOpinions().of(rules or policy(), nodes, predicted(*nodes))
    if opinion is None:
        return None
    return opinion.adjusted([QoeFacts(0.9, 0.9, 0.2, 0.1, 1.0, 1.0, 0.5)])[0].mean


def test_users_who_bear_the_delay_raise_what_is_believed_of_the_slow_variant() -> None:
    liked = believed([node("a", said("big", 0.9)), node("b", said("big", 0.95))])
    disliked = believed([node("a", said("big", 0.1)), node("b", said("big", 0.05))])
    assert liked is not None
    assert disliked is not None
    assert disliked < 0.45 < 0.55 < liked


@pytest.mark.parametrize(
    "nodes",
    [
        [],
        [node("a")],
        [node("a", said("gone", 0.1))],
        [node("a", said("big", 0.1, sha256="f" * 64))],
        [node("a", said("big", 0.1, voices=0.0))],
    ],
    ids=["no nodes", "no ratings", "of a variant that left", "of another file", "labels alone"],
)
def test_nobody_has_said_anything(nodes: list[FleetNode]) -> None:
    assert believed(nodes) is None


def test_ratings_that_are_disabled_do_not_count() -> None:
    assert believed([node("a", said("big", 0.1))], policy(enabled=False)) is None


def test_a_stronger_prior_gives_way_less() -> None:
    nodes = [node("a", said("big", 0.9))]
    weak, strong = believed(nodes, policy(priorStrength=4)), believed(nodes, policy(priorStrength=400))
    assert weak is not None
    assert strong is not None
    assert 0.5 < strong < weak


def test_a_rating_is_about_the_latency_that_its_users_met() -> None:
    as_predicted = believed([node("a", said("big", 0.5))])
    slower = believed([node("a", said("big", 0.5, latencyP95Seconds=0.4))])
    assert as_predicted == pytest.approx(0.5, abs=0.01)
    assert slower is not None
    assert (
        slower > 0.52
    )  # half satisfied with four times the target: such users bear more than the formula says


def test_nothing_is_learnt_anew_while_nobody_says_anything_new() -> None:
    opinions, nodes = FleetOpinions(), [node("a", said("big", 0.9)), node("b")]
    first = opinions.of(policy(), nodes, predicted(*nodes))
    opinions.begin_pass()
    again = [node("a", said("big", 0.9)), node("b"), node("c")]
    assert opinions.of(policy(), again, predicted(*again)) is first
    opinions.begin_pass()
    more = [node("a", said("big", 0.9)), node("b", said("big", 0.4))]
    assert opinions.of(policy(), more, predicted(*more)) is not first


def test_an_edit_is_judged_anew_and_what_is_gone_is_forgotten() -> None:
    opinions, nodes = FleetOpinions(), [node("a", said("big", 0.9))]
    first = opinions.of(policy(), nodes, predicted(*nodes))
    assert opinions.of(policy(priorStrength=100), nodes, predicted(*nodes)) is not first
    opinions.begin_pass()
    opinions.begin_pass()
    assert opinions.of(policy(), [], {}) is None


def test_labels_make_accuracies_local_for_the_node_alone() -> None:
    rules = policy()
    told = node("a", said("big", 0.5, voices=0.0, accuracy=0.6, labels=1000))
    local = local_policy(rules, told)
    accuracies = {each.name: each.accuracy for each in local.suite.variants}
    assert accuracies["big"] < 0.75
    assert accuracies["small"] < accuracies["big"]
    assert replace(local, suite=rules.suite) == rules
    assert local_policy(rules, node("b", said("big", 0.5))) is rules
    assert local_policy(policy(enabled=False), told).suite == rules.suite
