"""What is to be said about nodes that try again and again since something is in their way: a source, a disk.

It is said at once, not when the deadline of the rollout has passed, and in words that stay the same while nothing
changes: a figure that moves with every attempt would be a write of the status with every attempt.
"""

from fleetfit_api.model_status import ModelStatus
from fleetfit_api.reasons import Reason

from fleetfit_operator.fleet.progress import RolloutNode
from fleetfit_operator.report.conditions import Finding
from fleetfit_operator.report.view import DeploymentView
from fleetfit_operator.rollout.messages import counted
from fleetfit_operator.rollout.standing import Standing, hindrance_of, standing_of

_QUOTED_CHARACTERS = 500
# How many bytes are missing changes with each attempt.
_STEADY_WORDS: dict[str, str] = {
    Reason.DISK_FULL: "the disk of its model store is full; its NodeInference says how many bytes are missing"
}


def hindered(view: DeploymentView) -> Finding | None:
    """Find present nodes whose change is held up by something that may pass."""
    nodes_by_reason: dict[str, list[tuple[RolloutNode, ModelStatus]]] = {}
    for node in sorted(view.present, key=lambda each: each.name):
        report = hindrance_of(node)
        if report is not None and _in_flight(view, node):
            nodes_by_reason.setdefault(report.reason, []).append((node, report))
    if not nodes_by_reason:
        return None
    ordered = sorted(nodes_by_reason.items())
    message = "; ".join(_sentence(reason, nodes) for reason, nodes in ordered)
    return Finding(_known(ordered[0][0]), message)


def _in_flight(view: DeploymentView, node: RolloutNode) -> bool:
    deadline_s = view.deployment.spec.rollout.progress_deadline_seconds
    return standing_of(node, deadline_s, view.now) is Standing.IN_FLIGHT


def _sentence(reason: str, nodes: list[tuple[RolloutNode, ModelStatus]]) -> str:
    node, report = nodes[0]
    why = _STEADY_WORDS.get(reason) or report.message[:_QUOTED_CHARACTERS] or "no message reported"
    more = f" (and {counted(len(nodes) - 1, 'more node')})" if len(nodes) > 1 else ""
    return f"node {node.name} cannot get {report.variant} and tries again, {reason}: {why}{more}"


def _known(reason: str) -> Reason:
    """Return the reason as one of the vocabulary; a newer runtime may have one that this operator does not know."""
    return {each.value: each for each in Reason}.get(reason, Reason.INTERNAL_ERROR)
