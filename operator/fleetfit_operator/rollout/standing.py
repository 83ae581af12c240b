"""How one node stands in a rollout, told from what it was assigned, what it reports and the time.

Nothing is remembered here: after a restart of the operator the same facts give the same standing.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from fleetfit_api.model_status import ModelPhase, ModelStatus
from fleetfit_api.reasons import Reason

from fleetfit_operator.fleet.progress import RolloutNode

_UNFINISHED_PHASES = frozenset({ModelPhase.PENDING, ModelPhase.DOWNLOADING, ModelPhase.LOADING})
_USUAL_REASONS = frozenset({"", Reason.ASSIGNED, Reason.PENDING, Reason.DOWNLOADING, Reason.LOADING})


class Standing(StrEnum):
    """How a node stands with the target that it is assigned."""

    UNASSIGNED = "Unassigned"
    IN_FLIGHT = "InFlight"
    READY = "Ready"
    FAILED = "Failed"
    AWAY = "Away"


def standing_of(node: RolloutNode, progress_deadline_s: float, now: datetime) -> Standing:
    """Return how the node stands.

    An absent node keeps what it last reported. If it vanished before it could report on a change, that counts as
    failed, since the change may be what took it down; if it went away for another reason it is merely away.
    """
    if node.assigned is None:
        return Standing.UNASSIGNED
    reported = _reported_phase(node)
    if reported is ModelPhase.READY:
        return Standing.READY
    if reported is ModelPhase.FAILED:
        return Standing.FAILED
    if node.absent:
        return Standing.FAILED if _vanished_in_change(node, progress_deadline_s) else Standing.AWAY
    deadline = deadline_of(node, progress_deadline_s)
    return Standing.FAILED if deadline is not None and now >= deadline else Standing.IN_FLIGHT


def deadline_of(node: RolloutNode, progress_deadline_s: float) -> datetime | None:
    """Return when the node counts as failed unless it is ready; None when it is not known when it began."""
    if node.assigned_at is None:
        return None
    began = max(node.assigned_at, node.not_ready_since or node.assigned_at)
    return began + timedelta(seconds=progress_deadline_s)


def serves_something(node: RolloutNode) -> bool:
    """Return whether some variant answers requests on the node, the wanted one or an earlier one."""
    return node.report is not None and bool(
        node.report.serving_variant or node.report.phase is ModelPhase.READY
    )


def hindrance_of(node: RolloutNode) -> ModelStatus | None:
    """Return the report of a node that tries again and again since something is in its way, else None."""
    report = node.report
    if report is None or _reported_phase(node) not in _UNFINISHED_PHASES or report.reason in _USUAL_REASONS:
        return None
    return report


def failure_word(node: RolloutNode) -> str:
    """Return in a word or two why the node counts as failed."""
    if _reported_phase(node) is ModelPhase.FAILED and node.report is not None:
        return node.report.reason or "failed"
    if node.failed_targets and node.assigned not in node.failed_targets:
        return "failed before"
    if node.absent:
        return "vanished during the change"
    if _reported_phase(node) is None or node.report is None or not node.report.reason:
        return "not ready in time"
    # It still tries: what it waits for is what somebody has to cure. Its sentence is in its NodeInference.
    return f"not ready in time: {node.report.reason}"


def _reported_phase(node: RolloutNode) -> ModelPhase | None:
    """Return the phase if the report is on what the node is assigned now, else None."""
    if node.report is None or node.assigned is None:
        return None
    same = (node.report.variant, node.report.sha256) == (node.assigned.variant, node.assigned.sha256)
    return node.report.phase if same else None


def _vanished_in_change(node: RolloutNode, progress_deadline_s: float) -> bool:
    if node.assigned_at is None:
        return False
    if node.absent_since is None:
        return True
    # Kubernetes' times are cut to whole seconds.
    began = node.assigned_at.replace(microsecond=0)
    return began <= node.absent_since <= began + timedelta(seconds=progress_deadline_s)
