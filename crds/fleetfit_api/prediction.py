"""What the operator expects of a variant on a node, and what that rests on."""

from enum import StrEnum

from pydantic import Field

from fleetfit_api.base import ApiModel, Int64


class Evidence(StrEnum):
    """What a predicted latency rests on, best first."""

    MEASURED = "Measured"
    HARDWARE_CLASS = "HardwareClass"
    REFERENCE_RUN = "ReferenceRun"
    FEATURES_ONLY = "FeaturesOnly"


class Prediction(ApiModel):
    """What the operator expects of a variant on the node."""

    variant: str = Field(description="Name of the variant.")
    latency_p95_seconds: float = Field(ge=0, description="Expected p95 latency of one inference in seconds.")
    latency_low_seconds: float | None = Field(
        default=None, ge=0, description="Low end of the 90 % interval of the latency in seconds."
    )
    latency_high_seconds: float | None = Field(
        default=None, ge=0, description="High end of the 90 % interval of the latency in seconds."
    )
    energy_joules: float | None = Field(
        default=None,
        ge=0,
        description="Expected energy of one inference in joules; absent where the node reports no power.",
    )
    memory_bytes: Int64 | None = Field(
        default=None, ge=0, description="Expected memory of the loaded variant in bytes."
    )
    qoe: float = Field(ge=0, le=1, description="Expected quality of experience, 0 to 1.")
    evidence: Evidence = Field(
        description="What the latency rests on: Measured (here), HardwareClass (measured on nodes of the class), "
        "ReferenceRun, FeaturesOnly."
    )


class Contribution(ApiModel):
    """What one feature did to a prediction."""

    feature: str = Field(max_length=128, description="Name of the feature.")
    factor: float = Field(
        gt=0, description="Factor by which it changes the predicted latency: 1.2 is 20 % slower."
    )
