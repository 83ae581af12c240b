"""Access to the parts of a pod that the node reads.

Pods stay the dictionaries that the API server sends: the node uses a small part of a very large schema, and a typed
copy of it would be one more thing to keep in step.
"""

from collections.abc import Iterator
from typing import Any, NewType

Manifest = dict[str, Any]
PodUid = NewType("PodUid", str)


def pod_uid(pod: Manifest) -> PodUid:
    """Return the pod's uid."""
    return PodUid(pod["metadata"]["uid"])


def pod_key(pod: Manifest) -> str:
    """Return `namespace/name`, for messages."""
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def resource_version(manifest: Manifest) -> int:
    """Return the resource version as the number it is on every API server since 1.34, or 0."""
    text = manifest["metadata"].get("resourceVersion", "")
    return int(text) if text.isdigit() else 0


def is_deleted(pod: Manifest) -> bool:
    """Tell whether someone asked for the pod's deletion."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def grace_period_s(pod: Manifest) -> float:
    """Return how long the pod's processes may take to end."""
    on_deletion = pod["metadata"].get("deletionGracePeriodSeconds")
    if on_deletion is not None:
        return float(on_deletion)
    return float(pod["spec"].get("terminationGracePeriodSeconds", 30))


def restart_policy(pod: Manifest) -> str:
    """Return the pod's restart policy."""
    return str(pod["spec"].get("restartPolicy", "Always"))


def init_containers(pod: Manifest) -> list[Manifest]:
    """Return the init containers in order, sidecars among them."""
    return list(pod["spec"].get("initContainers") or [])


def main_containers(pod: Manifest) -> list[Manifest]:
    """Return the containers."""
    return list(pod["spec"]["containers"])


def all_containers(pod: Manifest) -> Iterator[Manifest]:
    """Yield init containers, then containers."""
    yield from init_containers(pod)
    yield from main_containers(pod)


def is_sidecar(init_container: Manifest) -> bool:
    """Tell whether an init container is one that keeps running beside the others."""
    return init_container.get("restartPolicy") == "Always"
