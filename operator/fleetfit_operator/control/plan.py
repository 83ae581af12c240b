"""The whole fleet in one pure step: a snapshot in, what should be written out.

The rooms predict, select, rollout and report are joined here. A plan holds differences only: applied to a fleet and
made again it is empty.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from fleetfit_api.deployment import InferenceDeploymentStatus
from fleetfit_api.hardware_class import HardwareClassStatus
from fleetfit_api.names import HARDWARE_CLASS_LABEL, NodeName
from fleetfit_api.node_inference import Assignment, NodeInferenceSpec
from fleetfit_api.suite import ModelSuiteStatus

from fleetfit_operator.control.deployment_plan import DeploymentPlan, PlanTerms, Task, plan_deployment
from fleetfit_operator.control.prediction import FleetPredictions
from fleetfit_operator.control.upcoming import upcoming_models
from fleetfit_operator.fleet.alike import AlikeRuns
from fleetfit_operator.fleet.snapshot import DeploymentKey, FleetNode, FleetSnapshot
from fleetfit_operator.observe.classification import selects
from fleetfit_operator.report.class_status import class_status
from fleetfit_operator.report.suite_status import suite_status
from fleetfit_operator.select.conflicts import Claim, lost_nodes


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """What should be written.

    Attributes:
        specs: NodeInference specs that differ from what the node was told.
        labels: Nodes whose label must change, with their class; empty to remove it.
        deployments: Plans by deployment.
        suite_statuses: Statuses of suites.
        class_statuses: Statuses of classes by name.
        class_sizes: Nodes by class; those without a class under the empty name.
        next_check_s: Seconds until the plan may change by the passing of time alone; None when it cannot.
    """

    specs: Mapping[NodeName, NodeInferenceSpec]
    labels: Mapping[NodeName, str]
    deployments: Mapping[DeploymentKey, DeploymentPlan]
    suite_statuses: Mapping[tuple[str, str], ModelSuiteStatus]
    class_statuses: Mapping[str, HardwareClassStatus]
    class_sizes: Mapping[str, int]
    next_check_s: float | None

    @property
    def deployment_statuses(self) -> dict[DeploymentKey, InferenceDeploymentStatus]:
        """Statuses of deployments."""
        return {key: plan.status for key, plan in self.deployments.items()}


def plan_fleet(
    snapshot: FleetSnapshot, predictions: FleetPredictions, terms: PlanTerms, epoch: int
) -> FleetPlan:
    """Return what should be written, for the leader of an epoch."""
    predictions.begin_pass(AlikeRuns(snapshot.nodes.values()))
    plans = {
        task.key: plan_deployment(task, predictions, terms, snapshot.taken_at) for task in _tasks(snapshot)
    }
    specs = _specs(snapshot, plans.values(), epoch)
    return FleetPlan(
        specs=specs,
        labels={
            node.name: node.class_name
            for node in snapshot.nodes.values()
            if node.node.labels.get(HARDWARE_CLASS_LABEL, "") != node.class_name
        },
        deployments=plans,
        suite_statuses=_suite_statuses(snapshot),
        class_statuses=_class_statuses(snapshot),
        class_sizes=Counter(node.class_name for node in snapshot.nodes.values()),
        next_check_s=min(
            (plan.next_check_s for plan in plans.values() if plan.next_check_s is not None), default=None
        ),
    )


def _tasks(snapshot: FleetSnapshot) -> list[Task]:
    """Return the deployments with their nodes, each node's model name given to one of them."""
    selected = {
        key: [node for node in snapshot.nodes.values() if selects(deployment, node.node)]
        for key, deployment in snapshot.deployments.items()
    }
    lost = lost_nodes(
        Claim(
            key,
            deployment.model_name,
            deployment.metadata.creation_timestamp,
            frozenset(node.name for node in selected[key]),
        )
        for key, deployment in snapshot.deployments.items()
    )
    return [
        Task(
            key,
            deployment,
            snapshot.suites.get((key.namespace, deployment.spec.suite_ref.name)),
            [node for node in selected[key] if node.name not in lost.get(key, {})],
            lost.get(key, {}),
        )
        for key, deployment in sorted(snapshot.deployments.items(), key=lambda item: str(item[0]))
    ]


def _specs(
    snapshot: FleetSnapshot, plans: Collection[DeploymentPlan], epoch: int
) -> dict[NodeName, NodeInferenceSpec]:
    assigned: dict[NodeName, list[Assignment]] = {}
    for plan in plans:
        for name, assignment in plan.assignments.items():
            assigned.setdefault(name, []).append(assignment)
    specs = {}
    for node in snapshot.nodes.values():
        wanted = NodeInferenceSpec(
            hardware_class=node.class_name,
            hardware=node.hardware,
            leader_epoch=epoch,
            assignments=_sorted(assigned.get(node.name, [])),
            upcoming=upcoming_models(node, (plan.upcoming for plan in plans)),
        )
        if _is_to_be_told(node, wanted):
            specs[node.name] = wanted
    return specs


def _is_to_be_told(node: FleetNode, wanted: NodeInferenceSpec) -> bool:
    """Return whether to write the spec: not when the node has been told the same already.

    The epoch alone is no reason to write, or every change of the leader would rewrite the fleet; but a node refuses
    a spec with an epoch below the highest that it has seen, so such a spec is written again.
    """
    if node.inference is None:
        # Without a class no runtime will ever read it.
        return node.hardware_class is not None
    told = node.inference.spec
    refused = told.leader_epoch < node.inference.status.observed_epoch
    same = (
        told.hardware_class == wanted.hardware_class
        and told.hardware == wanted.hardware
        and _sorted(told.assignments) == wanted.assignments
        and told.upcoming == wanted.upcoming
    )
    return refused or not same


def _sorted(assignments: Collection[Assignment]) -> list[Assignment]:
    return sorted(assignments, key=lambda each: (each.namespace, each.deployment))


def _suite_statuses(snapshot: FleetSnapshot) -> dict[tuple[str, str], ModelSuiteStatus]:
    users: dict[tuple[str, str], list[str]] = {}
    for key, deployment in snapshot.deployments.items():
        users.setdefault((key.namespace, deployment.spec.suite_ref.name), []).append(key.name)
    return {
        place: suite_status(suite, users.get(place, []), snapshot.taken_at)
        for place, suite in snapshot.suites.items()
    }


def _class_statuses(snapshot: FleetSnapshot) -> dict[str, HardwareClassStatus]:
    sizes = Counter(node.class_name for node in snapshot.nodes.values())
    reporting = Counter(node.class_name for node in snapshot.nodes.values() if _reports(node))
    return {
        each.metadata.name: class_status(
            each, sizes[each.metadata.name], reporting[each.metadata.name], snapshot.taken_at
        )
        for each in snapshot.classes
    }


def _reports(node: FleetNode) -> bool:
    return node.node.ready and node.runtime_ready_at is not None
