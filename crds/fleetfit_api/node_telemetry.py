"""What a runtime reports of its node, whatever the models: its state, and the times of the reference set on it."""

from typing import Annotated

from pydantic import Field

from fleetfit_api.base import ApiModel, Int64, list_map


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
    throttled: bool = Field(
        default=False,
        description="Whether the processor slowed down during the run (heat or power); the figures are then those of "
        "the slowed processor.",
    )
    outlier_rounds: int = Field(
        default=0, ge=0, description="Rounds that were left out because something else disturbed them."
    )
    governor: str = Field(
        default="", max_length=63, description="Frequency governor of the processor during the run."
    )
    driver_version: str = Field(
        default="", max_length=128, description="Version of the accelerator's driver during the run."
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
    governor: str = Field(default="", max_length=63, description="Frequency governor of the processor.")
    driver_version: str = Field(
        default="",
        max_length=128,
        description="Version of the accelerator's driver, empty when there is none.",
    )
    cpu_load: float = Field(
        default=0.0,
        ge=0,
        description="Load of the processors by everything on the node, 1 when all are busy; coarse.",
    )
    gpu_load: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Load of the GPU, 1 when it is busy; coarse; absent when unknown.",
    )
    throttled: bool = Field(
        default=False, description="Whether the processor is slowed by heat or power now."
    )
    temperature_celsius: float | None = Field(
        default=None,
        description="Temperature of the hottest zone in degrees Celsius, coarse; absent when unknown.",
    )
    power_watts: float | None = Field(
        default=None,
        ge=0,
        description="Power of the node in watts while it last timed inferences, and until then of the last half "
        "minute; coarse; absent when unknown.",
    )
    power_method: str = Field(
        default="",
        max_length=63,
        description="How power is known: rapl, ina3221, hwmon, nvml, battery, or the sum of several as in rapl+nvml; "
        "empty when it is not.",
    )
    battery_percent: float | None = Field(
        default=None, ge=0, le=100, description="Charge of the battery, coarse; absent without a battery."
    )
    on_battery: bool = Field(default=False, description="Whether the node runs from its battery.")
