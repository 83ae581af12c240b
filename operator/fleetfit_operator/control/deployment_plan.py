"""What one deployment wants of the fleet now: joins select, rollout and report for its nodes. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fleetfit_api import InferenceDeployment, ModelSuite
from fleetfit_api.deployment import InferenceDeploymentStatus
from fleetfit_api.names import NodeName
from fleetfit_api.node_inference import Assignment, ModelPhase
from fleetfit_api.reasons import Reason

from fleetfit_operator.control.prediction import FleetPredictions
from fleetfit_operator.fleet.choice import Choice
from fleetfit_operator.fleet.progress import RolloutNode, RolloutPlan
from fleetfit_operator.fleet.snapshot import DeploymentKey, FleetNode
from fleetfit_operator.report.deployment_status import deployment_status
from fleetfit_operator.report.view import DeploymentView
from fleetfit_operator.rollout.plan import plan_rollout
from fleetfit_operator.rollout.view import rollout_node
from fleetfit_operator.select.assignment import next_assignment, wanted_target
from fleetfit_operator.select.choose import choose
from fleetfit_operator.select.failures import failed_targets
from fleetfit_operator.select.policy import Policy, policy_of


@dataclass(frozen=True, slots=True)
class PlanTerms:
    """What plans of all deployments have in common.

    Attributes:
        service_namespace: Namespace of the Service of the runtimes.
        reference_run_grace_s: How long a node whose runtime is ready is waited for its reference run.
    """

    service_namespace: str
    reference_run_grace_s: float


@dataclass(frozen=True, slots=True)
class Task:
    """A deployment with the nodes that it is about.

    Attributes:
        key: Identity of the deployment.
        deployment: The deployment.
        suite: Its suite; None when there is none of that name.
        nodes: Nodes that it selects, without those that it lost.
        lost: Nodes on which an older deployment serves the model name, with that deployment.
    """

    key: DeploymentKey
    deployment: InferenceDeployment
    suite: ModelSuite | None
    nodes: Sequence[FleetNode]
    lost: Mapping[NodeName, DeploymentKey]


@dataclass(frozen=True, slots=True)
class DeploymentPlan:
    """What a deployment wants now.

    Attributes:
        assignments: What each node should be assigned; a node that is missing gets nothing from it.
        moved: Nodes that get another variant by this.
        status: Its status.
        next_check_s: Seconds until this may change by the passing of time alone; None when it cannot.
    """

    assignments: Mapping[NodeName, Assignment]
    moved: frozenset[NodeName]
    status: InferenceDeploymentStatus
    next_check_s: float | None


def plan_deployment(
    task: Task, predictions: FleetPredictions, terms: PlanTerms, now: datetime
) -> DeploymentPlan:
    """Return what the deployment wants now."""
    policy = policy_of(task.deployment, task.suite) if task.suite else None
    waiting = _waiting(task, terms.reference_run_grace_s, now) if policy else {}
    choices = _choices(task, policy, predictions, waiting, now)
    nodes = [_rollout_node(node, task, policy, choices.get(node.name)) for node in task.nodes]
    rollout = plan_rollout(task.deployment.spec.rollout, nodes, now)
    view = DeploymentView(
        deployment=task.deployment,
        suite_found=task.suite is not None,
        nodes=nodes,
        plan=rollout,
        choices=choices,
        waiting={name: reason for name, (reason, _) in waiting.items()},
        lost=task.lost,
        service_namespace=terms.service_namespace,
        now=now,
    )
    return DeploymentPlan(
        assignments=_assignments(task, policy, choices, rollout, now),
        moved=rollout.moves,
        status=deployment_status(view),
        next_check_s=_next_check_s(rollout, choices, [again_s for _, again_s in waiting.values()]),
    )


def is_absent(node: FleetNode, key: DeploymentKey) -> bool:
    """Return whether a node does not answer for a deployment.

    A node whose runtime is gone although it reported to be ready does not serve what it reported. In the middle of a
    change a runtime that is gone is not absent: the change may be what took it down, and its deadline runs.
    """
    if not node.node.ready:
        return True
    assignment, report = node.assignment(key), node.report(key)
    if node.runtime_ready_at is not None or assignment is None or report is None:
        return False
    reported = (report.variant, report.sha256) == (assignment.variant, assignment.sha256)
    return reported and report.phase is ModelPhase.READY


def _waiting(task: Task, grace_s: float, now: datetime) -> dict[NodeName, tuple[Reason, float | None]]:
    """Return the nodes that cannot be chosen for yet, with the reason and the seconds until time alone changes that."""
    waiting: dict[NodeName, tuple[Reason, float | None]] = {}
    for node in task.nodes:
        if node.assignment(task.key) is not None or node.reference_run() is not None:
            continue
        if node.hardware_class is None or node.runtime_ready_at is None:
            waiting[node.name] = (Reason.AWAITING_RUNTIME, None)
            continue
        left = node.runtime_ready_at + timedelta(seconds=grace_s) - now
        if left > timedelta(0):
            waiting[node.name] = (Reason.AWAITING_REFERENCE_RUN, left.total_seconds())
    return waiting


def _choices(
    task: Task,
    policy: Policy | None,
    predictions: FleetPredictions,
    waiting: Mapping[NodeName, object],
    now: datetime,
) -> dict[NodeName, Choice]:
    if policy is None or task.suite is None:
        return {}
    return {
        node.name: choose(policy, node, predictions.of(node, task.suite, task.key), now)
        for node in task.nodes
        if node.name not in waiting
    }


def _rollout_node(node: FleetNode, task: Task, policy: Policy | None, choice: Choice | None) -> RolloutNode:
    return rollout_node(
        node,
        task.key,
        wanted=wanted_target(choice) if choice else None,
        failed=failed_targets(policy, node) if policy else frozenset(),
        absent=is_absent(node, task.key),
    )


def _assignments(
    task: Task,
    policy: Policy | None,
    choices: Mapping[NodeName, Choice],
    rollout: RolloutPlan,
    now: datetime,
) -> dict[NodeName, Assignment]:
    """Return the assignments; what cannot be decided now stays as it is."""
    assignments = {}
    for node in task.nodes:
        choice = choices.get(node.name)
        if policy is None or choice is None:
            assignment = node.assignment(task.key)
        else:
            assignment = next_assignment(policy, node, choice, node.name in rollout.moves, now)
        if assignment is not None:
            assignments[node.name] = assignment
    return assignments


def _next_check_s(
    rollout: RolloutPlan, choices: Mapping[NodeName, Choice], waits_s: Sequence[float | None]
) -> float | None:
    times_s = [rollout.next_check_s, *(choice.recheck_s for choice in choices.values()), *waits_s]
    return min((time_s for time_s in times_s if time_s is not None), default=None)
