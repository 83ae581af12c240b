"""A node of the fleet as the rollout of one deployment sees it."""

from datetime import datetime

from fleetfit_api.base import ConditionStatus
from fleetfit_api.reasons import ConditionType

from fleetfit_operator.fleet.progress import RolloutNode, Target
from fleetfit_operator.fleet.snapshot import DeploymentKey, FleetNode


def rollout_node(
    node: FleetNode,
    key: DeploymentKey,
    wanted: Target | None,
    failed: frozenset[Target],
    absent: bool,
) -> RolloutNode:
    """Return the view of a node.

    Args:
        node: The node.
        key: The deployment.
        wanted: What the node should run, from `select.assignment.wanted_target`.
        failed: What failed there for good, from `select.failures.failed_targets`.
        absent: Whether it does not answer: the node is not ready or its runtime is gone.
    """
    assignment = node.assignment(key)
    return RolloutNode(
        name=node.name,
        hardware_class=node.class_name,
        wanted=wanted,
        assigned=Target(assignment.variant, assignment.sha256) if assignment else None,
        assigned_at=assignment.assigned_at if assignment else None,
        report=node.report(key),
        absent=absent,
        # Where only the runtime is gone the node's own times say nothing.
        absent_since=node.node.ready_changed_at if absent and not node.node.ready else None,
        not_ready_since=_not_ready_since(node),
        failed_targets=failed,
    )


def _not_ready_since(node: FleetNode) -> datetime | None:
    """Return when the runtime stopped being ready or the node came back, whichever was later."""
    conditions = node.inference.status.conditions if node.inference else []
    times = [
        condition.last_transition_time
        for condition in conditions
        if condition.type == ConditionType.READY and condition.status is not ConditionStatus.TRUE
    ]
    if node.node.ready and node.node.ready_changed_at is not None:
        times.append(node.node.ready_changed_at)
    return max(times, default=None)
