"""What is to be said about a deployment, by condition: each finding is one sentence that says what to do.

Findings stand in the order of their importance: a condition has the reason of the first one. Degraded lists them all,
so that one fault does not hide another.
"""

from collections.abc import Callable, Sequence

from fleetfit_api.base import ConditionStatus
from fleetfit_api.model_status import ModelPhase
from fleetfit_api.reasons import Reason

from fleetfit_operator.report.conditions import Finding
from fleetfit_operator.report.hindrances import hindered
from fleetfit_operator.report.prediction_drift import prediction_drift
from fleetfit_operator.report.view import DeploymentView
from fleetfit_operator.rollout.messages import ClassPhase, counted, listed
from fleetfit_operator.rollout.standing import Standing, standing_of

_Finder = Callable[[DeploymentView], Finding | None]


def ready_finding(view: DeploymentView) -> Finding:
    """Return what the condition Ready says."""
    blocked = _first(view, (*_FAULTS, _paused, _waiting, _rolling))
    if blocked is not None:
        return blocked
    ready = sum(each.ready for each in view.plan.classes)
    if not view.present:
        message = (
            f"no node answers: {_nodes(_absent(view))}; each serves what it has and follows when it is back"
        )
        return Finding(Reason.NODES_ABSENT, message, ConditionStatus.UNKNOWN)
    message = f"the variant is ready on {ready} of {counted(view.matched, 'node')}{_absent_clause(view)}"
    reason = Reason.NODES_ABSENT if _absent(view) else Reason.ALL_NODES_READY
    return Finding(reason, message, ConditionStatus.TRUE)


def progressing_finding(view: DeploymentView) -> Finding:
    """Return what the condition Progressing says."""
    still = _first(view, (_late, _stopped, _paused))
    if still is not None:
        return still
    moving = _first(view, (_waiting, _rolling))
    if moving is not None:
        return Finding(moving.reason, moving.message, ConditionStatus.TRUE)
    blocked = _first(view, _BLOCKS)
    if blocked is not None:
        return blocked
    return Finding(Reason.ROLLOUT_COMPLETE, "no node has to change")


def degraded_finding(view: DeploymentView) -> Finding:
    """Return what the condition Degraded says; absent nodes are usual at the edge and no fault."""
    faults = [fault for find in (*_FAULTS, _provider_fallback) if (fault := find(view)) is not None]
    if faults:
        message = "; also: ".join(fault.message for fault in faults)
        return Finding(faults[0].reason, message, ConditionStatus.TRUE)
    drift = prediction_drift(view)
    if drift is not None:
        return Finding(drift.reason, f"{drift.message}{_absent_clause(view)}")
    if _absent(view):
        return Finding(Reason.NODES_ABSENT, f"no fault{_absent_clause(view)}")
    return Finding(Reason.HEALTHY, "no fault")


def _first(view: DeploymentView, finders: Sequence[_Finder]) -> Finding | None:
    return next((finding for find in finders if (finding := find(view)) is not None), None)


def _suite_missing(view: DeploymentView) -> Finding | None:
    if view.suite_found:
        return None
    name, namespace = view.deployment.spec.suite_ref.name, view.deployment.metadata.namespace
    message = f"ModelSuite {name} is not in namespace {namespace}: create it or correct spec.suiteRef"
    return Finding(Reason.SUITE_NOT_FOUND, message)


def _no_nodes(view: DeploymentView) -> Finding | None:
    if view.matched:
        return None
    message = "no node matches spec.nodeSelector and spec.nodeAffinity: label nodes or widen the selection"
    return Finding(Reason.NO_MATCHING_NODES, message)


def _conflict(view: DeploymentView) -> Finding | None:
    if not view.lost:
        return None
    winners = listed(sorted({str(winner) for winner in view.lost.values()}))
    message = (
        f"model name {view.deployment.model_name} is already served by {winners} on {_nodes(sorted(view.lost))}: "
        "set another spec.serving.modelName or select other nodes"
    )
    return Finding(Reason.MODEL_NAME_CONFLICT, message)


def _infeasible(view: DeploymentView) -> Finding | None:
    if not view.without_variant:
        return None
    first = view.without_variant[0]
    message = f"{_nodes(view.without_variant)} cannot get a variant; {first}: {view.choices[first].reason}"
    return Finding(Reason.NO_FEASIBLE_VARIANT, message)


def _stopped(view: DeploymentView) -> Finding | None:
    if not view.any_class(ClassPhase.STOPPED):
        return None
    return Finding(Reason.ROLLOUT_STOPPED, view.class_messages(ClassPhase.STOPPED))


def _failed(view: DeploymentView) -> Finding | None:
    """Find failures that are tolerated; those of a stopped class are told with the stop."""
    failed = [each for each in view.plan.classes if each.failed and each.phase != ClassPhase.STOPPED]
    if not failed:
        return None
    message = "; ".join(f"{each.name}: {each.message}" for each in failed)
    return Finding(Reason.NODES_FAILED, message)


def _late(view: DeploymentView) -> Finding | None:
    """Find a class that is stopped since nodes did not become ready in time."""
    deadline_s = view.deployment.spec.rollout.progress_deadline_seconds
    stopped = {each.name for each in view.plan.classes if each.phase == ClassPhase.STOPPED}
    late = [
        node.name
        for node in view.present
        if node.hardware_class in stopped
        and standing_of(node, deadline_s, view.now) is Standing.FAILED
        and (node.report is None or node.report.phase is not ModelPhase.FAILED)
    ]
    if not late:
        return None
    message = f"{_nodes(late)} not ready within {deadline_s} s; {view.class_messages(ClassPhase.STOPPED)}"
    return Finding(Reason.PROGRESS_DEADLINE_EXCEEDED, message)


def _paused(view: DeploymentView) -> Finding | None:
    if not view.any_class(ClassPhase.PAUSED):
        return None
    message = f"{view.class_messages(ClassPhase.PAUSED)}; set rollout.paused to false to go on"
    return Finding(Reason.ROLLOUT_PAUSED, message)


def _waiting(view: DeploymentView) -> Finding | None:
    present = {node.name for node in view.present}
    for reason, clause in _WAITING_CLAUSES:
        names = sorted(name for name, why in view.waiting.items() if why is reason and name in present)
        if names:
            return Finding(reason, f"{_nodes(names)}: {clause}")
    return None


def _rolling(view: DeploymentView) -> Finding | None:
    phases = (ClassPhase.CANARY, ClassPhase.ROLLING)
    if not view.any_class(*phases):
        return None
    return Finding(Reason.ROLLING_OUT, view.class_messages(*phases))


def _provider_fallback(view: DeploymentView) -> Finding | None:
    fallen = [node for node in view.present if node.report is not None and node.report.provider_fallback]
    report = fallen[0].report if fallen else None
    if report is None:
        return None
    why = report.provider_message or "no reason reported"
    message = (
        f"{_nodes([node.name for node in fallen])} could not use the first provider of the class; "
        f"{fallen[0].name} runs on {report.provider or 'another one'}: {why}"
    )
    return Finding(Reason.PROVIDER_FALLBACK, message)


def _absent(view: DeploymentView) -> list[str]:
    return [node.name for node in view.nodes if node.absent]


def _absent_clause(view: DeploymentView) -> str:
    absent = _absent(view)
    return f"; absent: {_nodes(absent)}, to follow when back" if absent else ""


def _nodes(names: Sequence[str]) -> str:
    return f"{counted(len(names), 'node')} ({listed(names)})"


_BLOCKS = (_suite_missing, _no_nodes, _conflict, _infeasible)
_FAULTS = (*_BLOCKS, _stopped, _failed, hindered)
_WAITING_CLAUSES = (
    (Reason.AWAITING_RUNTIME, "the runtime has not reported yet; look at its pod in the install namespace"),
    (Reason.AWAITING_REFERENCE_RUN, "the runtime is timing its reference set, which takes up to a minute"),
)
