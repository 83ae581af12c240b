"""`InferenceDeployment`: what a user declares to run one model on a fleet."""

from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from fleetfit_api.base import (
    ApiModel,
    Condition,
    Int64,
    KindNames,
    LabelRequirement,
    ObjectReference,
    PrinterColumn,
    Resource,
    cel,
    list_map,
    maximum_message,
    pattern_message,
)
from fleetfit_api.batching import Batching
from fleetfit_api.qoe import Qoe

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


class NodeSelectorTerm(ApiModel):
    """Requirements on node labels that must all hold."""

    match_expressions: list[LabelRequirement] = Field(
        min_length=1, max_length=32, description="Requirements on node labels."
    )


class NodeAffinity(ApiModel):
    """Which nodes are part of the deployment, beyond nodeSelector."""

    node_selector_terms: list[NodeSelectorTerm] = Field(
        min_length=1, max_length=16, description="Terms, one of which must match the node."
    )


class Pin(ApiModel):
    """Nodes on which the variant is fixed by the user."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "(has(self.nodeNames) && size(self.nodeNames) > 0) "
                "|| (has(self.nodeSelector) && size(self.nodeSelector) > 0)",
                "a pin needs nodeNames or nodeSelector",
            )
        )
    )

    name: str = Field(
        pattern=DNS_LABEL,
        max_length=63,
        description="Name of the pin, unique in the deployment.",
        json_schema_extra=pattern_message(
            "a pin's name must be lower-case letters, digits and '-', and begin and end with a letter or digit"
        ),
    )
    variant: str = Field(min_length=1, max_length=63, description="Variant that the nodes must run.")
    node_names: list[Annotated[str, Field(max_length=253)]] = Field(
        default=[], max_length=256, description="Names of the nodes."
    )
    node_selector: dict[str, Annotated[str, Field(max_length=63)]] = Field(
        default={}, description="Labels of the nodes; all must match."
    )


class Exploration(ApiModel):
    """Trying variants on few nodes for what is learnt from them."""

    max_nodes_share: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="Largest share of the deployment's nodes that try a variant which is not expected to be the best; "
        "0 forbids it.",
        json_schema_extra=maximum_message("maxNodesShare is a fraction of at most 0.5: 5% is 0.05"),
    )
    max_expected_loss: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Largest expected loss of QoE on a node that tries a variant.",
        json_schema_extra=maximum_message("maxExpectedLoss is a part of QoE, which goes from 0 to 1"),
    )


class Selection(ApiModel):
    """How variants are chosen and when a node changes to another one."""

    hysteresis: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="A node changes only for a variant whose QoE is better by more than this.",
    )
    hysteresis_sigmas: float = Field(
        default=1.0,
        ge=0,
        le=10,
        description="A node changes only for a variant whose QoE is better by more than this many standard deviations "
        "of the gain.",
    )
    exploration: Exploration = Field(
        default=Exploration(), description="Trying variants on few nodes for what is learnt from them."
    )
    minimum_dwell_seconds: int = Field(
        default=300,
        ge=0,
        le=604_800,
        description="A node keeps a variant at least this long, unless the deployment or its suite is edited "
        "or the variant is no longer feasible.",
    )
    pins: list[Pin] = Field(
        default=[],
        max_length=64,
        description="Nodes with a fixed variant.",
        json_schema_extra=list_map("name"),
    )


class Canary(ApiModel):
    """The first wave."""

    nodes_per_class: int = Field(
        default=1,
        ge=0,
        le=1000,
        description="Nodes of each hardware class that change first and must be ready before the others; "
        "0 skips.",
    )


class Rollout(ApiModel):
    """How a change moves over the fleet."""

    max_unavailable: int | str = Field(
        default="25%",
        description="Nodes of a hardware class that may change at the same time: a number or a percentage, "
        "rounded up, at least 1.",
        json_schema_extra={
            "x-kubernetes-int-or-string": True,
            **cel(
                (
                    "type(self) == int ? self >= 1 : self.matches('^([1-9][0-9]?|100)%$')",
                    "maxUnavailable must be a number of at least 1 or a percentage from 1% to 100%",
                )
            ),
        },
    )
    canary: Canary = Field(default=Canary(), description="The first wave.")
    max_failed_nodes: int = Field(
        default=0,
        ge=0,
        le=10_000,
        description="A class whose number of failed nodes exceeds this stops changing further nodes.",
    )
    progress_deadline_seconds: int = Field(
        default=600,
        ge=1,
        le=86_400,
        description="A node that is not ready this long after its change counts as failed.",
    )
    paused: bool = Field(default=False, description="No further node changes while true.")


class Serving(ApiModel):
    """How the model is offered on every node."""

    model_name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
        max_length=253,
        description="Name in the Open Inference Protocol, /v2/models/<modelName>; "
        "the deployment's name when absent.",
        json_schema_extra=pattern_message(
            "modelName must be letters, digits, '-', '_' and '.', and begin and end with a letter or digit"
        ),
    )
    batching: Batching = Field(default=Batching(), description="How requests run together on a node.")
    require_signature: bool = Field(
        default=False,
        description="Whether nodes load only variants with a signature by a key that their HardwareClass trusts.",
    )


class InferenceDeploymentSpec(ApiModel):
    """Desired state of a deployment."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "!has(self.serving) || !has(self.serving.batching) || !has(self.qoe) "
                "|| !has(self.serving.batching.maxWaitMilliseconds) "
                "|| self.serving.batching.maxWaitMilliseconds < self.qoe.latencyTargetMilliseconds",
                "serving.batching.maxWaitMilliseconds must be below qoe.latencyTargetMilliseconds: "
                "a request would be late by waiting alone",
            )
        )
    )

    suite_ref: ObjectReference = Field(description="The ModelSuite to choose from, in the same namespace.")
    node_selector: dict[str, Annotated[str, Field(max_length=63)]] = Field(
        default={},
        description="Labels that a node must have to be part of the deployment; every node when empty.",
    )
    node_affinity: NodeAffinity | None = Field(default=None, description="Further requirements on nodes.")
    qoe: Qoe = Field(default=Qoe(), description="What the users of a node like.")
    selection: Selection = Field(default=Selection(), description="How variants are chosen.")
    rollout: Rollout = Field(default=Rollout(), description="How a change moves over the fleet.")
    serving: Serving = Field(default=Serving(), description="How the model is offered on every node.")


class NodeCounts(ApiModel):
    """Counts of nodes by what they do for a deployment."""

    matched: int = Field(default=0, description="Nodes that the deployment selects.")
    assigned: int = Field(default=0, description="Nodes that have a variant assigned.")
    updated: int = Field(default=0, description="Nodes assigned the variant that is wanted now.")
    ready: int = Field(default=0, description="Nodes that serve the wanted variant.")
    serving: int = Field(default=0, description="Nodes that serve any variant.")
    failed: int = Field(default=0, description="Nodes whose wanted variant failed.")
    absent: int = Field(default=0, description="Nodes that do not answer; they catch up when they return.")


class VariantStatus(ApiModel):
    """Where one variant runs."""

    name: str = Field(description="Name of the variant.")
    assigned: int = Field(default=0, description="Nodes that have it assigned.")
    ready: int = Field(default=0, description="Nodes that serve it.")


class ClassStatus(ApiModel):
    """Progress of the rollout in one hardware class, and what its nodes get."""

    name: str = Field(description="Name of the hardware class.")
    nodes: int = Field(default=0, description="Nodes of the class that the deployment selects.")
    updated: int = Field(default=0, description="Nodes assigned the variant that is wanted now.")
    ready: int = Field(default=0, description="Nodes that serve the wanted variant.")
    failed: int = Field(default=0, description="Nodes whose wanted variant failed.")
    absent: int = Field(default=0, description="Nodes that do not answer.")
    phase: str = Field(default="", description="Complete, Canary, Rolling, Paused or Stopped.")
    message: str = Field(
        default="", max_length=2048, description="What the class waits for, or the choice of its nodes."
    )
    drifting_variants: list[Annotated[str, Field(max_length=63)]] = Field(
        default=[],
        max_length=64,
        description="Variants whose latency on the class's nodes is not what was predicted, or no longer what it was; "
        "the condition Degraded says more.",
    )


class InferenceDeploymentStatus(ApiModel):
    """Observed state of a deployment."""

    observed_generation: Int64 | None = Field(
        default=None, description="Generation that the status was computed from."
    )
    model_name: str = Field(default="", description="Name under which nodes serve the model.")
    url: str = Field(
        default="", description="Address at which a client on any node reaches that node's model."
    )
    ready_summary: str = Field(default="", description="Ready nodes of matched nodes, as in 5/6.")
    variants_summary: str = Field(default="", description="Variants and the number of nodes that serve them.")
    nodes: NodeCounts = Field(default=NodeCounts(), description="Counts of nodes.")
    variants: list[VariantStatus] = Field(
        default=[], max_length=64, description="Where each variant runs.", json_schema_extra=list_map("name")
    )
    classes: list[ClassStatus] = Field(
        default=[],
        max_length=256,
        description="Progress per hardware class.",
        json_schema_extra=list_map("name"),
    )
    conditions: list[Condition] = Field(
        default=[],
        description="Conditions: Ready, Progressing, Degraded.",
        json_schema_extra=list_map("type"),
    )


class InferenceDeployment(Resource):
    """Runs on every selected node the variant of a suite that gives its users the best quality of experience."""

    NAMES: ClassVar = KindNames("InferenceDeployment", "inferencedeployments", "infd", namespaced=True)
    COLUMNS: ClassVar = (
        PrinterColumn("Suite", ".spec.suiteRef.name"),
        PrinterColumn("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        PrinterColumn("Nodes", ".status.readySummary"),
        PrinterColumn("Variants", ".status.variantsSummary"),
        PrinterColumn("Status", '.status.conditions[?(@.type=="Ready")].reason'),
        PrinterColumn("Target(ms)", ".spec.qoe.latencyTargetMilliseconds", "number", priority=1),
        PrinterColumn("URL", ".status.url", priority=1),
        PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
    )

    kind: str = "InferenceDeployment"
    spec: InferenceDeploymentSpec
    status: InferenceDeploymentStatus = InferenceDeploymentStatus()

    @property
    def model_name(self) -> str:
        """Name under which nodes serve the model."""
        return self.spec.serving.model_name or self.metadata.name
