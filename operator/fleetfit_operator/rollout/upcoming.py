"""Which nodes of a hardware class are about to change, so that they can fetch what they will run before their turn.

Only the next two waves count as near: a node at the end of a long line would download a variant that the canary may yet
show to be bad. A pause does not end it, since what is fetched changes no node.
"""

from collections.abc import Collection
from typing import Final

from fleetfit_api.names import NodeName

from fleetfit_operator.rollout.hardware_class import ClassNodes
from fleetfit_operator.rollout.moves import in_turn

_NEAR_WAVES: Final = 2


def upcoming_waves(state: ClassNodes, moves: Collection[NodeName]) -> dict[NodeName, int]:
    """Return the nodes that wait and are near, with the number of waves until their turn, 1 for the next.

    Args:
        state: The class.
        moves: Nodes that may change now.
    """
    waiting = [
        node for node in in_turn(state) if node.name not in moves and node.wanted not in state.stopped_targets
    ]
    a_wave = state.max_unavailable
    return {node.name: 1 + place // a_wave for place, node in enumerate(waiting[: _NEAR_WAVES * a_wave])}
