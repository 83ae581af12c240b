"""Trials over whole fleets: they go the way of every change, within the rollout and over what the API keeps."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from fleetfit_api import InferenceDeployment, ModelSuite
from fleetfit_api.names import NodeName
from fleetfit_operator.control.plan import plan_fleet
from fleetfit_operator.control.prediction import FleetPredictions
from fleetfit_operator.fleet.snapshot import FleetSnapshot

from tests.unit.control.test_control_plan import KEY, TERMS, BySize, a_deployment, a_node, a_snapshot


def models() -> ModelSuite:
    variants = [
        {
            "name": name, "uri": f"{name}.onnx", "sha256": digit * 64, "sizeBytes": 5000, "precision": "fp32",
            "accuracy": accuracy,
        }
        for name, digit, accuracy in (("best", "a", 0.99), ("near", "b", 0.98), ("poor", "c", 0.5))
    ]  # fmt: skip
    return ModelSuite.model_validate(
        {
            "metadata": {"name": "digits", "namespace": "apps"},
            "spec": {"storageUri": "https://models.example", "variants": variants},
        }
    )


def exploring_deployment(share: float, **rollout: Any) -> InferenceDeployment:
    return a_deployment(
        selection={
            "exploration": {"maxNodesShare": share, "maxExpectedLoss": 0.05},
            "minimumDwellSeconds": 60,
        },
        rollout={"maxUnavailable": "50%", **rollout},
    )


class Fleet:
    """A fleet that does what it is told and times what it runs."""

    def __init__(self, nodes: int, declared: InferenceDeployment) -> None:
        self.predictions = FleetPredictions(BySize())
        self.snapshot: FleetSnapshot = a_snapshot(
            *(a_node(f"n{i}") for i in range(nodes)), deployments=[declared], suites=[models()]
        )
        self.changes: list[str] = []
        self.unreachable: set[str] = set()

    def declare(self, declared: InferenceDeployment) -> None:
        self.snapshot = replace(self.snapshot, deployments={KEY: declared})

    def run(self, passes: int, seconds: float = 30.0) -> None:
        for _ in range(passes):
            now: datetime = self.snapshot.taken_at + timedelta(seconds=seconds)
            self.snapshot = replace(self.snapshot, taken_at=now)
            plan = plan_fleet(self.snapshot, self.predictions, TERMS, epoch=1)
            self.changes.extend(f"{name}" for name in sorted(plan.deployments[KEY].moved))
            nodes = dict(self.snapshot.nodes)
            for name, spec in plan.specs.items():
                inference = nodes[name].inference
                assert inference is not None
                status = inference.status.to_json() | {
                    "models": [self.report(each) for each in spec.assignments]
                }
                told = type(inference).model_validate(
                    {"metadata": {"name": name}, "spec": spec.to_json(), "status": status}
                )
                nodes[name] = replace(nodes[name], inference=told)
            self.snapshot = replace(
                self.snapshot,
                nodes=nodes,
                deployments={
                    key: each.model_copy(update={"status": plan.deployment_statuses[key]})
                    for key, each in self.snapshot.deployments.items()
                },
            )

    def report(self, told: Any) -> dict[str, Any]:
        timed = {"latencyP50Seconds": 0.005, "latencyP95Seconds": 0.005, "samples": 200, "source": "WarmUp"}
        waits = told.variant in self.unreachable
        state = {"phase": "Downloading"} if waits else {"phase": "Ready", "servingVariant": told.variant}
        return {
            "namespace": told.namespace, "deployment": told.deployment, "variant": told.variant,
            "sha256": told.sha256, **state, **({} if waits else {"warmUp": timed}),
        }  # fmt: skip

    def trials(self) -> dict[NodeName, str]:
        found = {name: node.assignment(KEY) for name, node in self.snapshot.nodes.items()}
        return {name: each.variant for name, each in found.items() if each is not None and each.exploring}

    def variants(self) -> set[str]:
        found = [node.assignment(KEY) for node in self.snapshot.nodes.values()]
        return {each.variant for each in found if each is not None}


def test_one_node_tries_what_its_class_has_not_measured_and_comes_back() -> None:
    fleet = Fleet(8, exploring_deployment(0.0))
    fleet.run(20)
    assert fleet.variants() == {"best"}
    fleet.changes.clear()
    fleet.declare(exploring_deployment(0.25))
    fleet.run(1)
    assert list(fleet.trials().values()) == ["near"]
    fleet.run(20)
    assert fleet.trials() == {}
    assert fleet.variants() == {"best"}
    assert len(fleet.changes) == 2
    status = fleet.snapshot.deployments[KEY].status
    assert status.ready_summary == "8/8"
    assert plan_fleet(fleet.snapshot, fleet.predictions, TERMS, epoch=1).specs == {}


def test_a_paused_rollout_begins_no_trial() -> None:
    fleet = Fleet(8, exploring_deployment(0.0))
    fleet.run(20)
    fleet.declare(exploring_deployment(0.25, paused=True))
    fleet.run(5)
    assert fleet.trials() == {}


def test_a_trial_that_gets_stuck_stops_nothing_and_ends_in_time() -> None:
    fleet = Fleet(8, exploring_deployment(0.0, progressDeadlineSeconds=100))
    fleet.run(20)
    fleet.changes.clear()
    fleet.unreachable = {"near"}
    fleet.declare(exploring_deployment(0.25, progressDeadlineSeconds=100))
    phases = set()
    for _ in range(20):
        fleet.run(1)
        phases.update(each.phase for each in fleet.snapshot.deployments[KEY].status.classes)
    assert "Stopped" not in phases
    assert fleet.variants() == {"best"}
    assert len(fleet.changes) == 2


def test_a_restarted_operator_goes_on_with_the_same_trials() -> None:
    fleet = Fleet(8, exploring_deployment(0.25))
    fleet.unreachable = {"near"}
    fleet.run(20, seconds=10)
    trials = fleet.trials()
    assert len(trials) == 1
    plan = plan_fleet(fleet.snapshot, FleetPredictions(BySize()), TERMS, epoch=1)
    assert plan.specs == {}
