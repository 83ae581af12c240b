"""The downward API: what a pod may be told about itself through `fieldRef` and `resourceFieldRef`. Pure."""

import math
import re
from collections.abc import Mapping

from fleetfit_api.quantity import parse_quantity

from localfleet.node.manifest import Manifest

_KEYED = re.compile(r"^metadata\.(labels|annotations)\['(.*)'\]$")


class UnsupportedFieldError(ValueError):
    """The API has no such field for pods."""

    def __init__(self, field: str) -> None:
        super().__init__(f"the field {field!r} cannot be given to a pod")


def field_value(pod: Manifest, host_ip: str, field_path: str) -> str:
    """Return the value of a `fieldRef`.

    Raises:
        UnsupportedFieldError: the field is not one of the downward API.
    """
    metadata = pod["metadata"]
    keyed = _KEYED.match(field_path)
    if keyed is not None:
        return str((metadata.get(keyed.group(1)) or {}).get(keyed.group(2), ""))
    if field_path in {"metadata.labels", "metadata.annotations"}:
        return _format_map(metadata.get(field_path.removeprefix("metadata.")) or {})
    values = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": pod["spec"].get("nodeName", ""),
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", "default"),
        "status.hostIP": host_ip,
        "status.hostIPs": host_ip,
        # A process has no network of its own, so a pod's address is its node's.
        "status.podIP": host_ip,
        "status.podIPs": host_ip,
    }
    if field_path not in values:
        raise UnsupportedFieldError(field_path)
    return str(values[field_path])


def resource_value(
    container: Manifest, allocatable: Mapping[str, str], resource: str, divisor: str | int
) -> str:
    """Return the value of a `resourceFieldRef`: in units of the divisor, rounded up.

    Raises:
        UnsupportedFieldError: the resource is neither a limit nor a request.
    """
    kind, _, name = resource.partition(".")
    if kind not in {"limits", "requests"} or not name:
        raise UnsupportedFieldError(resource)
    amounts = (container.get("resources") or {}).get(kind) or {}
    # The API says that a container without a limit is told the node's allocatable amount.
    fallback = allocatable.get(name, "0") if kind == "limits" else "0"
    amount = parse_quantity(amounts.get(name, fallback))
    unit = parse_quantity(divisor) or 1.0
    return str(math.ceil(amount / unit - 1e-9))


def _format_map(entries: Mapping[str, str]) -> str:
    def quoted(text: str) -> str:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'

    return "\n".join(f"{key}={quoted(value)}" for key, value in sorted(entries.items()))
