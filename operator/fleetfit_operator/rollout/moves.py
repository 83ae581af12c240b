"""Which nodes of a hardware class may change now.

The rules, all of which must hold for a node to change:

1. The rollout is not paused, and the target is not stopped in the class.
2. At most `maxUnavailable` nodes are in flight. A node that is in flight already may be given another target.
3. A node that serves may change only if, counting nodes that are broken, at most `maxUnavailable` do not serve then.
   A node that serves nothing has nothing to lose and is exempt.
4. A target that is not proven in the class goes to canaries only: at most `canary.nodesPerClass` nodes of the class are
   in flight with unproven targets, and no more with one target than it needs to be proven.

First come nodes that have failed, then those in flight, then those that have nothing yet, each in order of name. A
first installation has nothing to lose, but a bad model should meet a canary first; so the rules are the same for it.
"""

from collections import Counter

from fleetfit_api.names import NodeName

from fleetfit_operator.fleet.progress import RolloutNode, Target
from fleetfit_operator.rollout.hardware_class import ClassNodes
from fleetfit_operator.rollout.standing import Standing

_URGENCY = {Standing.FAILED: 0, Standing.IN_FLIGHT: 1, Standing.UNASSIGNED: 2}
_LEAST_URGENT = 3


def moves_of(state: ClassNodes) -> frozenset[NodeName]:
    """Return the nodes that may be told their wanted target now."""
    if state.rollout.paused:
        return frozenset()
    wave = _Wave(state)
    for node in in_turn(state):
        if node.wanted is not None and wave.admits(node, node.wanted):
            wave.add(node, node.wanted)
    return frozenset(wave.moves)


def in_turn(state: ClassNodes) -> list[RolloutNode]:
    """Return the nodes that are to change in the order in which they will."""
    return sorted(state.movers, key=lambda each: (_urgency(state, each), each.name))


def _urgency(state: ClassNodes, node: RolloutNode) -> int:
    return _URGENCY.get(state.standings[node.name], _LEAST_URGENT)


class _Wave:
    """The nodes that change at the same time, while it is being filled."""

    def __init__(self, state: ClassNodes) -> None:
        self._state = state
        self._in_flight = dict(state.in_flight)
        self._unavailable = set(state.in_flight) | {node.name for node in state.broken}
        self._canaries = Counter(target for target in state.in_flight.values() if not state.is_proven(target))
        self.moves: set[NodeName] = set()

    def admits(self, node: RolloutNode, target: Target) -> bool:
        """Return whether the node may change to the target within the budgets."""
        if target in self._state.stopped_targets:
            return False
        return self._has_room(node) and self._canary_has_room(node, target)

    def add(self, node: RolloutNode, target: Target) -> None:
        """Count the node as changing to the target."""
        before = self._in_flight.get(node.name)
        if before is not None and not self._state.is_proven(before):
            self._canaries[before] -= 1
        if not self._state.is_proven(target):
            self._canaries[target] += 1
        self._in_flight[node.name] = target
        self._unavailable.add(node.name)
        self.moves.add(node.name)

    def _has_room(self, node: RolloutNode) -> bool:
        limit = self._state.max_unavailable
        if node.name in self._in_flight:
            return True
        if len(self._in_flight) >= limit:
            return False
        loses_something = node.assigned is not None and node.name not in self._unavailable
        return not loses_something or len(self._unavailable) < limit

    def _canary_has_room(self, node: RolloutNode, target: Target) -> bool:
        state = self._state
        if state.is_proven(target):
            return True
        before = self._in_flight.get(node.name)
        gives_back = before is not None and not state.is_proven(before)
        if self._canaries.total() - gives_back >= state.rollout.canary.nodes_per_class:
            return False
        others = self._canaries[target] - (before == target)
        return state.ready_by_target.get(target, 0) + others < state.canaries_needed[target]
