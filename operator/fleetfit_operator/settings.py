"""What the operator is told by its environment; every other module gets its part of this as arguments."""

from collections.abc import Mapping
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

PREFIX: Final = "FLEETFIT_"


class SettingsError(Exception):
    """The environment is not usable; the message names the variables."""


class Settings(BaseModel):
    """Settings of the operator, each from the environment variable of the same name in capitals.

    POD_NAME, POD_NAMESPACE and POD_IP are named as everywhere; the others begin with FLEETFIT_.
    """

    model_config = ConfigDict(frozen=True)

    pod_name: str = Field(
        default="fleetfit-operator", description="Name of the pod, for the Lease and events."
    )
    pod_namespace: str = Field(
        default="fleetfit-system", description="Namespace of the install: runtimes, Service and Lease."
    )
    pod_ip: str = Field(default="127.0.0.1", description="Address that metrics and health bind to.")
    metrics_port: int = Field(default=8081, ge=0, le=65535, description="Port of metrics and health.")
    log_level: str = Field(
        default="info", pattern="(?i)^(debug|info|warning|error)$", description="Least level that is logged."
    )
    lease_name: str = Field(default="fleetfit-operator", description="Name of the Lease.")
    lease_duration_s: float = Field(
        default=15.0, ge=1, description="A replica that vanished is replaced after this long."
    )
    lease_deadline_s: float = Field(
        default=10.0, gt=0, description="A replica that could not renew for this long ends."
    )
    lease_renew_s: float = Field(default=2.0, gt=0, description="Time between renewals of the Lease.")
    debounce_idle_s: float = Field(
        default=0.3, ge=0, description="Quiet time after an event before the fleet is looked at."
    )
    debounce_cap_s: float = Field(
        default=3.0, ge=0, description="Longest time from an event to a look at the fleet."
    )
    resync_s: float = Field(
        default=300.0, gt=0, description="Everything is compared anew this often, whatever happened."
    )
    reference_run_grace_s: float = Field(
        default=60.0,
        ge=0,
        description="A node whose runtime is ready waits this long for its reference run; then variants are chosen "
        "by their features alone.",
    )
    model_config_map: str = Field(
        default="fleetfit-model",
        max_length=253,
        description="ConfigMap in the namespace of the install with what the fleet has taught the predictor "
        "(`fleetfit retrain`), read at every resync; empty for the shipped model alone.",
    )
    write_concurrency: int = Field(
        default=16, ge=1, le=256, description="Simultaneous writes to the API server."
    )
    store_dir: str = Field(
        default="/var/lib/fleetfit", description="Directory of the nodes that holds the runtimes' models."
    )

    @model_validator(mode="after")
    def _lease_times_are_ordered(self) -> Self:
        if not self.lease_renew_s < self.lease_deadline_s < self.lease_duration_s:
            raise ValueError("lease times must be ordered: renew < deadline < duration")
        return self

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Return the settings of an environment.

        Raises:
            SettingsError: a value is not usable.
        """
        values = {name: env[variable_name(name)] for name in cls.model_fields if env.get(variable_name(name))}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = [
                f"{variable_name(str(problem['loc'][0])) if problem['loc'] else 'settings'}: {problem['msg']}"
                for problem in error.errors()
            ]
            raise SettingsError("; ".join(problems)) from error


def variable_name(field_name: str) -> str:
    """Return the environment variable of a setting."""
    return field_name.upper() if field_name.startswith("pod_") else PREFIX + field_name.upper()
