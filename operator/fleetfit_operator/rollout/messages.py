"""Says how a hardware class stands in a rollout and what to do: a word and a sentence for people, no decisions.

What holds for the whole deployment (that it is paused) is said once, by `report`, not by each class.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum

from fleetfit_operator.fleet.progress import RolloutNode
from fleetfit_operator.rollout.hardware_class import ClassNodes, destination
from fleetfit_operator.rollout.standing import Standing, failure_word, hindrance_of

_NAMED = 3


class ClassPhase(StrEnum):
    """How far a class is."""

    COMPLETE = "Complete"
    CANARY = "Canary"
    ROLLING = "Rolling"
    PAUSED = "Paused"
    STOPPED = "Stopped"


def phase_of(state: ClassNodes) -> ClassPhase:
    """Return how far the class is; absent nodes do not keep it from being complete."""
    if state.stopped_targets:
        return ClassPhase.STOPPED
    if not state.movers:
        return ClassPhase.ROLLING if state.in_flight else ClassPhase.COMPLETE
    if state.rollout.paused:
        return ClassPhase.PAUSED
    unproven = any(node.wanted is not None and not state.is_proven(node.wanted) for node in state.movers)
    return ClassPhase.CANARY if unproven else ClassPhase.ROLLING


def message_of(state: ClassNodes, phase: ClassPhase) -> str:
    """Return what the class waits for or what its nodes run."""
    sentence = {
        ClassPhase.COMPLETE: _complete,
        ClassPhase.CANARY: _canary,
        ClassPhase.ROLLING: _rolling,
        ClassPhase.PAUSED: _paused,
        ClassPhase.STOPPED: _stopped,
    }[phase](state)
    return sentence + _absent(state)


def listed(words: Sequence[str]) -> str:
    """Return the words with commas; of many only the first and how many more there are."""
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return ", ".join(words[:_NAMED]) + more


def counted(count: int, noun: str) -> str:
    """Return the number with its noun, as in "1 node" and "2 nodes"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _complete(state: ClassNodes) -> str:
    variants = _variants(state)
    text = f"nodes serve {variants}" if variants else "no node serves a variant"
    without = [node for node in state.present if destination(node) is None]
    if without:
        text += f"; no variant for {_names(without)}"
    if state.failed:
        text += f"; failed within maxFailedNodes: {_failures(state)}"
    return text


def _canary(state: ClassNodes) -> str:
    unproven = {target for node in state.movers if (target := node.wanted) and not state.is_proven(target)}
    names = ", ".join(sorted(target.variant for target in unproven))
    nodes = [node for node in state.present if state.in_flight.get(node.name) in unproven]
    by = f"; now {_progress(nodes)}" if nodes else ""
    needed = state.rollout.canary.nodes_per_class
    return f"{_nodes(len(state.movers))} to change; {names} must first be ready on {_nodes(needed)} of the class{by}"


def _rolling(state: ClassNodes) -> str:
    changing = [node for node in state.present if node.name in state.in_flight]
    now = f"now {_progress(changing)}" if changing else ""
    if not state.movers:
        return now
    clauses = [f"{_nodes(len(state.movers))} to change, {state.max_unavailable} at a time", now]
    if state.broken:
        clauses.append(
            f"nothing serves on {_names(state.broken)}, which counts towards maxUnavailable: "
            "cure that or raise maxUnavailable"
        )
    return "; ".join(clause for clause in clauses if clause)


def _paused(state: ClassNodes) -> str:
    return f"{_nodes(len(state.movers))} to change"


def _stopped(state: ClassNodes) -> str:
    variants = ", ".join(sorted({target.variant for target in state.stopped_targets}))
    limit = state.rollout.max_failed_nodes
    return (
        f"{_nodes(len(state.failed))} failed with {variants}, more than maxFailedNodes {limit}: {_failures(state)}; "
        "no further node changes to it. Correct or remove the variant in the suite, cure the nodes, "
        "or raise rollout.maxFailedNodes"
    )


def _absent(state: ClassNodes) -> str:
    behind = [node for node in state.nodes if node.absent and node.assigned != destination(node)]
    return f"; absent and to follow when back: {_names(behind)}" if behind else ""


def _variants(state: ClassNodes) -> str:
    counts = Counter(
        node.assigned.variant
        for node in state.present
        if node.assigned is not None and state.standings[node.name] is Standing.READY
    )
    return ", ".join(f"{name} ({count})" for name, count in sorted(counts.items()))


def _failures(state: ClassNodes) -> str:
    return listed(
        [f"{node.name} ({failure_word(node)})" for node in state.nodes if node.name in state.failed]
    )


def _progress(nodes: Sequence[RolloutNode]) -> str:
    return listed([f"{node.name} ({_phase_word(node)})" for node in nodes])


def _phase_word(node: RolloutNode) -> str:
    report, assigned = node.report, node.assigned
    if report is None or assigned is None or report.sha256 != assigned.sha256:
        return Standing.UNASSIGNED if assigned is None else "told"
    return report.phase if hindrance_of(node) is None else f"{report.phase}: {report.reason}"


def _names(nodes: Iterable[RolloutNode]) -> str:
    return listed([node.name for node in nodes])


def _nodes(count: int) -> str:
    return counted(count, "node")
