"""What the runtime is told from outside, read from the environment once, with clear errors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

ENVIRONMENT_PREFIX = "FLEETFIT_"
_CPU = "CPUExecutionProvider"


class SettingsError(Exception):
    """The environment does not describe a runtime; the message names each variable and what is wrong with it."""


def _split_providers(value: object) -> object:
    if isinstance(value, str):
        return tuple(name for name in (part.strip() for part in value.split(",")) if name)
    return value


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
    store_dir: Path = Field(
        validation_alias=_env("FLEETFIT_STORE_DIR"), default=Path("/var/lib/fleetfit"), strict=False
    )
    """Directory that survives the pod: models, the last spec, reference runs."""
    providers: Annotated[tuple[str, ...], BeforeValidator(_split_providers)] = Field(
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
    log_level: str = Field(
        validation_alias=_env("FLEETFIT_LOG_LEVEL"), default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$"
    )
    """Least level that is logged."""

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
