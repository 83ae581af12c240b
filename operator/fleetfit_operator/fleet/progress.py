"""What a rollout looks at and what it decides; the values between `select`, `rollout` and `apply`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fleetfit_api.deployment import ClassStatus
from fleetfit_api.model_status import ModelStatus
from fleetfit_api.names import NodeName
from fleetfit_api.node_inference import UpcomingModel


@dataclass(frozen=True, slots=True)
class Target:
    """The content that a node should run: two targets are equal when the node has nothing to do."""

    variant: str
    sha256: str


@dataclass(frozen=True, slots=True)
class RolloutNode:
    """A node as a rollout sees it.

    Attributes:
        name: Name of the node.
        hardware_class: Name of its class.
        wanted: What it should run; None when nothing is feasible, it then keeps what it has.
        assigned: What it was told to run, None before the first assignment.
        assigned_at: When it was told.
        report: What its runtime last reported of the model.
        absent: It does not answer (not ready, cut off); it neither blocks nor moves.
        absent_since: When it stopped answering, where that is known: a node that vanished in the middle of a change
            counts as failed by it, one that was switched off later does not.
        not_ready_since: When its runtime stopped being ready, where that is known: a node that merely restarts is
            not late, however long ago it was told its variant.
        failed_targets: What it could not run for good, remembered although it has moved on to something else.
    """

    name: NodeName
    hardware_class: str
    wanted: Target | None
    assigned: Target | None
    assigned_at: datetime | None
    report: ModelStatus | None
    absent: bool
    absent_since: datetime | None = None
    not_ready_since: datetime | None = None
    failed_targets: frozenset[Target] = frozenset()


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """What to do now.

    Attributes:
        moves: Nodes that may be told their wanted target now.
        classes: Progress per hardware class, sorted by name.
        upcoming: Nodes that wait for their turn and are near, with the number of waves until then.
        next_check_s: Seconds until the plan may change by the passing of time alone (a deadline); None when it cannot.
    """

    moves: frozenset[NodeName]
    classes: tuple[ClassStatus, ...]
    next_check_s: float | None
    upcoming: Mapping[NodeName, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UpcomingChange:
    """What a node will probably be told soon.

    Attributes:
        waves: Waves until then, 1 for the next.
        model: The files that it will need.
    """

    waves: int
    model: UpcomingModel
