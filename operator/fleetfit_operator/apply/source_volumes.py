"""What a runtime's pod mounts to reach model sources and to trust models: credentials, claims, public keys. Pure."""

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from fleetfit_api.hardware_class import RuntimeTemplate

CREDENTIALS_DIR: Final = "/etc/fleetfit/credentials"
CLAIMS_DIR: Final = "/var/lib/fleetfit-claims"
TRUSTED_KEYS_DIR: Final = "/etc/fleetfit/trusted-keys"
_DIGEST_CHARACTERS: Final = 12
_OWNER_MAY_READ: Final = 0o400


@dataclass(frozen=True, slots=True)
class SourceVolume:
    """A volume of the pod and where the container finds it."""

    volume: dict[str, Any]
    mount: dict[str, Any]


def source_volumes(runtime: RuntimeTemplate) -> list[SourceVolume]:
    """Return the volumes, in the order of the class.

    A Secret or ConfigMap that does not exist holds no pod up: nodes serve what they have. A claim that does not, does.
    """
    return [
        *(_secret(name) for name in runtime.credentials),
        *(_claim(name) for name in runtime.claims),
        *(_trusted_keys(name) for name in runtime.trusted_keys),
    ]


def source_variables(runtime: RuntimeTemplate) -> list[dict[str, Any]]:
    """Return the variables that tell a runtime where the volumes are; none without any."""
    variables = []
    if runtime.credentials:
        directories = ",".join(f"{CREDENTIALS_DIR}/{name}" for name in runtime.credentials)
        variables.append({"name": "FLEETFIT_CREDENTIALS_DIRS", "value": directories})
    if runtime.claims:
        variables.append({"name": "FLEETFIT_CLAIMS_DIR", "value": CLAIMS_DIR})
    if runtime.trusted_keys:
        directories = ",".join(f"{TRUSTED_KEYS_DIR}/{name}" for name in runtime.trusted_keys)
        variables.append({"name": "FLEETFIT_TRUSTED_KEYS_DIRS", "value": directories})
    if runtime.require_signatures:
        variables.append({"name": "FLEETFIT_REQUIRE_SIGNATURES", "value": "true"})
    return variables


def _secret(name: str) -> SourceVolume:
    volume = _volume_name("credentials", name)
    secret = {"secretName": name, "optional": True, "defaultMode": _OWNER_MAY_READ}
    return SourceVolume(
        {"name": volume, "secret": secret},
        {"name": volume, "mountPath": f"{CREDENTIALS_DIR}/{name}", "readOnly": True},
    )


def _claim(name: str) -> SourceVolume:
    volume = _volume_name("claim", name)
    return SourceVolume(
        {"name": volume, "persistentVolumeClaim": {"claimName": name, "readOnly": True}},
        {"name": volume, "mountPath": f"{CLAIMS_DIR}/{name}", "readOnly": True},
    )


def _trusted_keys(name: str) -> SourceVolume:
    volume = _volume_name("keys", name)
    return SourceVolume(
        {"name": volume, "configMap": {"name": name, "optional": True}},
        {"name": volume, "mountPath": f"{TRUSTED_KEYS_DIR}/{name}", "readOnly": True},
    )


def _volume_name(kind: str, name: str) -> str:
    """Return a name for the volume: those of objects may be longer, and have dots."""
    return f"{kind}-{hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_CHARACTERS]}"
