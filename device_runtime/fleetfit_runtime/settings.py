"""What the runtime is told from outside, read from the environment once, with clear errors."""

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

ENVIRONMENT_PREFIX = "FLEETFIT_"
_CPU = "CPUExecutionProvider"


class SettingsError(Exception):
    """The environment does not describe a runtime; the message names each variable and what is wrong with it."""


def _split_list(value: object) -> object:
    if isinstance(value, str):
        return tuple(name for name in (part.strip() for part in value.split(",")) if name)
    return value


def _split_pairs(value: object) -> object:
    """Return what OpenTelemetry's variables hold: name=value pairs by commas, percent-encoded."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    if not all(name.strip() and sign for name, sign, _ in pairs):
        raise ValueError("must be pairs of a name and a value, as in a=1,b=2")
    return {name.strip(): unquote(text.strip()) for name, _, text in pairs}


def _none_if_off(value: object) -> object:
    return None if value == "off" else value


def _env(name: str) -> AliasChoices:
    return AliasChoices(name)


class Settings(BaseModel):
    """Settings of one runtime."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    node_name: str = Field(validation_alias=_env("NODE_NAME"), min_length=1)
    """Name of the node, which is the name of its NodeInference."""
    pod_ip: str = Field(validation_alias=_env("POD_IP"), default="127.0.0.1", min_length=1)
    """Address that the server binds."""
    pod_name: str = Field(validation_alias=_env("POD_NAME"), default="")
    """Name of the pod, for the log."""
    http_port: int = Field(validation_alias=_env("FLEETFIT_HTTP_PORT"), default=8080, ge=0, le=65535)
    """Port of the inference protocol, health and metrics; 0 takes a free one (tests)."""
    grpc_port: Annotated[int | None, BeforeValidator(_none_if_off)] = Field(
        validation_alias=_env("FLEETFIT_GRPC_PORT"), default=8001, ge=0, le=65535
    )
    """Port of the inference protocol over gRPC; 0 takes a free one (tests), `off` serves HTTP alone."""
    store_dir: Path = Field(
        validation_alias=_env("FLEETFIT_STORE_DIR"), default=Path("/var/lib/fleetfit"), strict=False
    )
    """Directory that survives the pod: models, the last spec, reference runs."""
    providers: Annotated[tuple[str, ...], BeforeValidator(_split_list)] = Field(
        validation_alias=_env("FLEETFIT_PROVIDERS"), default=(_CPU,), min_length=1
    )
    """Execution providers in order of preference; the processor is always the last resort."""
    hardware_class: str = Field(validation_alias=_env("FLEETFIT_HARDWARE_CLASS"), default="")
    """Hardware class of the node, for the log and the metrics."""
    intra_op_threads: int | None = Field(
        validation_alias=_env("FLEETFIT_INTRA_OP_THREADS"), default=None, ge=1, le=1024
    )
    """Threads of one inference; from the processor quota when absent."""
    max_body_bytes: int = Field(validation_alias=_env("FLEETFIT_MAX_BODY_BYTES"), default=64 << 20, ge=1024)
    """Largest request body. Too low refuses images; too high lets one client take the node's memory."""
    max_connections: int = Field(validation_alias=_env("FLEETFIT_MAX_CONNECTIONS"), default=1024, ge=1)
    """Open connections; further ones are closed at once. Each costs some KiB and a file descriptor."""
    max_waiting_requests: int = Field(
        validation_alias=_env("FLEETFIT_MAX_WAITING_REQUESTS"), default=128, ge=1
    )
    """Requests that may wait for one model; further ones get 503, because a late answer helps nobody."""
    model_control: bool = Field(validation_alias=_env("FLEETFIT_MODEL_CONTROL"), default=False)
    """Whether clients may unload and load assigned models (Triton's repository calls). Whoever reaches the port could
    then take the node's models out of service."""
    drain_timeout_s: float = Field(
        validation_alias=_env("FLEETFIT_DRAIN_TIMEOUT_SECONDS"), default=20.0, ge=0
    )
    """How long requests in flight may take after SIGTERM; keep below terminationGracePeriodSeconds."""
    drain_delay_s: float = Field(validation_alias=_env("FLEETFIT_DRAIN_DELAY_SECONDS"), default=1.0, ge=0)
    """How long to go on accepting after SIGTERM, until the Service no longer routes here. Too low loses requests that
    are on their way; too high delays every restart."""
    reference_turns_dir: Path | None = Field(
        validation_alias=_env("FLEETFIT_REFERENCE_TURNS_DIR"), default=None
    )
    """Where runtimes that share one machine's processors take turns with their reference runs; a node of its own needs
    none."""
    rating_trusted_peers: Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_split_list)] = (
        Field(validation_alias=_env("FLEETFIT_RATING_TRUSTED_PEERS"), default=())
    )
    """Networks whose declared users are believed when they rate, such as an application's backend or a gateway; from
    other addresses a handful of users count. Too wide lets strangers make up users."""
    store_budget_bytes: int | None = Field(
        validation_alias=_env("FLEETFIT_STORE_BUDGET_BYTES"), default=None, ge=1 << 20
    )
    """Most that all model files may take. Without it files that nothing needs stay while a quarter of the disk is free.
    Too low refuses models (DiskFull); what is assigned and the last good one are never removed for it."""
    store_max_file_bytes: int | None = Field(
        validation_alias=_env("FLEETFIT_STORE_MAX_FILE_BYTES"), default=None, ge=1
    )
    """Size of the largest file that is fetched; one that is declared larger is refused."""
    store_parallel_downloads: int = Field(
        validation_alias=_env("FLEETFIT_STORE_PARALLEL_DOWNLOADS"), default=2, ge=1, le=64
    )
    """Downloads at the same time. Too many share a thin line until all of them time out."""
    store_bytes_per_second: int | None = Field(
        validation_alias=_env("FLEETFIT_STORE_BYTES_PER_SECOND"), default=None, ge=1024
    )
    """Cap of all downloads together, so that requests keep their share of the line; none when absent."""
    credentials_dirs: Annotated[tuple[Path, ...], BeforeValidator(_split_list)] = Field(
        validation_alias=_env("FLEETFIT_CREDENTIALS_DIRS"), default=(), strict=False
    )
    """Where Secrets with credentials of model sources are mounted, each in a directory of its own."""
    claims_dir: Path = Field(
        validation_alias=_env("FLEETFIT_CLAIMS_DIR"), default=Path("/var/lib/fleetfit-claims"), strict=False
    )
    """Where persistent volume claims are mounted that pvc URIs name, one directory each."""
    plain_http_registries: Annotated[tuple[str, ...], BeforeValidator(_split_list)] = Field(
        validation_alias=_env("FLEETFIT_PLAIN_HTTP_REGISTRIES"), default=()
    )
    """Registries, by host and port, that speak http; those on the node itself always do."""
    trusted_keys_dirs: Annotated[tuple[Path, ...], BeforeValidator(_split_list)] = Field(
        validation_alias=_env("FLEETFIT_TRUSTED_KEYS_DIRS"), default=(), strict=False
    )
    """Where ConfigMaps with public keys are mounted, each in a directory of its own. With keys every signature that a
    model has is checked."""
    require_signatures: bool = Field(validation_alias=_env("FLEETFIT_REQUIRE_SIGNATURES"), default=False)
    """Whether models without a good signature are refused, whatever their deployments say."""
    ep_libraries: Annotated[tuple[str, ...], BeforeValidator(_split_list)] = Field(
        validation_alias=_env("FLEETFIT_EP_LIBRARIES"), default=()
    )
    """Libraries with further execution providers, each `name=path`; those of installed packages are found without."""
    cpu_arena: bool = Field(validation_alias=_env("FLEETFIT_CPU_ARENA"), default=True)
    """Whether each session keeps the memory of its runs for the next ones. `off` takes less memory between requests and
    some more time in each."""
    model_memory_bytes: int | None = Field(
        validation_alias=_env("FLEETFIT_MODEL_MEMORY_BYTES"), default=None, ge=1
    )
    """Most memory that all models together may take; without it 0.8 of what the process may have and the machine has
    free at the start. Too low refuses models (InsufficientMemory); too high lets the kernel end the process."""
    hang_s: float = Field(validation_alias=_env("FLEETFIT_HANG_SECONDS"), default=30.0, gt=0)
    """No run of a model is told to end before this; the limit is 100 times the p95 of its warm-up where that is longer.
    Too low ends runs on large inputs; too high lets a model that hangs keep clients, or the event loop, that long."""
    hang_grace_s: float = Field(validation_alias=_env("FLEETFIT_HANG_GRACE_SECONDS"), default=10.0, gt=0)
    """How long a run that was told to end may take to do so. Then its model is replaced, and where the event loop hangs
    in it, the process ends."""
    longest_load_s: float = Field(
        validation_alias=_env("FLEETFIT_LONGEST_LOAD_SECONDS"), default=3600.0, gt=0
    )
    """How long the load of a model with its warm-up may take. Too low gives up on models that are being compiled."""
    metrics: bool = Field(validation_alias=_env("FLEETFIT_METRICS"), default=True)
    """Whether requests are counted for Prometheus; without, the metrics page is empty."""
    metric_exemplars: bool = Field(validation_alias=_env("FLEETFIT_METRIC_EXEMPLARS"), default=False)
    """Whether latency buckets name a trace that fell into them, for scrapers that ask for OpenMetrics."""
    traces_endpoint: str | None = Field(
        validation_alias=_env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), default=None, pattern="^https?://."
    )
    """Whole address of an OpenTelemetry collector (OTLP over HTTP) for traces, with `/v1/traces`."""
    otlp_endpoint: str | None = Field(
        validation_alias=_env("OTEL_EXPORTER_OTLP_ENDPOINT"), default=None, pattern="^https?://."
    )
    """Address of a collector to which `/v1/traces` is added; without either there are no traces."""
    traces_exporter: str = Field(validation_alias=_env("OTEL_TRACES_EXPORTER"), default="otlp")
    """`none` switches traces off where an endpoint is set for everything in a cluster."""
    otlp_headers: Annotated[dict[str, str], BeforeValidator(_split_pairs)] = Field(
        validation_alias=_env("OTEL_EXPORTER_OTLP_HEADERS"), default={}
    )
    """Headers for the collector, such as a token."""
    resource_attributes: Annotated[dict[str, str], BeforeValidator(_split_pairs)] = Field(
        validation_alias=_env("OTEL_RESOURCE_ATTRIBUTES"), default={}
    )
    """Further attributes of this process in traces."""
    service_name: str = Field(validation_alias=_env("OTEL_SERVICE_NAME"), default="fleetfit-runtime")
    """Name of this service in traces."""
    trace_ratio: float = Field(validation_alias=_env("OTEL_TRACES_SAMPLER_ARG"), default=1.0, ge=0, le=1)
    """Share of requests without a caller's trace that are traced; the others follow their caller. 1 is for trying; at
    thousands of requests a second it costs more than the metrics."""
    trace_interval_ms: int = Field(validation_alias=_env("OTEL_BSP_SCHEDULE_DELAY"), default=5000, ge=10)
    """How often spans are sent."""
    log_level: str = Field(
        validation_alias=_env("FLEETFIT_LOG_LEVEL"), default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$"
    )
    """Least level that is logged."""

    @property
    def traces_url(self) -> str | None:
        """Where traces go; None for nowhere."""
        if self.traces_exporter == "none":
            return None
        if self.traces_endpoint is not None:
            return self.traces_endpoint
        return None if self.otlp_endpoint is None else f"{self.otlp_endpoint.rstrip('/')}/v1/traces"

    @property
    def provider_chain(self) -> tuple[str, ...]:
        """The providers in order, without repetition, with the processor at the end."""
        return tuple(dict.fromkeys((*self.providers, _CPU)))


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings that the environment describes; an empty variable counts as absent.

    Raises:
        SettingsError: a variable is missing or wrong.
    """
    present = {name: value for name, value in environment.items() if value != ""}
    try:
        return Settings.model_validate(present)
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()
        ]
        raise SettingsError("; ".join(faults)) from error
