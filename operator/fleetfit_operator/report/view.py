"""What the status of a deployment is derived from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from fleetfit_api import InferenceDeployment
from fleetfit_api.names import NodeName
from fleetfit_api.reasons import Reason

from fleetfit_operator.fleet.choice import Choice
from fleetfit_operator.fleet.prediction_errors import VariantError
from fleetfit_operator.fleet.progress import RolloutNode, RolloutPlan
from fleetfit_operator.fleet.snapshot import DeploymentKey
from fleetfit_operator.rollout.messages import ClassPhase


@dataclass(frozen=True)
class DeploymentView:
    """A deployment with everything that was found and decided for it.

    Attributes:
        deployment: The deployment, with the status that it has now.
        suite_found: Whether its suite exists.
        nodes: The nodes that it serves or will serve: all that it selects but those lost to another deployment.
        plan: What `plan_rollout` made of these nodes.
        choices: The choice for each node that one was made for.
        waiting: Nodes that no choice can be made for yet: AwaitingRuntime or AwaitingReferenceRun.
        lost: Nodes on which an older deployment serves the model name, with that deployment.
        service_namespace: Namespace of the Service of the runtime.
        now: The time, UTC.
        prediction_errors: How far predictions were from what nodes timed, by class and variant.
    """

    deployment: InferenceDeployment
    suite_found: bool
    nodes: Sequence[RolloutNode]
    plan: RolloutPlan
    choices: Mapping[NodeName, Choice]
    waiting: Mapping[NodeName, Reason]
    lost: Mapping[NodeName, DeploymentKey]
    service_namespace: str
    now: datetime
    prediction_errors: Sequence[VariantError] = ()

    @property
    def matched(self) -> int:
        """Number of nodes that the deployment selects."""
        return len(self.nodes) + len(self.lost)

    @cached_property
    def present(self) -> list[RolloutNode]:
        """Nodes that answer."""
        return [node for node in self.nodes if not node.absent]

    @cached_property
    def without_variant(self) -> list[NodeName]:
        """Nodes for which no variant may be chosen, in order of name."""
        return sorted(name for name, choice in self.choices.items() if choice.chosen is None)

    def class_messages(self, *phases: ClassPhase) -> str:
        """Return what the classes in these phases say, each with its name."""
        return "; ".join(f"{each.name}: {each.message}" for each in self.plan.classes if each.phase in phases)

    def any_class(self, *phases: ClassPhase) -> bool:
        """Return whether a class is in one of these phases."""
        return any(each.phase in phases for each in self.plan.classes)
