"""What one deployment wants of the fleet now: joins select, rollout and report for its nodes. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fleetfit_api import InferenceDeployment, ModelSuite
from fleetfit_api.deployment import InferenceDeploymentStatus
from fleetfit_api.model_status import ModelPhase
from fleetfit_api.names import NodeName
from fleetfit_api.node_inference import Assignment
from fleetfit_api.reasons import Reason

from fleetfit_operator.control.opinions import local_policy
from fleetfit_operator.control.prediction import FleetPrediction, FleetPredictions, Predictions
from fleetfit_operator.fleet.choice import Choice, Opinion
from fleetfit_operator.fleet.node_condition import Condition, conditions_now
from fleetfit_operator.fleet.prediction_errors import VariantError
from fleetfit_operator.fleet.progress import RolloutNode, RolloutPlan, UpcomingChange
from fleetfit_operator.fleet.snapshot import DeploymentKey, FleetNode
from fleetfit_operator.report.deployment_status import deployment_status
from fleetfit_operator.report.view import DeploymentView
from fleetfit_operator.rollout.messages import ClassPhase
from fleetfit_operator.rollout.plan import plan_rollout
from fleetfit_operator.rollout.view import rollout_node
from fleetfit_operator.select.assignment import next_assignment, upcoming_model, wanted_target
from fleetfit_operator.select.choose import choose_from
from fleetfit_operator.select.exploration import Explorer, Trials, explore
from fleetfit_operator.select.failures import failed_targets, with_class_failures
from fleetfit_operator.select.fields import Fields
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
        upcoming: Nodes that will get another variant soon, with which.
        status: Its status.
        next_check_s: Seconds until this may change by the passing of time alone; None when it cannot.
        prediction_errors: How far predictions were from what nodes timed, by class and variant.
        slowed_nodes: Nodes by what slows them, or their requests, now.
    """

    assignments: Mapping[NodeName, Assignment]
    moved: frozenset[NodeName]
    status: InferenceDeploymentStatus
    next_check_s: float | None
    upcoming: Mapping[NodeName, UpcomingChange] = field(default_factory=dict)
    prediction_errors: Sequence[VariantError] = ()
    slowed_nodes: Mapping[Condition, int] = field(default_factory=dict)


def plan_deployment(
    task: Task, predictions: FleetPredictions, terms: PlanTerms, now: datetime
) -> DeploymentPlan:
    """Return what the deployment wants now.

    Args:
        task: The deployment with its nodes.
        predictions: Expected latencies, and what users say.
        terms: What plans have in common.
        now: The time, UTC.
    """
    policy = with_class_failures(policy_of(task.deployment, task.suite), task.nodes) if task.suite else None
    waiting = _waiting(task, terms.reference_run_grace_s, now) if policy else {}
    expected = _expected(task, predictions)
    opinion = predictions.opinions.of(policy, task.nodes, expected.by_node) if policy else None
    choices = _choices(task, policy, expected.by_node, waiting, now, opinion)
    nodes = _rollout_nodes(task, policy, choices)
    rollout = plan_rollout(task.deployment.spec.rollout, nodes, now)
    trials = _trials(task, policy, choices, rollout, now)
    if trials.choices:
        # What is tried is carried out like every other change: within the rollout's waves and budgets.
        choices |= trials.choices
        nodes = _rollout_nodes(task, policy, choices)
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
        prediction_errors=expected.errors,
    )
    again_s = [trials.recheck_s, *(wait_s for _, wait_s in waiting.values())]
    return DeploymentPlan(
        assignments=_assignments(task, policy, choices, rollout, now),
        moved=rollout.moves,
        upcoming=_upcoming(policy, choices, rollout),
        status=deployment_status(view),
        next_check_s=_next_check_s(rollout, choices, again_s),
        prediction_errors=expected.errors,
        slowed_nodes=_slowed_nodes(task),
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


def _slowed_nodes(task: Task) -> Counter[Condition]:
    return Counter(
        condition
        for node in task.nodes
        if node.inference is not None
        for condition in conditions_now(node.inference.status.telemetry, node.report(task.key))
    )


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


def _expected(task: Task, predictions: FleetPredictions) -> FleetPrediction:
    """Return what is expected on all nodes, also on those that wait: what they have timed counts for their class."""
    if task.suite is None:
        return FleetPrediction({}, ())
    return predictions.of_nodes(task.nodes, task.suite, task.key)


def _choices(
    task: Task,
    policy: Policy | None,
    predictions: Mapping[NodeName, Predictions],
    waiting: Mapping[NodeName, object],
    now: datetime,
    opinion: Opinion | None,
) -> dict[NodeName, Choice]:
    if policy is None:
        return {}
    fields = Fields(policy, opinion)
    choices = {}
    for node in task.nodes:
        if node.name not in waiting:
            local = local_policy(policy, node)
            choices[node.name] = choose_from(local, node, fields.of(local, node, predictions[node.name]), now)
    return choices


def _trials(
    task: Task,
    policy: Policy | None,
    choices: Mapping[NodeName, Choice],
    rollout: RolloutPlan,
    now: datetime,
) -> Trials:
    """Return what nodes try, by how their classes stand without it."""
    if policy is None or policy.spec.selection.exploration.max_nodes_share <= 0:
        return Trials({}, None)
    stopped = {each.name for each in rollout.classes if each.phase == ClassPhase.STOPPED}
    paused = task.deployment.spec.rollout.paused
    explorers = [
        Explorer(
            node,
            choices[node.name],
            may_begin=not (paused or node.class_name in stopped or is_absent(node, task.key)),
            may_go_on=node.class_name not in stopped,
        )
        for node in task.nodes
        if node.name in choices
    ]
    return explore(policy, explorers, now)


def _rollout_nodes(
    task: Task, policy: Policy | None, choices: Mapping[NodeName, Choice]
) -> list[RolloutNode]:
    return [_rollout_node(node, task, policy, choices.get(node.name)) for node in task.nodes]


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


def _upcoming(
    policy: Policy | None, choices: Mapping[NodeName, Choice], rollout: RolloutPlan
) -> dict[NodeName, UpcomingChange]:
    if policy is None:
        return {}
    return {
        name: UpcomingChange(waves, upcoming_model(policy.suite, choice.chosen.variant))
        for name, waves in rollout.upcoming.items()
        if (choice := choices[name]).chosen is not None
    }


def _next_check_s(
    rollout: RolloutPlan, choices: Mapping[NodeName, Choice], waits_s: Sequence[float | None]
) -> float | None:
    times_s = [rollout.next_check_s, *(choice.recheck_s for choice in choices.values()), *waits_s]
    return min((time_s for time_s in times_s if time_s is not None), default=None)
