"""What is said to make the runner-up win does make it win, and a little less does not."""

import re
from typing import Any

import pytest
from fleetfit_operator.fleet.choice import Choice, LatencyPrediction
from fleetfit_operator.select.choose import choose
from fleetfit_operator.select.counterfactual import would_change
from fleetfit_operator.select.policy import Policy, policy_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.fleet_builders import assigned, deployment, fleet_node, latencies, later, suite, variant

SMALL, BIG = variant("small", 0.90), variant("big", 0.99)
CLAUSE = re.compile(
    r"(its p95|the p95 of small|the p95 of big|the latency target|the accuracy weight) were (below|above) ([0-9.e+-]+)"
)


def policy(target_ms: float = 5.0, weight: float | None = None, **selection: Any) -> Policy:
    weights = {} if weight is None else {"accuracy": weight}
    qoe = {"latencyTargetMilliseconds": target_ms, "weights": weights}
    return policy_of(
        deployment(qoe=qoe, selection={"minimumDwellSeconds": 0, **selection}), suite(SMALL, BIG)
    )


def on_a_node_that_runs(rules: Policy, name: str | None, predictions: dict[str, LatencyPrediction]) -> Choice:
    node = fleet_node(assignment=assigned(name, decidedFrom=rules.decided_from)) if name else fleet_node()
    return choose(rules, node, predictions, later(0))


def test_it_is_one_plain_sentence() -> None:
    choice = on_a_node_that_runs(policy(), None, latencies(small=4.2, big=20.0))
    assert would_change(policy(), choice) == (
        "big would win if its p95 were below 5.38 ms (now 20) or the latency target were above 18.6 ms (now 5)"
    )


def test_the_accuracy_weight_is_named_where_no_latency_matters() -> None:
    weights = {"accuracy": 0, "latency": 0}
    rules = policy_of(deployment(qoe={"weights": weights}), suite(SMALL, BIG))
    choice = on_a_node_that_runs(rules, None, latencies(small=1.0, big=2.0))
    assert choice.chosen is not None
    assert choice.chosen.variant.name == "small"
    assert would_change(rules, choice) == "big would win if the accuracy weight were above 0.213 (now 0)"


@pytest.mark.parametrize("selection", [{"pins": [{"name": "p", "variant": "big", "nodeNames": ["n1"]}]}])
def test_nothing_is_said_of_a_pin_or_of_a_lonely_variant(selection: dict[str, Any]) -> None:
    rules = policy(**selection)
    assert would_change(rules, on_a_node_that_runs(rules, None, latencies(small=1, big=2))) == ""
    lonely = on_a_node_that_runs(policy(), None, latencies(small=1))
    assert would_change(policy(), lonely) == ""


def apply(
    clause: tuple[str, str, str], past: float, latencies_ms: dict[str, float], sigma: float, rival: str
) -> Choice:
    """The choice of a node that runs the other one, with the change that the clause names made a little larger."""
    what, way, figure = clause
    value = float(figure) * (past if way == "above" else 1 / past)
    changed, rules = dict(latencies_ms), policy()
    if what == "its p95":
        changed[rival] = value
    elif what.startswith("the p95 of"):
        changed[what.split()[-1]] = value
    elif what == "the latency target":
        rules = policy(value)
    else:
        rules = policy(weight=value)
    runs = next(name for name in latencies_ms if name != rival)
    return on_a_node_that_runs(rules, runs, latencies(log_sigma=sigma, **changed))


@settings(deadline=None)
@given(st.floats(0.5, 60.0), st.floats(0.5, 60.0), st.sampled_from([0.0, 0.05, 0.2]))
def test_the_change_that_is_named_changes_the_choice(small_ms: float, big_ms: float, sigma: float) -> None:
    latencies_ms = {"small": small_ms, "big": big_ms}
    choice = on_a_node_that_runs(policy(), None, latencies(log_sigma=sigma, **latencies_ms))
    assert choice.chosen is not None
    assert choice.runner_up is not None
    rival = choice.runner_up.variant.name
    clauses = CLAUSE.findall(would_change(policy(), choice))
    for clause in clauses:
        after = apply(clause, 1.02, latencies_ms, sigma, rival)
        assert after.chosen is not None
        assert after.chosen.variant.name == rival, clause
        before = apply(clause, 0.96, latencies_ms, sigma, rival)
        assert before.chosen is not None
        assert before.chosen.variant.name != rival, clause
