"""`NodeInference`: what one node runs (written by the operator) and what it reports (by its runtime)."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from fleetfit_api.base import ApiModel, Condition, Int64, KindNames, PrinterColumn, Resource, list_map
from fleetfit_api.suite import Precision


class Evidence(StrEnum):
    """What a predicted latency rests on, best first."""

    MEASURED = "Measured"
    REFERENCE_RUN = "ReferenceRun"
    FEATURES_ONLY = "FeaturesOnly"


class Prediction(ApiModel):
    """What the operator expects of a variant on the node."""

    variant: str = Field(description="Name of the variant.")
    latency_p95_seconds: float = Field(ge=0, description="Expected p95 latency of one inference in seconds.")
    qoe: float = Field(ge=0, le=1, description="Expected quality of experience, 0 to 1.")
    evidence: Evidence = Field(description="What the latency rests on.")


class FailedVariant(ApiModel):
    """A variant that the node could not run for a reason that trying again does not cure."""

    variant: str = Field(min_length=1, max_length=63, description="Name of the variant.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 digest of the file that failed.")
    reason: str = Field(default="", max_length=1024, description="Why, one CamelCase word.")


class MeasuredVariant(ApiModel):
    """What the node itself timed of a variant when it switched to it."""

    variant: str = Field(min_length=1, max_length=63, description="Name of the variant.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 digest of the file that was timed.")
    latency_p95_seconds: float = Field(
        ge=0, description="95th percentile of the time of one inference in seconds."
    )
    samples: int = Field(ge=0, description="Number of inferences that the figure rests on.")


class Assignment(ApiModel):
    """One model that the node must serve, and why this variant of it."""

    namespace: str = Field(min_length=1, max_length=63, description="Namespace of the InferenceDeployment.")
    deployment: str = Field(min_length=1, max_length=253, description="Name of the InferenceDeployment.")
    model_name: str = Field(min_length=1, max_length=253, description="Name in the Open Inference Protocol.")
    suite: str = Field(min_length=1, max_length=253, description="Name of the ModelSuite.")
    variant: str = Field(min_length=1, max_length=63, description="Name of the variant.")
    precision: Precision = Field(description="Number format of the variant.")
    uri: str = Field(min_length=1, max_length=4096, description="Absolute URI of the ONNX file.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 digest of the file.")
    size_bytes: Int64 = Field(ge=1, description="Size of the file in bytes.")
    accuracy: float = Field(default=0.0, ge=0, le=1, description="Accuracy of the variant on held-out data.")
    predicted: Prediction | None = Field(default=None, description="What is expected of the chosen variant.")
    runner_up: Prediction | None = Field(default=None, description="The next best variant.")
    reason: str = Field(default="", max_length=2048, description="Why this variant, a sentence for people.")
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


class NodeInferenceSpec(ApiModel):
    """What the node must run."""

    hardware_class: str = Field(default="", max_length=253, description="Hardware class of the node.")
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


class ModelPhase(StrEnum):
    """How far a node is with an assigned model."""

    PENDING = "Pending"
    DOWNLOADING = "Downloading"
    LOADING = "Loading"
    READY = "Ready"
    FAILED = "Failed"


class MeasurementSource(StrEnum):
    """Where measured figures come from."""

    WARM_UP = "WarmUp"
    LIVE = "Live"


class Measured(ApiModel):
    """What the node measured of a model that it serves."""

    latency_p50_seconds: float = Field(ge=0, description="Median time of one inference in seconds.")
    latency_p95_seconds: float = Field(
        ge=0, description="95th percentile of the time of one inference in seconds."
    )
    samples: int = Field(ge=0, description="Number of inferences that the figures rest on.")
    source: MeasurementSource = Field(
        description="WarmUp: timed by the runtime itself; Live: requests of users."
    )


class ModelStatus(ApiModel):
    """State of one assigned model on the node."""

    namespace: str = Field(description="Namespace of the InferenceDeployment.")
    deployment: str = Field(description="Name of the InferenceDeployment.")
    model_name: str = Field(default="", description="Name in the Open Inference Protocol.")
    variant: str = Field(description="Variant that is assigned.")
    sha256: str = Field(default="", description="Digest of the variant that is assigned.")
    phase: ModelPhase = Field(description="How far the node is with the assigned variant.")
    reason: str = Field(default="", max_length=1024, description="Why, one CamelCase word.")
    message: str = Field(default="", max_length=2048, description="Why, a sentence for people.")
    serving_variant: str = Field(
        default="",
        description="Variant that answers requests now; differs during a change or after a failure.",
    )
    provider: str = Field(
        default="", description="Execution provider that runs the model, as proven after loading."
    )
    provider_fallback: bool = Field(
        default=False, description="True when the class's first provider could not be used."
    )
    provider_message: str = Field(
        default="", max_length=2048, description="Why the first provider could not be used."
    )
    measured: Measured | None = Field(
        default=None,
        description="Latest measured figures of the serving variant: of requests where there are enough.",
    )
    warm_up: Measured | None = Field(
        default=None,
        description="What the runtime timed of the serving variant, back to back, before it switched to it; unlike "
        "figures of requests it can be compared between variants.",
    )


class ReferenceTime(ApiModel):
    """Time of one network of the reference set."""

    name: str = Field(description="Name of the reference network.")
    latency_p50_seconds: float = Field(gt=0, description="Median time of one inference in seconds.")
    latency_p95_seconds: float = Field(
        gt=0, description="95th percentile of the time of one inference in seconds."
    )
    latency_mean_seconds: float = Field(
        default=0.0,
        ge=0,
        description="Mean time of one inference in seconds, pauses by a CPU quota included; 0 when unknown.",
    )


class ReferenceRun(ApiModel):
    """Times of the reference set on one provider: the node's fingerprint for prediction."""

    provider: str = Field(description="Execution provider that was timed.")
    set_version: str = Field(description="Version of the reference set.")
    intra_op_threads: int = Field(
        default=0, ge=0, description="Threads of one inference; 0 when ONNX Runtime decides."
    )
    spread: float = Field(
        default=0.0, ge=0, description="Relative spread of repeated runs: how noisy the node is."
    )
    times: list[ReferenceTime] = Field(
        default=[], max_length=64, description="Times by network.", json_schema_extra=list_map("name")
    )


class NodeTelemetry(ApiModel):
    """What the runtime knows about its node."""

    runtime_version: str = Field(default="", description="Version of the runtime.")
    onnxruntime_version: str = Field(default="", description="Version of ONNX Runtime.")
    available_providers: list[Annotated[str, Field(max_length=64)]] = Field(
        default=[], max_length=32, description="Execution providers that this ONNX Runtime offers."
    )
    cpu_count: float = Field(
        default=0.0, ge=0, description="Processors that the runtime may use, fractions from a quota."
    )
    memory_total_bytes: Int64 = Field(
        default=0, ge=0, description="Memory that the runtime may use, in bytes."
    )
    store_free_bytes: Int64 = Field(
        default=0, ge=0, description="Free disk space of the model store, coarsely rounded."
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
        PrinterColumn("Endpoint", ".status.endpoint", priority=1),
        PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
    )

    kind: str = "NodeInference"
    spec: NodeInferenceSpec = NodeInferenceSpec()
    status: NodeInferenceStatus = NodeInferenceStatus()
