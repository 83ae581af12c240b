"""What the operator knows of the fleet at one moment, as immutable values.

Made by `observe`, read by the pure rooms. Holds no clients, no clocks and no behaviour beyond look-ups.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fleetfit_api import HardwareClass, InferenceDeployment, ModelSuite, NodeInference
from fleetfit_api.model_status import ModelStatus
from fleetfit_api.names import NodeName
from fleetfit_api.node_inference import Assignment, NodeHardware
from fleetfit_api.node_telemetry import ReferenceRun


@dataclass(frozen=True, slots=True)
class DeploymentKey:
    """Identity of an InferenceDeployment."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """Return namespace/name as users write it."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Node:
    """Projection of a Kubernetes node: only what decisions rest on, so that heartbeats do not change it.

    Attributes:
        name: Name of the node.
        labels: All labels.
        capacity: Capacity in base units: cores, bytes, pieces of extended resources.
        ready: Whether the Ready condition is True and the node is not being deleted.
        ready_changed_at: When the Ready condition last flipped; heartbeats do not change it.
    """

    name: NodeName
    labels: Mapping[str, str] = field(default_factory=dict)
    capacity: Mapping[str, float] = field(default_factory=dict)
    ready: bool = True
    ready_changed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FleetNode:
    """A node with its hardware class and what is assigned to it and reported by it.

    Attributes:
        node: The node.
        hardware_class: The class that the node was sorted into; None when no class matches.
        inference: The node's NodeInference; None before the first write.
        runtime_ready_at: When the node's runtime pod became ready; None while it is not ready or absent.
        hardware: What the node's labels and capacity say of its hardware.
    """

    node: Node
    hardware_class: HardwareClass | None = None
    inference: NodeInference | None = None
    runtime_ready_at: datetime | None = None
    hardware: NodeHardware = field(default_factory=NodeHardware)

    @property
    def name(self) -> NodeName:
        """Name of the node."""
        return self.node.name

    @property
    def class_name(self) -> str:
        """Name of the node's hardware class, empty when no class matches."""
        return self.hardware_class.metadata.name if self.hardware_class else ""

    def assignment(self, key: DeploymentKey) -> Assignment | None:
        """Return what the deployment has assigned to the node, or None."""
        assignments = self.inference.spec.assignments if self.inference else []
        return next(
            (a for a in assignments if (a.namespace, a.deployment) == (key.namespace, key.name)), None
        )

    def report(self, key: DeploymentKey) -> ModelStatus | None:
        """Return what the node reports of the deployment's model, or None."""
        models = self.inference.status.models if self.inference else []
        return next((m for m in models if (m.namespace, m.deployment) == (key.namespace, key.name)), None)

    def reference_run(self) -> ReferenceRun | None:
        """Return the reference run on the first provider of the class that has one, or None."""
        runs = {run.provider: run for run in (self.inference.status.reference_runs if self.inference else [])}
        providers = self.hardware_class.spec.runtime.providers if self.hardware_class else []
        return next((runs[provider] for provider in providers if provider in runs), None)


@dataclass(frozen=True, slots=True)
class FleetSnapshot:
    """Everything a decision may rest on.

    Attributes:
        taken_at: When the snapshot was made, UTC.
        nodes: All nodes by name.
        deployments: All InferenceDeployments.
        suites: All ModelSuites by (namespace, name).
        classes: All HardwareClasses.
    """

    taken_at: datetime
    nodes: Mapping[NodeName, FleetNode]
    deployments: Mapping[DeploymentKey, InferenceDeployment]
    suites: Mapping[tuple[str, str], ModelSuite]
    classes: tuple[HardwareClass, ...]
