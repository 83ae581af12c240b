"""Projects a runtime's pod to what decisions rest on: on which node it is and since when it is ready."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fleetfit_api.names import NodeName


@dataclass(frozen=True, slots=True)
class RuntimePod:
    """A runtime's pod.

    Attributes:
        node: Node that it runs on.
        ready_at: When it became ready; None while it is not.
    """

    node: NodeName
    ready_at: datetime | None


def runtime_pod(pod: Mapping[str, Any]) -> RuntimePod | None:
    """Return the projection of a Pod object; None while it is on no node or is on its way out."""
    node = (pod.get("spec") or {}).get("nodeName")
    if not node or pod["metadata"].get("deletionTimestamp"):
        return None
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "Ready" and condition.get("status") == "True":
            return RuntimePod(NodeName(node), _time(condition.get("lastTransitionTime")))
    return RuntimePod(NodeName(node), None)


def _time(text: object) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None
