"""What the users of a node like: weights and targets of the quality of experience, hard limits, ratings."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from fleetfit_api.base import ApiModel, Int64, cel, maximum_message
from fleetfit_api.precision import Precision


class QoeProfile(StrEnum):
    """Named weights of the aspects of the quality of experience."""

    BALANCED = "balanced"
    ACCURATE = "accurate"
    RESPONSIVE = "responsive"
    FRUGAL = "frugal"


class QoeWeights(ApiModel):
    """How much each aspect counts in the quality of experience: exponents; 0 ignores the aspect."""

    accuracy: float | None = Field(
        default=None,
        ge=0,
        le=10,
        description="Weight of accuracy relative to the best variant; the profile's when absent.",
        json_schema_extra=maximum_message("a weight is an exponent from 0 to 10"),
    )
    latency: float | None = Field(
        default=None,
        ge=0,
        le=10,
        description="Weight of latency relative to the target; the profile's when absent.",
        json_schema_extra=maximum_message("a weight is an exponent from 0 to 10"),
    )
    energy: float | None = Field(
        default=None,
        ge=0,
        le=10,
        description="Weight of energy per inference relative to the target, or to the thriftiest variant; the "
        "profile's when absent. Without effect on nodes that report no power.",
        json_schema_extra=maximum_message("a weight is an exponent from 0 to 10"),
    )
    memory: float | None = Field(
        default=None,
        ge=0,
        le=10,
        description="Weight of memory relative to the target, or to the smallest variant; the profile's when absent.",
        json_schema_extra=maximum_message("a weight is an exponent from 0 to 10"),
    )


PROFILE_WEIGHTS: Final[Mapping[QoeProfile, QoeWeights]] = {
    QoeProfile.BALANCED: QoeWeights(accuracy=1.0, latency=1.0, energy=0.0, memory=0.0),
    QoeProfile.ACCURATE: QoeWeights(accuracy=3.0, latency=0.5, energy=0.0, memory=0.0),
    QoeProfile.RESPONSIVE: QoeWeights(accuracy=1.0, latency=2.0, energy=0.0, memory=0.0),
    QoeProfile.FRUGAL: QoeWeights(accuracy=1.0, latency=1.0, energy=0.5, memory=0.25),
}
"""What each profile means."""


def _profile_words() -> str:
    """The profiles with their weights, as the description of the field has them."""
    return "; ".join(
        f"{profile} ({', '.join(f'{aspect} {weight:g}' for aspect, weight in weights)})"
        for profile, weights in PROFILE_WEIGHTS.items()
    )


class QoeConstraints(ApiModel):
    """Hard limits: a variant beyond one of them is never chosen. Predictions count with their interval's bad end."""

    max_latency_milliseconds: float | None = Field(
        default=None,
        gt=0,
        le=3_600_000,
        description="Largest acceptable latency in milliseconds, at the percentile of the target.",
    )
    min_accuracy: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Smallest acceptable accuracy, 0 to 1.",
        json_schema_extra=maximum_message("minAccuracy is a fraction: 98% is 0.98"),
    )
    max_size_bytes: Int64 | None = Field(default=None, ge=1, description="Largest acceptable file in bytes.")
    max_energy_joules: float | None = Field(
        default=None,
        gt=0,
        le=1_000_000,
        description="Largest acceptable energy of one inference in joules; holds on nodes that report power.",
    )
    max_memory_bytes: Int64 | None = Field(
        default=None, ge=1, description="Largest acceptable memory of the loaded variant in bytes."
    )
    allowed_precisions: list[Precision] = Field(
        default=[], max_length=8, description="Precisions to choose from; all when empty."
    )
    allowed_providers: list[Annotated[str, Field(max_length=64)]] = Field(
        default=[],
        max_length=16,
        description="Execution providers to run on; a node that would use another one gets no variant. "
        "All when empty.",
    )


class Ratings(ApiModel):
    """How much users' ratings move the quality of experience away from its formula."""

    enabled: bool = Field(
        default=True, description="Whether ratings count; when false they are kept but change nothing."
    )
    prior_strength: float = Field(
        default=12.0,
        ge=1,
        le=10_000,
        description="Number of users whose ratings weigh as much as the formula.",
    )
    ask_share: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Largest share of replies in which the user is asked for a rating; "
        "asked is where ratings tell the most.",
        json_schema_extra=maximum_message("askShare is a fraction: 5% is 0.05"),
    )


class Qoe(ApiModel):
    """What the users of a node like: accuracy, against delay, energy and memory."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "!has(self.constraints) || !has(self.constraints.maxLatencyMilliseconds) "
                "|| self.constraints.maxLatencyMilliseconds >= self.latencyTargetMilliseconds",
                "constraints.maxLatencyMilliseconds must not be below latencyTargetMilliseconds",
            )
        )
    )

    profile: QoeProfile = Field(
        default=QoeProfile.BALANCED,
        description=f"Named weights: {_profile_words()}. `weights` overrides single ones.",
    )
    latency_target_milliseconds: float = Field(
        default=100.0,
        gt=0,
        le=3_600_000,
        description="Latency in milliseconds up to which users notice no delay; slower variants lose QoE.",
    )
    latency_percentile: int = Field(
        default=95,
        description="Percentile of latency that the target and the limit are about.",
        json_schema_extra=cel(
            ("self in [50, 90, 95, 99]", "latencyPercentile must be one of 50, 90, 95 and 99")
        ),
    )
    energy_target_joules: float | None = Field(
        default=None,
        gt=0,
        le=1_000_000,
        description="Energy of one inference in joules up to which nothing is lost; relative to the thriftiest variant "
        "when absent.",
    )
    memory_target_bytes: Int64 | None = Field(
        default=None,
        ge=1,
        description="Memory in bytes up to which nothing is lost; relative to the smallest variant when absent.",
    )
    weights: QoeWeights = Field(default=QoeWeights(), description="Weights of the aspects.")
    constraints: QoeConstraints = Field(default=QoeConstraints(), description="Hard limits.")
    ratings: Ratings = Field(default=Ratings(), description="What users' ratings change.")

    def resolved_weights(self) -> QoeWeights:
        """Return the weights that count: those set, else the profile's; none is None."""
        return PROFILE_WEIGHTS[self.profile].model_copy(update=self.weights.model_dump(exclude_none=True))
