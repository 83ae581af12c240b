"""Nodes that the predictor cannot tell apart are scored once; what was timed comes in after that, per node."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from fleetfit_api.names import NodeName
from fleetfit_api.node_telemetry import ReferenceRun
from fleetfit_api.prediction import Evidence
from fleetfit_api.suite import Variant
from fleetfit_operator.control.prediction import FleetPredictions
from fleetfit_operator.fleet.alike import AlikeRuns
from fleetfit_operator.fleet.choice import LatencyPrediction
from fleetfit_operator.fleet.snapshot import FleetNode

from tests.unit.fleet_builders import KEY, assigned, fleet_node, report, suite, variant

SUITE = suite(variant("a"), variant("b"))
RUN = ReferenceRun(provider="CPUExecutionProvider", set_version="1")


class Asked:
    """Predicts 10 ms for everything and remembers for which runs."""

    def __init__(self) -> None:
        self.runs: list[ReferenceRun | None] = []

    def predict(
        self, run: ReferenceRun | None, variants: Sequence[Variant]
    ) -> Mapping[str, LatencyPrediction]:
        self.runs.append(run)
        return {v.name: LatencyPrediction(0.01, Evidence.REFERENCE_RUN, log_sigma=0.3) for v in variants}


def a_node(
    name: str, run: ReferenceRun | None = RUN, warm_up_s: float | None = None, **over: Any
) -> FleetNode:
    figures = {"latencyP50Seconds": warm_up_s, "latencyP95Seconds": warm_up_s, "samples": 200}
    model = report("a", warmUp={**figures, "source": "WarmUp"}) if warm_up_s else None
    node = fleet_node(name, assignment=assigned("a") if model else None, report=model, **over)
    assert node.inference is not None
    status = node.inference.status.model_copy(update={"reference_runs": [run] if run else []})
    return replace(node, inference=node.inference.model_copy(update={"status": status}))


@pytest.fixture
def predictor() -> Asked:
    return Asked()


def test_nodes_that_look_the_same_are_scored_once(predictor: Asked) -> None:
    other = RUN.model_copy(update={"governor": "performance"})
    nodes = [a_node("n1"), a_node("n2"), a_node("n3", other), a_node("n4", None), a_node("n5", None)]
    predictions = FleetPredictions(predictor)
    for _ in range(3):
        predictions.begin_pass()
        predictions.of_nodes(nodes, SUITE, KEY)
    assert predictor.runs == [RUN, other, None]


def test_other_providers_and_other_suites_are_scored_anew(predictor: Asked) -> None:
    predictions = FleetPredictions(predictor)
    cuda = ("CUDAExecutionProvider", "CPUExecutionProvider")
    predictions.of_nodes([a_node("n1"), a_node("n2", providers=cuda)], SUITE, KEY)
    assert len(predictor.runs) == 2
    changed = suite(variant("a"), variant("c"))
    for _ in range(2):
        predictions.begin_pass()
        assert set(predictions.of(a_node("n1"), changed, KEY)) == {"a", "c"}
    assert len(predictor.runs) == 3
    assert set(predictions.of(a_node("n1"), SUITE, KEY)) == {"a", "b"}


def test_what_one_node_timed_reaches_its_class_and_the_next_pass(predictor: Asked) -> None:
    predictions = FleetPredictions(predictor)
    before = predictions.of_nodes([a_node("n1"), a_node("n2")], SUITE, KEY).by_node
    predictions.begin_pass()
    after = predictions.of_nodes([a_node("n1", warm_up_s=0.02), a_node("n2")], SUITE, KEY)
    n1, n2 = after.by_node[NodeName("n1")], after.by_node[NodeName("n2")]
    assert n1["a"].evidence is Evidence.MEASURED
    assert n2["a"].evidence is Evidence.HARDWARE_CLASS
    assert before[NodeName("n2")]["a"].latency_p95_s < n2["a"].latency_p95_s < n1["a"].latency_p95_s
    errors = {error.variant: error for error in after.errors}
    assert errors["a"].measured_nodes == 1
    assert errors["a"].error_ratio == pytest.approx(2.0)
    assert errors["b"].measured is None


def test_an_answer_is_kept_while_nothing_that_it_rests_on_changes(predictor: Asked) -> None:
    predictions = FleetPredictions(predictor)
    nodes = [a_node("n1", warm_up_s=0.02), a_node("n2")]
    first = predictions.of_nodes(nodes, SUITE, KEY).by_node
    predictions.begin_pass()
    again = predictions.of_nodes(nodes, SUITE, KEY).by_node
    assert all(again[name] is first[name] for name in first)
    predictions.begin_pass()
    slower = predictions.of_nodes([a_node("n1", warm_up_s=0.05), nodes[1]], SUITE, KEY).by_node
    assert slower[NodeName("n2")]["a"].latency_p95_s > first[NodeName("n2")]["a"].latency_p95_s


def timed_run(factor: float) -> ReferenceRun:
    times = [
        {"name": f"net{i}", "latencyP50Seconds": factor * i, "latencyP95Seconds": factor * i}
        for i in range(1, 6)
    ]
    return ReferenceRun.model_validate({**RUN.to_json(), "times": times})


def test_a_node_without_a_run_borrows_one_and_is_less_sure_of_it(predictor: Asked) -> None:
    predictions = FleetPredictions(predictor)
    lenders = [a_node(f"n{i}", timed_run(factor)) for i, factor in enumerate((0.7, 1.0, 1.4))]
    nodes = [*lenders, a_node("new", None), a_node("newer", None)]
    for _ in range(2):
        predictions.begin_pass(AlikeRuns(nodes))
        by_node = predictions.of_nodes(nodes, SUITE, KEY).by_node
    assert len(predictor.runs) == 4  # of each lender, and of their middle
    borrowed, own = by_node[NodeName("new")]["a"], by_node[NodeName("n1")]["a"]
    assert (borrowed.evidence, own.evidence) == (Evidence.HARDWARE_CLASS, Evidence.REFERENCE_RUN)
    assert borrowed.log_sigma > own.log_sigma + 0.1
    assert by_node[NodeName("new")] is by_node[NodeName("newer")]


def test_lenders_that_agree_are_no_proof_that_the_node_is_like_them(predictor: Asked) -> None:
    predictions = FleetPredictions(predictor)
    nodes = [*(a_node(f"n{i}", timed_run(1.0)) for i in range(3)), a_node("new", None)]
    predictions.begin_pass(AlikeRuns(nodes))
    assert predictions.of_nodes(nodes, SUITE, KEY).by_node[NodeName("new")]["a"].log_sigma > 0.3
