"""The whole fleet in one step: snapshots in, plans out, and fleets that are moved by them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fleetfit_api import HardwareClass, InferenceDeployment, ModelSuite, NodeInference
from fleetfit_api.names import NodeName
from fleetfit_api.node_inference import NodeHardware, NodeInferenceSpec
from fleetfit_api.node_telemetry import ReferenceRun
from fleetfit_api.prediction import Evidence
from fleetfit_api.suite import Variant
from fleetfit_operator.control.deployment_plan import PlanTerms
from fleetfit_operator.control.plan import FleetPlan, plan_fleet
from fleetfit_operator.control.prediction import FleetPredictions
from fleetfit_operator.fleet.choice import LatencyPrediction
from fleetfit_operator.fleet.snapshot import DeploymentKey, FleetNode, FleetSnapshot, Node

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
TERMS = PlanTerms(service_namespace="fleetfit-system", reference_run_grace_s=60.0)
KEY = DeploymentKey("apps", "digits")
RUN = {"provider": "CPUExecutionProvider", "setVersion": "1"}


class BySize:
    """Predicts a millisecond per kilobyte, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def predict(
        self, run: ReferenceRun | None, variants: Sequence[Variant]
    ) -> Mapping[str, LatencyPrediction]:
        self.asked += 1
        evidence = Evidence.REFERENCE_RUN if run else Evidence.FEATURES_ONLY
        return {v.name: LatencyPrediction(v.size_bytes / 1e6, evidence) for v in variants}


@pytest.fixture
def predictions() -> FleetPredictions:
    return FleetPredictions(BySize())


def a_class(name: str = "plain") -> HardwareClass:
    runtime = {"image": "fleetfit/runtime:1", "providers": ["CPUExecutionProvider"]}
    return HardwareClass.model_validate({"metadata": {"name": name}, "spec": {"runtime": runtime}})


def a_suite() -> ModelSuite:
    def variant(name: str, size: int, accuracy: float, digit: str) -> dict[str, Any]:
        return {
            "name": name,
            "uri": f"{name}.onnx",
            "sha256": digit * 64,
            "sizeBytes": size,
            "precision": "fp32",
            "accuracy": accuracy,
        }

    variants = [variant("large", 20_000, 0.99, "a"), variant("small", 2_000, 0.9, "b")]
    return ModelSuite.model_validate(
        {
            "metadata": {"name": "digits", "namespace": "apps"},
            "spec": {"storageUri": "https://models.example", "variants": variants},
        }
    )


def a_deployment(name: str = "digits", *, created: datetime = NOW, **spec: Any) -> InferenceDeployment:
    return InferenceDeployment.model_validate(
        {
            "metadata": {"name": name, "namespace": "apps", "generation": 1, "creationTimestamp": created},
            "spec": {"suiteRef": {"name": "digits"}, **spec},
        }
    )


def a_node(
    name: str,
    *,
    spec: NodeInferenceSpec | None = None,
    models: Sequence[dict[str, Any]] = (),
    run: bool = True,
    ready_at: datetime | None = NOW - timedelta(seconds=5),
    observed_epoch: int = 0,
) -> FleetNode:
    inference = NodeInference.model_validate(
        {
            "metadata": {"name": name},
            "spec": (spec or NodeInferenceSpec(hardware_class="plain", leader_epoch=1)).to_json(),
            "status": {
                "models": list(models),
                "referenceRuns": [RUN] if run else [],
                "observedEpoch": observed_epoch,
            },
        }
    )
    node = Node(NodeName(name), {"fleetfit.io/hardware-class": "plain"}, {"memory": 8e9})
    return FleetNode(node, a_class(), inference, ready_at)


def a_snapshot(
    *nodes: FleetNode,
    deployments: Sequence[InferenceDeployment] | None = None,
    suites: Sequence[ModelSuite] | None = None,
    now: datetime = NOW,
) -> FleetSnapshot:
    declared = [a_deployment()] if deployments is None else deployments
    return FleetSnapshot(
        now,
        {node.name: node for node in nodes},
        {DeploymentKey(each.metadata.namespace, each.metadata.name): each for each in declared},
        {
            (each.metadata.namespace, each.metadata.name): each
            for each in ([a_suite()] if suites is None else suites)
        },
        (a_class(),),
    )


def after(snapshot: FleetSnapshot, plan: FleetPlan, *, ready: bool = True) -> FleetSnapshot:
    """The fleet after the plan was written and the runtimes did what they were told."""
    nodes = dict(snapshot.nodes)
    for name, spec in plan.specs.items():
        node = nodes[name]
        old = node.inference or NodeInference()
        status = old.status.model_copy(update={"models": [_ready(each) for each in spec.assignments]})
        inference = old.model_copy(update={"spec": spec, "status": status if ready else old.status})
        nodes[name] = replace(node, inference=NodeInference.model_validate(inference.to_json()))
    deployments = {
        key: each.model_copy(update={"status": plan.deployment_statuses[key]})
        for key, each in snapshot.deployments.items()
    }
    return replace(snapshot, nodes=nodes, deployments=deployments)


def _ready(assignment: Any) -> Any:
    from fleetfit_api.model_status import ModelStatus

    return ModelStatus(
        namespace=assignment.namespace,
        deployment=assignment.deployment,
        variant=assignment.variant,
        sha256=assignment.sha256,
        phase="Ready",  # type: ignore[arg-type]  # pydantic takes the text
        serving_variant=assignment.variant,
    )


def converge(snapshot: FleetSnapshot, predictions: FleetPredictions) -> tuple[FleetSnapshot, int]:
    """Apply plans until they are empty; return the fleet and how many plans it took."""
    for passes in range(50):
        plan = plan_fleet(snapshot, predictions, TERMS, epoch=1)
        if not plan.specs:
            return snapshot, passes
        snapshot = after(snapshot, plan)
    raise AssertionError("the fleet does not converge")


def variants(snapshot: FleetSnapshot) -> dict[str, str]:
    return {
        name: assignment.variant
        for name, node in snapshot.nodes.items()
        if (assignment := node.assignment(KEY)) is not None
    }


def test_the_fleet_converges_and_the_plan_is_then_empty(predictions: FleetPredictions) -> None:
    fleet, passes = converge(a_snapshot(*(a_node(f"n{i}") for i in range(8))), predictions)
    assert variants(fleet) == {f"n{i}": "large" for i in range(8)}
    assert passes > 1  # a canary and waves, not all at once
    plan = plan_fleet(fleet, predictions, TERMS, epoch=1)
    assert (plan.specs, plan.labels) == ({}, {})
    assert plan.deployment_statuses[KEY].ready_summary == "8/8"


def test_another_leader_alone_rewrites_nothing(predictions: FleetPredictions) -> None:
    fleet, _ = converge(a_snapshot(a_node("n0")), predictions)
    assert plan_fleet(fleet, predictions, TERMS, epoch=9).specs == {}


def test_a_spec_that_the_node_refuses_is_written_again(predictions: FleetPredictions) -> None:
    spec = NodeInferenceSpec(hardware_class="plain", leader_epoch=3)
    node = a_node("n0", spec=spec, observed_epoch=4)
    plan = plan_fleet(a_snapshot(node, deployments=[]), predictions, TERMS, epoch=5)
    assert plan.specs[NodeName("n0")].leader_epoch == 5


def test_a_new_node_gets_an_empty_inference_so_that_its_runtime_can_report(
    predictions: FleetPredictions,
) -> None:
    node = replace(a_node("n0"), inference=None, runtime_ready_at=None)
    plan = plan_fleet(a_snapshot(node), predictions, TERMS, epoch=2)
    assert plan.specs == {NodeName("n0"): NodeInferenceSpec(hardware_class="plain", leader_epoch=2)}


def test_what_is_known_of_the_hardware_is_told_and_told_again_when_it_changes(
    predictions: FleetPredictions,
) -> None:
    a2 = NodeHardware(accelerator_vendor="nvidia", accelerator_product="NVIDIA-A2", cpu_cores=4.0)
    new = replace(a_node("n0"), inference=None, runtime_ready_at=None, hardware=a2)
    assert plan_fleet(a_snapshot(new), predictions, TERMS, epoch=2).specs[NodeName("n0")].hardware == a2

    fleet, _ = converge(a_snapshot(replace(a_node("n0"), hardware=a2)), predictions)
    told = fleet.nodes[NodeName("n0")].inference
    assert told is not None
    assert told.spec.hardware == a2
    assert plan_fleet(fleet, predictions, TERMS, epoch=1).specs == {}

    l4 = a2.model_copy(update={"accelerator_product": "NVIDIA-L4"})
    changed = replace(fleet, nodes={name: replace(node, hardware=l4) for name, node in fleet.nodes.items()})
    spec = plan_fleet(changed, predictions, TERMS, epoch=1).specs[NodeName("n0")]
    assert spec == told.spec.model_copy(update={"hardware": l4})


def test_a_node_without_a_class_is_left_alone_but_for_its_label(predictions: FleetPredictions) -> None:
    node = replace(a_node("n0"), inference=None, hardware_class=None, runtime_ready_at=None)
    plan = plan_fleet(a_snapshot(node), predictions, TERMS, epoch=2)
    assert (plan.specs, plan.labels) == ({}, {NodeName("n0"): ""})


@pytest.mark.parametrize(("age_s", "assigned"), [(59.0, False), (61.0, True)])
def test_a_node_is_waited_for_its_reference_run_for_a_time(
    predictions: FleetPredictions, age_s: float, assigned: bool
) -> None:
    node = a_node("n0", run=False, ready_at=NOW - timedelta(seconds=age_s))
    plan = plan_fleet(a_snapshot(node), predictions, TERMS, epoch=1)
    assert (NodeName("n0") in plan.specs) is assigned
    if assigned:
        predicted = plan.specs[NodeName("n0")].assignments[0].predicted
        assert predicted is not None
        assert predicted.evidence is Evidence.FEATURES_ONLY
    else:
        assert plan.next_check_s == pytest.approx(1.0)


def test_without_its_suite_a_deployment_keeps_what_runs(predictions: FleetPredictions) -> None:
    fleet, _ = converge(a_snapshot(a_node("n0")), predictions)
    plan = plan_fleet(replace(fleet, suites={}), predictions, TERMS, epoch=1)
    assert plan.specs == {}
    assert plan.deployment_statuses[KEY].conditions[0].reason == "SuiteNotFound"


def test_assignments_of_a_deleted_deployment_are_pruned(predictions: FleetPredictions) -> None:
    fleet, _ = converge(a_snapshot(a_node("n0"), a_node("n1")), predictions)
    plan = plan_fleet(replace(fleet, deployments={}), predictions, TERMS, epoch=1)
    assert {name: spec.assignments for name, spec in plan.specs.items()} == {"n0": [], "n1": []}


def test_two_deployments_of_one_model_name_share_no_node(predictions: FleetPredictions) -> None:
    younger = a_deployment("a-younger", created=NOW + timedelta(seconds=1), serving={"modelName": "digits"})
    snapshot = a_snapshot(a_node("n0"), deployments=[younger, a_deployment()])
    fleet, _ = converge(snapshot, predictions)
    inference = fleet.nodes[NodeName("n0")].inference
    assert inference is not None
    assert [each.deployment for each in inference.spec.assignments] == ["digits"]


def test_two_deployments_of_different_names_share_a_node(predictions: FleetPredictions) -> None:
    fleet, _ = converge(
        a_snapshot(a_node("n0"), deployments=[a_deployment("b"), a_deployment("a")]), predictions
    )
    inference = fleet.nodes[NodeName("n0")].inference
    assert inference is not None
    assert [each.deployment for each in inference.spec.assignments] == ["a", "b"]


def test_a_slow_target_makes_the_small_variant_win(predictions: FleetPredictions) -> None:
    fast = a_deployment(qoe={"latencyTargetMilliseconds": 2.0})
    fleet, _ = converge(a_snapshot(a_node("n0"), deployments=[fast]), predictions)
    assert variants(fleet) == {"n0": "small"}


def test_a_runtime_that_is_gone_makes_its_node_absent_unless_it_is_changing(
    predictions: FleetPredictions,
) -> None:
    fleet, _ = converge(a_snapshot(a_node("n0")), predictions)
    gone = replace(fleet.nodes[NodeName("n0")], runtime_ready_at=None)
    status = plan_fleet(
        replace(fleet, nodes={NodeName("n0"): gone}), predictions, TERMS, 1
    ).deployment_statuses[KEY]
    assert (status.nodes.absent, status.nodes.ready) == (1, 0)

    start = a_snapshot(a_node("n0"))
    told = after(start, plan_fleet(start, predictions, TERMS, epoch=1), ready=False)
    changing = replace(told.nodes[NodeName("n0")], runtime_ready_at=None)
    status = plan_fleet(
        replace(told, nodes={NodeName("n0"): changing}), predictions, TERMS, 1
    ).deployment_statuses[KEY]
    assert (status.nodes.absent, status.nodes.failed) == (0, 0)
    edited = {KEY: a_deployment(qoe={"latencyTargetMilliseconds": 2.0})}
    other = replace(fleet, deployments=edited)
    told_other = after(other, plan_fleet(other, predictions, TERMS, epoch=1), ready=False)
    assert variants(told_other) == {"n0": "small"}
    leaving = replace(told_other.nodes[NodeName("n0")], runtime_ready_at=None)
    status = plan_fleet(
        replace(told_other, nodes={NodeName("n0"): leaving}), predictions, TERMS, 1
    ).deployment_statuses[KEY]
    assert status.nodes.absent == 0
    late = replace(told, nodes={NodeName("n0"): changing}, taken_at=NOW + timedelta(seconds=601))
    assert plan_fleet(late, predictions, TERMS, 1).deployment_statuses[KEY].nodes.failed == 1


def test_predictions_are_remembered_between_passes() -> None:
    predictor = BySize()
    predictions = FleetPredictions(predictor)
    fleet, passes = converge(a_snapshot(*(a_node(f"n{i}") for i in range(5))), predictions)
    assert passes >= 2
    assert predictor.asked == 1  # the nodes look the same to the predictor
    plan_fleet(replace(fleet, suites={("apps", "digits"): _changed(a_suite())}), predictions, TERMS, 1)
    assert predictor.asked == 2


def _changed(suite: ModelSuite) -> ModelSuite:
    return suite.model_copy(update={"spec": suite.spec.model_copy(update={"description": "edited"})})


def test_the_order_of_nodes_and_deployments_does_not_matter(predictions: FleetPredictions) -> None:
    nodes = [a_node(f"n{i}") for i in range(6)]
    declared = [a_deployment("b"), a_deployment("a")]
    one = plan_fleet(a_snapshot(*nodes, deployments=declared), predictions, TERMS, 1)
    other = plan_fleet(a_snapshot(*nodes[::-1], deployments=declared[::-1]), predictions, TERMS, 1)
    assert one.specs == other.specs
    assert one.deployment_statuses == other.deployment_statuses
