"""The nodes of one hardware class in a rollout, counted in every way that the rules ask for.

Rules are in `moves`, sentences in `messages`; this module only knows facts.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from fleetfit_api.deployment import Rollout
from fleetfit_api.names import NodeName

from fleetfit_operator.fleet.progress import RolloutNode, Target
from fleetfit_operator.rollout.standing import Standing, deadline_of, serves_something, standing_of


@dataclass(frozen=True)
class ClassNodes:
    """The nodes of a class.

    Attributes:
        rollout: What the user declared.
        nodes: The nodes, sorted by name.
        now: The time, UTC.
    """

    rollout: Rollout
    nodes: Sequence[RolloutNode]
    now: datetime

    @cached_property
    def standings(self) -> dict[NodeName, Standing]:
        """How each node stands."""
        deadline_s = self.rollout.progress_deadline_seconds
        return {node.name: standing_of(node, deadline_s, self.now) for node in self.nodes}

    @cached_property
    def present(self) -> list[RolloutNode]:
        """Nodes that answer."""
        return [node for node in self.nodes if not node.absent]

    @cached_property
    def max_unavailable(self) -> int:
        """Nodes that may change at the same time; a percentage is of the nodes that answer."""
        return max_unavailable_nodes(self.rollout.max_unavailable, len(self.present))

    @cached_property
    def movers(self) -> list[RolloutNode]:
        """Present nodes that are assigned something else than they should run."""
        return [n for n in self.present if n.wanted is not None and n.assigned != n.wanted]

    @cached_property
    def in_flight(self) -> dict[NodeName, Target]:
        """Present nodes that have been told and have not yet reported an end, with what they were told."""
        return {
            node.name: node.assigned
            for node in self.present
            if node.assigned is not None and self.standings[node.name] is Standing.IN_FLIGHT
        }

    @cached_property
    def broken(self) -> list[RolloutNode]:
        """Present nodes that failed and serve nothing, not even an earlier variant."""
        return [
            node
            for node in self.present
            if self.standings[node.name] is Standing.FAILED and not serves_something(node)
        ]

    @cached_property
    def targets(self) -> frozenset[Target]:
        """What the nodes of the class should run; a node that wants nothing new keeps what it has."""
        return frozenset(target for node in self.nodes if (target := destination(node)) is not None)

    @cached_property
    def failed(self) -> dict[NodeName, frozenset[Target]]:
        """Nodes with the targets that failed on them, as far as the class still wants these."""
        failed = {node.name: self._failed_targets(node) & self.targets for node in self.nodes}
        return {name: targets for name, targets in failed.items() if targets}

    @cached_property
    def stopped_targets(self) -> frozenset[Target]:
        """Targets to which no node may change any more, since too many nodes failed."""
        if len(self.failed) <= self.rollout.max_failed_nodes:
            return frozenset()
        return frozenset().union(*self.failed.values())

    @cached_property
    def ready_by_target(self) -> dict[Target, int]:
        """Nodes that have reported themselves ready, by what they run; an absent node's last report counts."""
        ready: dict[Target, int] = {}
        for node in self.nodes:
            if node.assigned is not None and self.standings[node.name] is Standing.READY:
                ready[node.assigned] = ready.get(node.assigned, 0) + 1
        return ready

    @cached_property
    def canaries_needed(self) -> dict[Target, int]:
        """Nodes that must be ready with a target before it may spread: the canaries, or all where there are fewer."""
        wanting = Counter(target for node in self.nodes if (target := destination(node)) is not None)
        return {target: min(count, self.rollout.canary.nodes_per_class) for target, count in wanting.items()}

    def is_proven(self, target: Target) -> bool:
        """Return whether enough nodes of the class are ready with the target for the others to follow."""
        return self.ready_by_target.get(target, 0) >= self.canaries_needed.get(target, 0)

    def next_deadline_s(self) -> float | None:
        """Return the seconds until the next node in flight counts as failed, or None."""
        deadline_s = self.rollout.progress_deadline_seconds
        deadlines = (deadline_of(node, deadline_s) for node in self.present if node.name in self.in_flight)
        return min(((d - self.now).total_seconds() for d in deadlines if d is not None), default=None)

    def _failed_targets(self, node: RolloutNode) -> frozenset[Target]:
        if node.assigned is not None and self.standings[node.name] is Standing.FAILED:
            return node.failed_targets | {node.assigned}
        return node.failed_targets - ({node.assigned} if node.assigned is not None else set())


def destination(node: RolloutNode) -> Target | None:
    """Return what the node will run when all is done: what it should, else what it has."""
    return node.wanted if node.wanted is not None else node.assigned


def max_unavailable_nodes(value: int | str, nodes: int) -> int:
    """Return maxUnavailable as a number of nodes: a percentage is rounded up, and it is at least 1.

    Raises:
        ValueError: the text is neither a number nor a percentage; the CRD does not admit such a value.
    """
    if isinstance(value, str) and value.endswith("%"):
        return max(1, math.ceil(int(value[:-1]) * nodes / 100))
    return max(1, int(value))
