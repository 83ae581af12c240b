"""The rollout of one deployment: who may change now, and how each hardware class stands.

A state machine without a state of its own: everything is in assignments, reports and the time, so that an operator that
is started anew at any instant plans what the one before would have planned. Classes are judged apart from each other: a
variant that fails on one kind of hardware does not hold up the others.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from fleetfit_api.deployment import ClassStatus, Rollout
from fleetfit_api.names import NodeName

from fleetfit_operator.fleet.progress import RolloutNode, RolloutPlan
from fleetfit_operator.rollout.hardware_class import ClassNodes, destination
from fleetfit_operator.rollout.messages import message_of, phase_of
from fleetfit_operator.rollout.moves import moves_of
from fleetfit_operator.rollout.standing import Standing
from fleetfit_operator.rollout.upcoming import upcoming_waves

_MESSAGE_CHARACTERS = 2048


def plan_rollout(rollout: Rollout, nodes: Iterable[RolloutNode], now: datetime) -> RolloutPlan:
    """Return what to do now.

    Args:
        rollout: What the user declared, `spec.rollout`.
        nodes: The nodes that the deployment serves, in any order.
        now: The time, UTC.
    """
    states = [ClassNodes(rollout, members, now) for members in _by_class(nodes)]
    moves = frozenset[NodeName]().union(*(moves_of(state) for state in states))
    deadlines = [deadline for state in states if (deadline := state.next_deadline_s()) is not None]
    return RolloutPlan(
        moves=moves,
        classes=tuple(_class_status(state) for state in states),
        next_check_s=min(deadlines, default=None),
        upcoming={name: waves for state in states for name, waves in upcoming_waves(state, moves).items()},
    )


def _by_class(nodes: Iterable[RolloutNode]) -> list[Sequence[RolloutNode]]:
    classes: dict[str, list[RolloutNode]] = {}
    for node in sorted(nodes, key=lambda each: each.name):
        classes.setdefault(node.hardware_class, []).append(node)
    return [members for _, members in sorted(classes.items())]


def _class_status(state: ClassNodes) -> ClassStatus:
    phase = phase_of(state)
    updated = [
        node for node in state.nodes if node.assigned is not None and node.assigned == destination(node)
    ]
    ready = [n for n in updated if not n.absent and state.standings[n.name] is Standing.READY]
    return ClassStatus(
        name=state.nodes[0].hardware_class,
        nodes=len(state.nodes),
        updated=len(updated),
        ready=len(ready),
        failed=len(state.failed),
        absent=len(state.nodes) - len(state.present),
        phase=phase,
        message=message_of(state, phase)[:_MESSAGE_CHARACTERS],
    )
