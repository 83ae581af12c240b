"""Plans learn from what nodes time: pooled within the class, told when it is far from what was predicted, and once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fleetfit_api import NodeInference
from fleetfit_api.base import Condition
from fleetfit_api.node_telemetry import ReferenceRun
from fleetfit_api.prediction import Evidence
from fleetfit_api.suite import Variant
from fleetfit_operator.control.deployment_plan import PlanTerms
from fleetfit_operator.control.plan import FleetPlan, plan_fleet
from fleetfit_operator.control.prediction import FleetPredictions
from fleetfit_operator.fleet.choice import LatencyPrediction
from fleetfit_operator.fleet.snapshot import FleetNode, FleetSnapshot

from tests.unit.fleet_builders import KEY, NOW, assigned, deployment, fleet_node, report, suite, variant

TERMS = PlanTerms(service_namespace="fleetfit-system", reference_run_grace_s=60.0)
SUITE = suite(variant("a", 0.9), variant("b", 0.95))


class Sure:
    """Predicts 10 ms for everything and claims to be off by a tenth."""

    def predict(
        self, _run: ReferenceRun | None, variants: Sequence[Variant]
    ) -> Mapping[str, LatencyPrediction]:
        return {
            v.name: LatencyPrediction(0.01, Evidence.REFERENCE_RUN, 0.009, log_sigma=0.1) for v in variants
        }


def a_node(name: str, timed_s: float | None = None) -> FleetNode:
    figures = {"latencyP50Seconds": timed_s, "latencyP95Seconds": timed_s, "samples": 300, "source": "WarmUp"}
    model = report("b", warmUp=figures) if timed_s else None
    return replace(fleet_node(name, assignment=assigned("b"), report=model), runtime_ready_at=NOW)


def snapshot(*nodes: FleetNode) -> FleetSnapshot:
    wanted = deployment(qoe={"latencyTargetMilliseconds": 20})
    return FleetSnapshot(
        NOW, {n.name: n for n in nodes}, {KEY: wanted}, {("shop", "digits-suite"): SUITE}, ()
    )


def applied(before: FleetSnapshot, plan: FleetPlan) -> FleetSnapshot:
    nodes = {}
    for name, node in before.nodes.items():
        old = node.inference
        assert old is not None
        inference = old.model_copy(update={"spec": plan.specs.get(name, old.spec)})
        nodes[name] = replace(node, inference=NodeInference.model_validate(inference.to_json()))
    deployments = {
        key: each.model_copy(update={"status": plan.deployment_statuses[key]})
        for key, each in before.deployments.items()
    }
    return replace(before, nodes=nodes, deployments=deployments)


def degraded(plan: FleetPlan) -> Condition:
    return next(each for each in plan.deployment_statuses[KEY].conditions if each.type == "Degraded")


def test_a_wrong_prediction_is_corrected_for_the_class_told_and_written_once() -> None:
    predictions = FleetPredictions(Sure())
    fleet = snapshot(*(a_node(f"n{i}", 0.015 + 0.0001 * i) for i in range(5)), a_node("untimed"))
    plan = plan_fleet(fleet, predictions, TERMS, epoch=1)
    predicted = {
        name: plan.specs[name].assignments[0].predicted for name in fleet.nodes if name in plan.specs
    }
    assert {p.evidence for name, p in predicted.items() if p and name != "untimed"} == {Evidence.MEASURED}
    untimed = next(p for name, p in predicted.items() if name == "untimed")
    assert untimed is not None
    assert untimed.evidence is Evidence.HARDWARE_CLASS
    assert 0.013 < untimed.latency_p95_seconds < 0.0155
    assert degraded(plan).reason == "PredictionDrift"
    assert "b takes 1.5 times what was predicted, as 5 nodes timed it" in degraded(plan).message
    for _ in range(2):
        fleet = applied(fleet, plan)
        # A restart of the operator forgets what is not in the API.
        plan = plan_fleet(fleet, FleetPredictions(Sure()), TERMS, epoch=1)
        assert plan.specs == {}
        assert plan.deployment_statuses[KEY] == fleet.deployments[KEY].status


def test_what_is_as_predicted_is_not_told() -> None:
    fleet = snapshot(*(a_node(f"n{i}", 0.0104) for i in range(5)))
    plan = plan_fleet(fleet, FleetPredictions(Sure()), TERMS, epoch=1)
    assert degraded(plan).reason == "Healthy"
    errors = {error.variant: error for error in plan.deployments[KEY].prediction_errors}
    assert errors["b"].measured_nodes == 5
    assert 1.0 < errors["b"].error_ratio < 1.05
