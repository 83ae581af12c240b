"""What a node reports of one model that it was assigned: how far it is, its figures, and what users said of it."""

from enum import StrEnum
from typing import Final

from pydantic import Field

from fleetfit_api.base import ApiModel, Int64, list_map

BUSY_LOAD: Final = 0.9
"""Other work that takes this share of the processors leaves no core to the inference.

Less than that does not spoil a timing: it counts its quieter rounds only, and a node that is always half busy would
never be learnt from.
"""


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
    throttled: bool = Field(
        default=False,
        description="Whether heat or power slowed the processor meanwhile: the figures are then not the variant's own.",
    )
    cpu_load: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Load of the processors by everything but the runtime meanwhile, 1 when it took all; coarse.",
    )
    power_watts: float | None = Field(
        default=None,
        ge=0,
        description="Power of the node meanwhile in watts; absent when unknown and for requests.",
    )


class RatingSummary(ApiModel):
    """What users of the node said of one variant: every source has one voice, older voices count less."""

    variant: str = Field(min_length=1, max_length=63, description="Name of the variant.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 digest of the file that was rated.")
    voices: float = Field(ge=0, description="Number of sources, each weighted by the age of its rating.")
    score: float = Field(ge=0, le=1, description="Weighted mean of the sources' scores.")
    latency_p95_seconds: float = Field(
        default=0.0, ge=0, description="p95 latency that these users met in seconds; 0 when unknown."
    )
    accuracy: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of replies that users' labels confirmed; absent without labels.",
    )
    labels: int = Field(default=0, ge=0, description="Number of labels that the accuracy rests on.")


class ProviderNodes(ApiModel):
    """How much of a model's graph one execution provider runs."""

    provider: str = Field(min_length=1, max_length=253, description="Execution provider.")
    nodes: int = Field(ge=1, description="Number of nodes of the optimised graph that it runs.")


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
        default="",
        max_length=2048,
        description="Why the first provider could not be used, or which nodes it left to others.",
    )
    provider_nodes: list[ProviderNodes] = Field(
        default=[],
        max_length=16,
        description="How the optimised graph of the serving variant is divided between providers; empty where ONNX "
        "Runtime does not tell.",
        json_schema_extra=list_map("provider"),
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
    memory_bytes: Int64 = Field(
        default=0, ge=0, description="Memory that loading the serving variant took in bytes; 0 when unknown."
    )
    ratings: list[RatingSummary] = Field(
        default=[],
        max_length=16,
        description="What users said of variants that the node has served.",
        json_schema_extra=list_map("variant"),
    )
