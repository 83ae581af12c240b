"""`NodeInference`: what one node runs (written by the operator) and what it reports (by its runtime)."""

from datetime import datetime
from typing import Annotated, ClassVar

from pydantic import Field

from fleetfit_api.base import ApiModel, Condition, Int64, KindNames, PrinterColumn, Resource, list_map
from fleetfit_api.batching import Batching
from fleetfit_api.model_status import ModelStatus
from fleetfit_api.node_telemetry import NodeTelemetry, ReferenceRun
from fleetfit_api.precision import Precision
from fleetfit_api.prediction import Contribution, Prediction


class FailedVariant(ApiModel):
    """A variant that the node could not run for a reason that trying again does not cure."""

    variant: str = Field(min_length=1, max_length=63, description="Name of the variant.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 digest of the file that failed.")
    reason: str = Field(default="", max_length=1024, description="Why, one CamelCase word.")


class MeasuredVariant(ApiModel):
    """What the node itself timed of a variant, and what is remembered of earlier timings of it.

    A timing is what the runtime measured, back to back, when it loaded the variant; each start times it anew.
    """

    variant: str = Field(min_length=1, max_length=63, description="Name of the variant.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 digest of the file that was timed.")
    latency_p95_seconds: float = Field(
        ge=0,
        description="95th percentile of the time of one inference in seconds, a geometric mean over the timings; 0 "
        "when every timing was disturbed.",
    )
    latency_p50_seconds: float = Field(
        default=0.0,
        ge=0,
        description="Median time of one inference in seconds, a geometric mean over the timings; 0 when unknown.",
    )
    samples: int = Field(ge=0, description="Number of inferences that the figures rest on.")
    timings: int = Field(default=1, ge=0, description="Number of timings that the figures rest on.")
    memory_bytes: Int64 = Field(
        default=0, ge=0, description="Memory that loading the variant took in bytes; 0 when unknown."
    )
    last_p95_seconds: float = Field(
        default=0.0,
        ge=0,
        description="p95 of the latest timing that counts in seconds; the same figure again is not another timing.",
    )
    disturbed_p95_seconds: float = Field(
        default=0.0,
        ge=0,
        description="p95 in seconds of the latest timing while the node was throttled, busy with other work or on "
        "battery; it says how the node is now and corrects no prediction. 0 when the latest timing counts.",
    )
    slower: float = Field(
        default=0.0,
        ge=0,
        description="Cumulative sum of how much slower timings were than those before, in standard deviations.",
    )
    faster: float = Field(
        default=0.0,
        ge=0,
        description="Cumulative sum of how much faster timings were than those before, in standard deviations.",
    )
    before_drift_p95_seconds: float = Field(
        default=0.0,
        ge=0,
        description="p95 in seconds before the timings of this variant changed for good; 0 when they have not.",
    )
    reference_run: str = Field(
        default="",
        max_length=64,
        description="Digest of the node's reference run when the variant was last timed; another one now means that "
        "the node has been fingerprinted anew since.",
    )


class AssignedFile(ApiModel):
    """A further file that a model needs."""

    name: str = Field(min_length=1, max_length=253, description="Path of the file, relative to the graph.")
    uri: str = Field(min_length=1, max_length=4096, description="Absolute URI of the file.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 digest of the file.")
    size_bytes: Int64 = Field(ge=1, description="Size of the file in bytes.")


class ModelSource(ApiModel):
    """Where the files of a variant are, and what they must be."""

    uri: str = Field(min_length=1, max_length=4096, description="Absolute URI of the ONNX file.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 digest of the file.")
    size_bytes: Int64 = Field(ge=1, description="Size of the file in bytes.")
    files: list[AssignedFile] = Field(
        default=[],
        max_length=8,
        description="Further files that the graph needs, with absolute URIs.",
        json_schema_extra=list_map("name"),
    )
    signature_uri: str = Field(
        default="", max_length=4096, description="Absolute URI of the signature; empty without one."
    )


class Assignment(ModelSource):
    """One model that the node must serve, and why this variant of it."""

    namespace: str = Field(min_length=1, max_length=63, description="Namespace of the InferenceDeployment.")
    deployment: str = Field(min_length=1, max_length=253, description="Name of the InferenceDeployment.")
    model_name: str = Field(min_length=1, max_length=253, description="Name in the Open Inference Protocol.")
    suite: str = Field(min_length=1, max_length=253, description="Name of the ModelSuite.")
    variant: str = Field(min_length=1, max_length=63, description="Name of the variant.")
    precision: Precision = Field(description="Number format of the variant.")
    require_signature: bool = Field(
        default=False, description="Whether the model must not be loaded without a good signature."
    )
    batching: Batching = Field(default=Batching(), description="How requests for the model run together.")
    accuracy: float = Field(default=0.0, ge=0, le=1, description="Accuracy of the variant on held-out data.")
    predicted: Prediction | None = Field(default=None, description="What is expected of the chosen variant.")
    runner_up: Prediction | None = Field(default=None, description="The next best variant.")
    reason: str = Field(default="", max_length=2048, description="Why this variant, a sentence for people.")
    would_change: str = Field(
        default="",
        max_length=1024,
        description="What would make the choice another one, a sentence for people.",
    )
    contributions: list[Contribution] = Field(
        default=[],
        max_length=8,
        description="Features that changed the predicted latency the most, from the model.",
        json_schema_extra=list_map("feature"),
    )
    exploring: bool = Field(
        default=False, description="Whether the node tries this variant for what is learnt from it."
    )
    ask_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of replies in which the runtime asks the user for a rating.",
    )
    assigned_at: datetime | None = Field(default=None, description="When the node was given this variant.")
    decided_from: str = Field(
        default="",
        max_length=64,
        description="Digest of the suite, qoe and selection that the choice was made from; another one now "
        "means that the user has edited them since.",
    )
    failed_variants: list[FailedVariant] = Field(
        default=[],
        max_length=64,
        description="Variants that failed on this node for good; not chosen again until their file changes "
        "or the user edits the suite, qoe or selection.",
        json_schema_extra=list_map("variant"),
    )
    measured_variants: list[MeasuredVariant] = Field(
        default=[],
        max_length=64,
        description="What the node timed of variants that it has run; remembered after it has left them, so that a "
        "prediction that was wrong once is not believed again.",
        json_schema_extra=list_map("variant"),
    )


class UpcomingModel(ModelSource):
    """Files of a variant that the node will probably be assigned soon."""


class NodeHardware(ApiModel):
    """What the operator knows of a node's hardware from its labels and resources; empty or 0 where nothing tells."""

    architecture: str = Field(default="", max_length=63, description="Processor architecture, such as arm64.")
    processor: str = Field(
        default="",
        max_length=253,
        description="Processor, such as Intel family 6 model 154 or ARM Cortex-A72.",
    )
    instruction_sets: list[Annotated[str, Field(max_length=63)]] = Field(
        default=[],
        max_length=64,
        description="Instruction sets that matter for inference, such as AVX512VNNI.",
    )
    cpu_cores: float = Field(default=0.0, ge=0, description="Processor cores.")
    memory_bytes: Int64 = Field(default=0, ge=0, description="Memory in bytes.")
    board: str = Field(default="", max_length=253, description="Board, such as nvidia-jetson-nano.")
    accelerator_vendor: str = Field(
        default="", max_length=63, description="Vendor of the accelerator, such as nvidia."
    )
    accelerator_kind: str = Field(
        default="", max_length=63, description="Kind of the accelerator: gpu, npu, tpu, vpu or fpga."
    )
    accelerator_product: str = Field(
        default="",
        max_length=253,
        description="Product name, such as NVIDIA-A2 or Flex_140; device-46a6 where only the id is known.",
    )
    accelerator_count: int = Field(
        default=0, ge=0, description="Number of accelerators, not of shares of them; 0 when unknown."
    )
    accelerator_memory_bytes: Int64 = Field(
        default=0, ge=0, description="Memory of one accelerator in bytes."
    )
    compute_capability: str = Field(
        default="", max_length=16, description="CUDA compute capability, such as 8.7."
    )
    driver_version: str = Field(default="", max_length=63, description="Version of the accelerator's driver.")


class NodeInferenceSpec(ApiModel):
    """What the node must run."""

    hardware_class: str = Field(default="", max_length=253, description="Hardware class of the node.")
    hardware: NodeHardware = Field(
        default=NodeHardware(),
        description="What is known of the node's hardware from its labels and resources.",
    )
    leader_epoch: Int64 = Field(
        default=0,
        ge=0,
        description="Number of leader changes of the operator that wrote this; the node refuses older ones.",
    )
    assignments: list[Assignment] = Field(
        default=[],
        max_length=64,
        description="The models of the node.",
        json_schema_extra=list_map("namespace", "deployment"),
    )
    upcoming: list[UpcomingModel] = Field(
        default=[],
        max_length=4,
        description="What the node will probably run once it is its turn in a rollout, the nearest first; it fetches "
        "these files ahead where it has room to spare.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )


class NodeInferenceStatus(ApiModel):
    """What the node reports."""

    observed_generation: Int64 | None = Field(
        default=None, description="Generation of the spec that the node works on."
    )
    observed_epoch: Int64 = Field(default=0, description="Highest leader epoch that the node has seen.")
    endpoint: str = Field(default="", description="Base address of the node's inference server.")
    ready_summary: str = Field(default="", description="Ready models of assigned models, as in 1/1.")
    models_summary: str = Field(default="", description="Models with the variants that answer requests.")
    models: list[ModelStatus] = Field(
        default=[],
        max_length=64,
        description="State per model.",
        json_schema_extra=list_map("namespace", "deployment"),
    )
    reference_runs: list[ReferenceRun] = Field(
        default=[],
        max_length=8,
        description="Reference runs by provider.",
        json_schema_extra=list_map("provider"),
    )
    telemetry: NodeTelemetry = Field(
        default=NodeTelemetry(), description="What the runtime knows about its node."
    )
    conditions: list[Condition] = Field(
        default=[], description="Conditions: Ready.", json_schema_extra=list_map("type")
    )


class NodeInference(Resource):
    """All models of one node; its name is the node's name."""

    NAMES: ClassVar = KindNames("NodeInference", "nodeinferences", "ninf", namespaced=False)
    COLUMNS: ClassVar = (
        PrinterColumn("Class", ".spec.hardwareClass"),
        PrinterColumn("Ready", ".status.readySummary"),
        PrinterColumn("Models", ".status.modelsSummary"),
        PrinterColumn("Provider", ".status.models[*].provider"),
        PrinterColumn("Accelerator", ".spec.hardware.acceleratorVendor", priority=1),
        PrinterColumn("Product", ".spec.hardware.acceleratorProduct", priority=1),
        PrinterColumn("Endpoint", ".status.endpoint", priority=1),
        PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
    )

    kind: str = "NodeInference"
    spec: NodeInferenceSpec = NodeInferenceSpec()
    status: NodeInferenceStatus = NodeInferenceStatus()
