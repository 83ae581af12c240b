"""Over time a node settles, however wrong its predictions are and whatever its requests take."""

from collections.abc import Callable
from itertools import pairwise
from math import exp
from typing import Any

import numpy as np
import pytest
from fleetfit_api.model_status import ModelStatus
from fleetfit_api.node_inference import Assignment
from fleetfit_api.prediction import Evidence
from fleetfit_api.suite import Variant
from fleetfit_operator.control.prediction import FleetPredictions
from fleetfit_operator.fleet.choice import LatencyPrediction
from fleetfit_operator.fleet.measurements import known_measurements
from fleetfit_operator.select.assignment import next_assignment
from fleetfit_operator.select.choose import choose
from fleetfit_operator.select.policy import policy_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.fleet_builders import KEY, deployment, fleet_node, later, report, suite, variant

NAMES = ("a", "b", "c", "d")
LATENCY_S = st.floats(1e-5, 1.0)


class FixedPredictor:
    """Predicts what it is told, whatever the node."""

    def __init__(self, latencies_s: dict[str, float]) -> None:
        self._latencies_s = latencies_s

    def predict(self, _run: object, variants: list[Variant]) -> dict[str, LatencyPrediction]:
        return {
            v.name: LatencyPrediction(self._latencies_s[v.name], Evidence.REFERENCE_RUN) for v in variants
        }


def serving(assignment: Assignment, warm_up_s: float, load_factor: float) -> ModelStatus:
    """What the node reports once it serves: what it timed itself, and what requests take under load."""

    def figures(p95_s: float, source: str) -> dict[str, object]:
        return {"latencyP50Seconds": p95_s, "latencyP95Seconds": p95_s, "samples": 200, "source": source}

    return report(
        assignment.variant,
        warmUp=figures(warm_up_s, "WarmUp"),
        measured=figures(warm_up_s * load_factor, "Live"),
    )


@settings(deadline=None)
@given(
    predicted_s=st.tuples(*[LATENCY_S] * len(NAMES)),
    true_s=st.tuples(*[LATENCY_S] * len(NAMES)),
    load_factor=st.floats(1.0, 20.0),
)
def test_a_node_tries_each_variant_at_most_once_and_then_stays(
    predicted_s: tuple[float, ...], true_s: tuple[float, ...], load_factor: float
) -> None:
    models = suite(
        *(variant(name, accuracy) for name, accuracy in zip(NAMES, (0.9, 0.93, 0.96, 0.99), strict=True))
    )
    wanted = deployment(
        qoe={"latencyTargetMilliseconds": 1.0}, selection={"minimumDwellSeconds": 10, "hysteresis": 0.02}
    )
    policy = policy_of(wanted, models)
    predictions = FleetPredictions(FixedPredictor(dict(zip(NAMES, predicted_s, strict=True))))
    truth_s = dict(zip(NAMES, true_s, strict=True))
    assignment: Assignment | None = None
    state: ModelStatus | None = None
    history: list[str] = []
    step = unchanged = 0
    # Time matters by the dwell alone, and the next pass is after it: what two passes leave as it is stays for good.
    while unchanged < 2:
        assert step < 14, history
        before = assignment
        node = fleet_node(assignment=assignment, report=state)
        choice = choose(policy, node, predictions.of(node, models, KEY), later(20.0 * step))
        assignment = next_assignment(policy, node, choice, may_move=True, now=later(20.0 * step))
        assert assignment is not None
        state = serving(assignment, truth_s[assignment.variant], load_factor)
        history.append(assignment.variant)
        unchanged = unchanged + 1 if assignment == before else 0
        step += 1
    switches = sum(before != after for before, after in pairwise(history))
    # It may come back to one that it has left: once all that tempt are known, to the best of them.
    assert switches <= len(NAMES)


FLEET = tuple(f"n{i}" for i in range(4))
TRUTH = st.lists(st.tuples(*[LATENCY_S] * len(NAMES)), min_size=len(FLEET), max_size=len(FLEET))


class Fleet:
    """Nodes of one class that are chosen for together, pass after pass, and time what they are given."""

    def __init__(self, predicted_s: dict[str, float], timed_s: Callable[[str, str], dict[str, Any]]) -> None:
        accuracies = (0.9, 0.93, 0.96, 0.99)
        self.suite = suite(*(variant(name, each) for name, each in zip(NAMES, accuracies, strict=True)))
        wanted = deployment(
            qoe={"latencyTargetMilliseconds": 1.0}, selection={"minimumDwellSeconds": 10, "hysteresis": 0.02}
        )
        self.policy = policy_of(wanted, self.suite)
        self.predictions = FleetPredictions(FixedPredictor(predicted_s))
        self.timed_s = timed_s
        self.nodes = {name: fleet_node(name) for name in FLEET}
        self.history: dict[str, list[str]] = {name: [] for name in FLEET}

    def step(self, at_s: float, *, restart: bool = False) -> int:
        """Make a pass and let nodes follow; return the number of assignments that were written."""
        self.predictions.begin_pass()
        by_node = self.predictions.of_nodes(list(self.nodes.values()), self.suite, KEY).by_node
        written = 0
        for name, node in self.nodes.items():
            choice = choose(self.policy, node, by_node[node.name], later(at_s))
            old = node.assignment(KEY)
            new = next_assignment(self.policy, node, choice, may_move=True, now=later(at_s))
            assert new is not None
            written += new != old
            report_now = node.report(KEY)
            if report_now is None or old is None or new.variant != old.variant or restart:
                report_now = report(new.variant, warmUp=self.timed_s(name, new.variant))
            self.nodes[name] = fleet_node(name, assignment=new, report=report_now)
            self.history[name].append(new.variant)
        return written

    def switches(self, since: int = 0) -> int:
        return sum(
            before != after for each in self.history.values() for before, after in pairwise(each[since:])
        )


def figures(p95_s: float, **over: Any) -> dict[str, Any]:
    return {
        "latencyP50Seconds": p95_s,
        "latencyP95Seconds": p95_s,
        "samples": 200,
        "source": "WarmUp",
        **over,
    }


@settings(deadline=None)
@given(predicted_s=st.tuples(*[LATENCY_S] * len(NAMES)), true_s=TRUTH)
def test_nodes_that_learn_from_each_other_settle_and_then_nothing_is_written(
    predicted_s: tuple[float, ...], true_s: list[tuple[float, ...]]
) -> None:
    truth = {n: dict(zip(NAMES, each, strict=True)) for n, each in zip(FLEET, true_s, strict=True)}
    fleet = Fleet(dict(zip(NAMES, predicted_s, strict=True)), lambda node, v: figures(truth[node][v]))
    step = unchanged = 0
    while unchanged < 2:  # two passes, of which the second is after the dwell: the next ones see the same
        assert step < 28, fleet.history
        unchanged = unchanged + 1 if fleet.step(20.0 * step) == 0 else 0
        step += 1
    # Each node tries each variant at most once more than it has to: what others measure may send it back once.
    assert fleet.switches() <= 2 * len(FLEET) * len(NAMES)
    assert fleet.step(1000.0) == 0


@pytest.mark.parametrize("seed", range(5))
def test_noise_at_every_restart_makes_nearly_equal_variants_take_turns_but_for_a_while(seed: int) -> None:
    rng = np.random.default_rng(seed)
    predicted_s = dict.fromkeys(NAMES, 0.0012)
    fleet = Fleet(
        predicted_s, lambda _node, v: figures(0.0010 * 1.03 ** NAMES.index(v) * exp(rng.normal(0, 0.03)))
    )
    for step in range(80):
        fleet.step(20.0 * step, restart=step % 4 == 0)
    assert fleet.switches(since=60) == 0, fleet.history


def test_timings_of_throttled_nodes_move_nobody() -> None:
    """The large variant heats the nodes, which then time it ten times as slow: none of them leaves it."""
    predicted_s = dict(zip(NAMES, (0.0002, 0.0004, 0.0006, 0.0008), strict=True))
    fleet = Fleet(predicted_s, lambda _node, v: figures(10 * predicted_s[v], throttled=True))
    for step in range(10):
        fleet.step(20.0 * step, restart=step % 3 == 0)
    assert {each for history in fleet.history.values() for each in history} == {"d"}
    by_node = fleet.predictions.of_nodes(list(fleet.nodes.values()), fleet.suite, KEY).by_node
    assert {p.evidence for each in by_node.values() for p in each.values()} == {Evidence.REFERENCE_RUN}
    memory = [m for n in fleet.nodes.values() for m in known_measurements(n, KEY, fleet.suite.spec.variants)]
    assert [(each.samples, each.disturbed_p95_seconds) for each in memory] == [(0, 0.008)] * len(FLEET)
