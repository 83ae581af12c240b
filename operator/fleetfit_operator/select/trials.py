"""When a node's trial of a variant is over, and what is remembered of one that led to nothing.

A trial ends with what it was made for: a measurement that nothing disturbed. It also ends when the node reports a
failure, or when it has no measurement once `rollout.progressDeadlineSeconds` have passed. Such a variant is remembered
as failed on the node, or it would be tried again and again; an edit of the deployment or its suite clears that like all
memory of failures.
"""

from datetime import datetime, timedelta

from fleetfit_api.model_status import ModelPhase
from fleetfit_api.node_inference import Assignment, FailedVariant
from fleetfit_api.reasons import Reason

from fleetfit_operator.fleet.measurements import known_measurements
from fleetfit_operator.fleet.snapshot import FleetNode
from fleetfit_operator.select.policy import Policy


def is_measured(policy: Policy, node: FleetNode, assignment: Assignment) -> bool:
    """Return whether the node has timed the file that it is assigned, undisturbed."""
    return assignment.variant in measured_variants(policy, node)


def measured_variants(policy: Policy, node: FleetNode) -> frozenset[str]:
    """Return the variants that the node has timed at least once while nothing disturbed it."""
    known = known_measurements(node, policy.key, policy.suite.variants)
    return frozenset(each.variant for each in known if each.latency_p95_seconds > 0)


def failed_trial(
    policy: Policy, node: FleetNode, assignment: Assignment, now: datetime
) -> FailedVariant | None:
    """Return what is to be remembered of a trial that ended without a measurement; None while it may go on."""
    if (
        not assignment.exploring
        or assignment.decided_from != policy.decided_from
        or is_measured(policy, node, assignment)
    ):
        return None
    report = node.report(policy.key)
    reason = ""
    if report is not None and report.phase is ModelPhase.FAILED:
        about_it = (report.variant, report.sha256) == (assignment.variant, assignment.sha256)
        reason = (report.reason or Reason.WARM_UP_FAILED) if about_it else ""
    if not reason and trial_left_s(policy, assignment, now) <= 0:
        reason = Reason.NOT_MEASURED_IN_TIME
    if not reason:
        return None
    return FailedVariant(variant=assignment.variant, sha256=assignment.sha256, reason=reason)


def trial_left_s(policy: Policy, assignment: Assignment, now: datetime) -> float:
    """Return the seconds until a trial without a measurement is over; 0 or less when it is."""
    if assignment.assigned_at is None:
        return 0.0
    deadline = assignment.assigned_at + timedelta(seconds=policy.spec.rollout.progress_deadline_seconds)
    return (deadline - now).total_seconds()
