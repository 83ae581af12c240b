"""What uncertainty does to a choice: when a node changes, whom it asks, and what is said about it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from fleetfit_api.prediction import Contribution, Evidence
from fleetfit_operator.fleet.choice import Choice, LatencyPrediction, QoeEstimate, QoeFacts
from fleetfit_operator.fleet.snapshot import FleetNode
from fleetfit_operator.select.asking import ask_share
from fleetfit_operator.select.assignment import next_assignment
from fleetfit_operator.select.choose import choose
from fleetfit_operator.select.policy import Policy, policy_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.fleet_builders import assigned, deployment, fleet_node, latencies, later, suite, variant


def policy(*variants: dict[str, Any], target_ms: float = 5.0, **spec: Any) -> Policy:
    qoe = {"latencyTargetMilliseconds": target_ms, **spec.pop("qoe", {})}
    selection = {"minimumDwellSeconds": 0, **spec.pop("selection", {})}
    return policy_of(deployment(qoe=qoe, selection=selection, **spec), suite(*variants))


def prediction(
    p95_ms: float, log_sigma: float = 0.0, evidence: Evidence = Evidence.REFERENCE_RUN
) -> LatencyPrediction:
    return LatencyPrediction(p95_ms / 1000, evidence, log_sigma=log_sigma)


def running(rules: Policy, name: str, **over: Any) -> FleetNode:
    return fleet_node(assignment=assigned(name, decidedFrom=rules.decided_from, **over))


def name_of(choice: Choice) -> str | None:
    return choice.chosen.variant.name if choice.chosen else None


BEST = {**variant("best", 1.0), "requirements": {"providers": ["CUDAExecutionProvider"]}}


@pytest.mark.parametrize(
    ("rival_ms", "rival_sigma", "sigmas", "expected"),
    [
        (8.0, 0.0, 1.0, "rival"),
        (8.0, 0.3, 1.0, "old"),
        (8.0, 0.3, 0.0, "rival"),
        (8.0, 0.3, 3.0, "old"),
        (6.0, 0.3, 3.0, "rival"),
    ],
)
def test_an_uncertain_gain_must_be_larger_but_never_beyond_a_tenth(
    rival_ms: float, rival_sigma: float, sigmas: float, expected: str
) -> None:
    rules = policy(variant("old", 1.0), variant("rival", 1.0), selection={"hysteresisSigmas": sigmas})
    predictions = {
        "old": prediction(9.0, 0.02, Evidence.MEASURED),
        "rival": prediction(rival_ms, rival_sigma),
    }
    choice = choose(rules, running(rules, "old"), predictions, later(0))
    assert name_of(choice) == expected
    if expected == "old":
        assert "as the gain is uncertain by 0." in choice.reason


def test_a_rival_that_is_surely_better_wins_where_the_best_is_too_uncertain() -> None:
    rules = policy(variant("old", 0.8), variant("sure", 0.86), variant("unsure", 1.0))
    predictions = {
        "old": prediction(1.0, 0.01, Evidence.MEASURED),
        "sure": prediction(1.0, 0.01),
        "unsure": prediction(5.0, 0.35),
    }
    choice = choose(rules, running(rules, "old"), predictions, later(0))
    assert choice.runner_up is not None
    assert choice.runner_up.qoe > choice.candidates["sure"].qoe
    assert name_of(choice) == "sure"
    assert "sure is surely better than what ran here" in choice.reason
    assert "unsure 0.89 (accuracy 1.000, 5 ms) may be better still" in choice.reason
    again = choose(rules, running(rules, "sure"), predictions, later(0))
    assert name_of(again) == "sure"


def test_the_reason_has_the_interval_the_weights_and_the_api_figures() -> None:
    rules = policy(variant("only", 0.9), qoe={"profile": "frugal", "latencyPercentile": 90})
    known = LatencyPrediction(
        0.004, Evidence.HARDWARE_CLASS, latency_p50_s=0.002, log_sigma=0.1, energy_j=0.5, memory_bytes=7
    )
    choice = choose(rules, fleet_node(), {"only": known}, later(0))
    assert choice.reason == (
        "only is the only variant that may run here: QoE 1.00 (accuracy 0.900, predicted p90 3.43 ms (2.91 to 4.05) "
        "of 5 ms target, from the prediction and what nodes of its class timed); "
        "weights of profile frugal: accuracy 1, latency 1, energy 0.5, memory 0.25"
    )
    made = next_assignment(rules, fleet_node(), choice, True, later(0))
    assert made is not None
    assert made.predicted is not None
    assert made.predicted.latency_low_seconds == pytest.approx(0.0033933, rel=1e-4)
    assert made.predicted.latency_high_seconds == pytest.approx(0.0047151, rel=1e-4)
    assert (made.predicted.energy_joules, made.predicted.memory_bytes) == (0.5, 7)


@dataclass
class Users:
    """They like the variants as told, by accuracy."""

    likes: dict[float, QoeEstimate]
    asked: list[QoeFacts] = field(default_factory=list)

    def adjusted(self, facts: Sequence[QoeFacts]) -> Sequence[QoeEstimate]:
        self.asked.extend(facts)
        return [self.likes[each.accuracy] for each in facts]


def test_what_users_say_moves_the_choice_and_is_told() -> None:
    rules = policy(variant("exact", 1.0), variant("quick", 0.5), qoe={"profile": "frugal"})
    users = Users({1.0: QoeEstimate(0.4, 0.05, 30.0), 0.5: QoeEstimate(0.8, 0.05, 12.0)})
    predictions = latencies(exact=5.0, quick=1.0)
    choice = choose(rules, fleet_node(), predictions, later(0), users)
    assert name_of(choice) == "quick"
    assert choice.chosen is not None
    assert (choice.chosen.qoe, choice.chosen.prior_qoe, choice.chosen.qoe_sigma) == (0.8, 0.5, 0.05)
    assert "by the formula QoE 0.50, moved by the ratings of 12 users" in choice.reason
    assert users.asked[0] == QoeFacts(
        accuracy=1.0, best_accuracy=1.0, latency_s=0.005, latency_target_s=0.005, energy_share=1.0,
        memory_share=1.0, prior=1.0,
    )  # fmt: skip


def test_ratings_that_are_disabled_change_nothing() -> None:
    rules = policy(variant("exact", 1.0), variant("quick", 0.5), qoe={"ratings": {"enabled": False}})
    users = Users({1.0: QoeEstimate(0.0, 0.0, 30.0), 0.5: QoeEstimate(1.0, 0.0, 30.0)})
    predictions = latencies(exact=5.0, quick=1.0)
    assert choose(rules, fleet_node(), predictions, later(0), users) == choose(
        rules, fleet_node(), predictions, later(0)
    )
    assert not users.asked


def test_a_variant_without_a_latency_is_not_put_to_the_users() -> None:
    rules = policy(variant("exact", 1.0), variant("quick", 0.5))
    users = Users({0.5: QoeEstimate(0.8, 0.0, 1.0)})
    assert name_of(choose(rules, fleet_node(), latencies(quick=1.0), later(0), users)) == "quick"


def lead(gain: float, sigma: float, **ratings: Any) -> tuple[Policy, Choice]:
    """A choice whose chosen variant leads by a gain that is uncertain by sigma."""
    rules = policy(variant("a", 0.9), variant("b", 0.8), qoe={"ratings": {"askShare": 0.4, **ratings}})
    choice = choose(rules, fleet_node(), latencies(a=1.0, b=1.0), later(0))
    chosen, rival = choice.candidates["a"], choice.candidates["b"]
    assert choice.chosen is chosen
    led = replace(chosen, qoe=0.5 + gain, qoe_sigma=sigma), replace(rival, qoe=0.5, qoe_sigma=0.0)
    return rules, replace(choice, chosen=led[0], runner_up=led[1])


@pytest.mark.parametrize(
    ("gain", "share"),
    [(-0.01, 0.4), (0.0, 0.4), (0.05, 0.4), (0.1, 0.3), (0.2, 0.2), (0.26, 0.1), (0.3, 0.0)],
)
def test_users_are_asked_the_more_the_less_certain_the_lead_is(gain: float, share: float) -> None:
    assert ask_share(*lead(gain, 0.1)) == pytest.approx(share)


def test_nobody_is_asked_where_ratings_cannot_change_anything() -> None:
    assert ask_share(*lead(0.0, 0.1, enabled=False)) == 0.0
    assert ask_share(*lead(0.0, 0.1, askShare=0)) == 0.0
    rules, choice = lead(0.0, 0.1)
    assert ask_share(rules, replace(choice, pinned=True)) == 0.0
    assert ask_share(rules, replace(choice, runner_up=None)) == 0.0
    assert ask_share(*lead(0.1, 0.0)) == 0.0
    assert ask_share(*lead(0.0, 0.0)) == 0.4


@settings(deadline=None)
@given(st.floats(0.0, 4.0), st.lists(st.floats(-0.25, 0.25), max_size=8))
def test_a_lead_that_trembles_moves_the_share_at_most_once(sigmas: float, trembles: list[float]) -> None:
    rules, choice = lead(0.1 * sigmas, 0.1)
    shares = [ask_share(rules, choice)]
    for tremble in trembles:
        _, moved = lead(max(0.0, 0.1 * (sigmas + tremble)), 0.1)
        shares.append(ask_share(rules, moved, shares[-1]))
    assert sum(before != after for before, after in pairwise(shares)) <= 1
    assert all(0 <= share <= 0.4 for share in shares)


def test_the_share_is_written_when_it_changes_a_step_and_stays_otherwise() -> None:
    rules = policy(variant("a", 0.9), variant("b", 0.9), qoe={"ratings": {"askShare": 0.4}})
    unsure = {"a": prediction(5.0, 0.3), "b": prediction(5.05, 0.3)}
    node = fleet_node()
    made = next_assignment(rules, node, choose(rules, node, unsure, later(0)), True, later(0))
    assert made is not None
    assert made.ask_share == 0.4
    node = fleet_node(assignment=made)
    slightly = {"a": prediction(5.0, 0.3), "b": prediction(5.2, 0.3)}
    assert next_assignment(rules, node, choose(rules, node, slightly, later(1)), True, later(1)) == made
    certain = {"a": prediction(5.0, 0.3), "b": prediction(500.0, 0.3)}
    told = next_assignment(rules, node, choose(rules, node, certain, later(2)), True, later(2))
    assert told is not None
    assert told.ask_share == 0.0
    assert told.assigned_at == made.assigned_at


def test_the_largest_contributions_are_told() -> None:
    rules = policy(variant("a"))
    factors = {"kernel": 1.5, "memory": 0.5, "depth": 1.01, "width": 0.98, "threads": 1.3, "cache": 1.2}
    contributions = tuple(Contribution(feature=name, factor=factor) for name, factor in factors.items())
    known = replace(prediction(1.0), contributions=contributions)
    made = next_assignment(
        rules, fleet_node(), choose(rules, fleet_node(), {"a": known}, later(0)), True, later(0)
    )
    assert made is not None
    assert [each.feature for each in made.contributions] == ["memory", "kernel", "threads", "cache", "width"]


def test_intervals_and_contributions_are_refreshed_with_news_only() -> None:
    rules = policy(variant("a", 0.9), variant("b", 0.5))
    first = {"a": prediction(1.0, 0.10), "b": prediction(1.0, 0.10)}
    made = next_assignment(rules, fleet_node(), choose(rules, fleet_node(), first, later(0)), True, later(0))
    node = fleet_node(assignment=made)
    moved = {
        "a": replace(prediction(1.1, 0.12), contributions=(Contribution(feature="x", factor=2.0),)),
        "b": prediction(1.2, 0.09),
    }
    assert next_assignment(rules, node, choose(rules, node, moved, later(1)), True, later(1)) == made
    measured = {**moved, "a": replace(moved["a"], evidence=Evidence.MEASURED)}
    told = next_assignment(rules, node, choose(rules, node, measured, later(2)), True, later(2))
    assert told is not None
    assert told.predicted is not None
    assert told.predicted.latency_p95_seconds == pytest.approx(0.0011)
    assert [each.feature for each in told.contributions] == ["x"]
