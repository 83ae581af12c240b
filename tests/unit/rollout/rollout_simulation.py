"""A fleet in miniature: nodes that take their time, fail, vanish and come back, moved by the planner alone."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import cache

from fleetfit_api.deployment import Rollout
from fleetfit_api.model_status import ModelPhase, ModelStatus
from fleetfit_api.names import NodeName
from fleetfit_operator.fleet.progress import RolloutNode, RolloutPlan
from fleetfit_operator.rollout.plan import plan_rollout

from tests.unit.fleet_builders import later, report, target

TICK_S = 10


@dataclass
class SimulatedNode:
    """A node; `load_ticks` is how long a change takes, `away` the ticks in which it does not answer."""

    name: NodeName
    hardware_class: str = "x86"
    wanted: str = "b"
    assigned: str | None = "a"
    load_ticks: int = 1
    away: frozenset[int] = frozenset()
    bad: frozenset[str] = frozenset()
    serving: str | None = "a"
    failed: bool = False
    told_at: int = -1000
    seen: ModelStatus | None = None
    returned_at: int = -1000
    left_at: int = -1000
    progress: int = 0
    given: list[str] = field(default_factory=list)

    def step(self, tick: int) -> None:
        """Live through one tick: come and go, load, report."""
        if tick in self.away:
            self.left_at = tick if tick - 1 not in self.away else self.left_at
            return
        if tick - 1 in self.away:
            self.returned_at = tick
        if self.assigned is None:
            return
        if self.assigned != self.serving and not self.failed:
            self.progress += 1
            if self.progress > self.load_ticks:
                self.failed = self.assigned in self.bad
                self.serving = self.serving if self.failed else self.assigned
        self.seen = self._report(self.assigned)

    def tell(self, variant: str, tick: int) -> None:
        """Assign a variant."""
        self.assigned, self.told_at, self.progress, self.failed = variant, tick, 0, False
        self.given.append(variant)

    def loading(self) -> bool:
        """Return whether the node works on a change."""
        return self.assigned is not None and self.assigned != self.serving and not self.failed

    def facts(self, tick: int) -> RolloutNode:
        """Return what the operator reads of the node."""
        absent = tick in self.away
        return RolloutNode(
            name=self.name,
            hardware_class=self.hardware_class,
            wanted=target(self.wanted),
            assigned=target(self.assigned) if self.assigned else None,
            assigned_at=moment(self.told_at) if self.assigned else None,
            report=self.seen,
            absent=absent,
            absent_since=moment(self.left_at) if absent else None,
            not_ready_since=moment(self.returned_at),
        )

    def _report(self, assigned: str) -> ModelStatus:
        phase = ModelPhase.LOADING
        if self.failed:
            phase = ModelPhase.FAILED
        elif self.serving == assigned:
            phase = ModelPhase.READY
        return _report(assigned, phase, self.serving or "")


@dataclass
class Simulation:
    """A fleet under a rollout."""

    rollout: Rollout
    nodes: list[SimulatedNode]
    tick: int = 0

    def plan(self) -> RolloutPlan:
        """Return what the operator would do now, from what it can read alone."""
        return plan_rollout(self.rollout, [node.facts(self.tick) for node in self.nodes], moment(self.tick))

    def advance(self) -> RolloutPlan:
        """Let a tick pass: nodes live, the operator plans, moves are told."""
        self.tick += 1
        for node in self.nodes:
            node.step(self.tick)
        plan = self.plan()
        for node in self.nodes:
            if node.name in plan.moves:
                node.tell(node.wanted, self.tick)
        return plan

    def loading(self, hardware_class: str) -> int:
        """Return how many present nodes of the class work on a change."""
        members = (node for node in self.nodes if node.hardware_class == hardware_class)
        return sum(node.loading() and self.tick not in node.away for node in members)


@cache
def _report(variant: str, phase: ModelPhase, serving: str) -> ModelStatus:
    reason = "WarmUpFailed" if phase is ModelPhase.FAILED else ""
    return report(variant, phase, servingVariant=serving, reason=reason)


def moment(tick: int) -> datetime:
    """Return the time of a tick."""
    return later(tick * TICK_S)
