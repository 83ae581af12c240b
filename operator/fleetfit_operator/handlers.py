"""The kopf handlers: each only says that something which users declare has changed.

They run in kopf's thread. They neither read nor decide: an event that is missed costs time until the next resync,
nothing else, and one that comes twice costs nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import kopf
from fleetfit_api.names import GROUP, VERSION
from fleetfit_kube.resources import HARDWARE_CLASSES, INFERENCE_DEPLOYMENTS, MODEL_SUITES

_WATCHED: Final = (INFERENCE_DEPLOYMENTS, MODEL_SUITES, HARDWARE_CLASSES)


class SpecChanges:
    """Tells changes of what users declare from changes of status, which are the operator's own."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, bool]] = {}

    def take(self, event_type: str | None, body: Mapping[str, Any]) -> bool:
        """Return whether the event is news: a new, edited or deleted object."""
        metadata = body["metadata"]
        uid = str(metadata["uid"])
        if event_type == "DELETED":
            self._seen.pop(uid, None)
            return True
        state = (int(metadata.get("generation") or 0), bool(metadata.get("deletionTimestamp")))
        if self._seen.get(uid) == state:
            return False
        self._seen[uid] = state
        return True


def register_handlers(registry: kopf.OperatorRegistry, on_declared: Callable[[], None]) -> None:
    """Register a handler per kind; `on_declared` is called in kopf's thread."""
    changes = SpecChanges()

    async def handle(type: str | None, body: Mapping[str, Any], **_: object) -> None:
        if changes.take(type, body):
            on_declared()

    for resource in _WATCHED:
        kopf.on.event(GROUP, VERSION, resource.plural, id=f"declared-{resource.plural}", registry=registry)(
            handle
        )
