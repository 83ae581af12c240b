"""Tells users in Kubernetes events what has changed; the same thing not again within ten minutes.

Events are for people: one that cannot be written is logged and forgotten.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from fleetfit_api.base import Resource
from fleetfit_kube import ApiClient
from fleetfit_kube.resources import EVENTS

from fleetfit_operator.apply.writes import Write

_SILENCE_S: Final = 600.0
_MESSAGE_CHARACTERS: Final = 1024
_MOST_REMEMBERED: Final = 4096


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that a user wants to know of an object.

    Attributes:
        subject: The object.
        reason: One CamelCase word, from the shared vocabulary.
        message: A sentence.
        warning: Whether something is wrong.
    """

    subject: Resource
    reason: str
    message: str
    warning: bool = False


class EventRecorder:
    """Turns happenings into writes of events.

    Args:
        client: API access.
        instance: Name of this process.
        clock: Monotonic time in seconds.
        wall_clock: The time, UTC.
    """

    def __init__(
        self,
        client: ApiClient,
        instance: str,
        clock: Callable[[], float],
        wall_clock: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._instance = instance
        self._clock = clock
        self._wall_clock = wall_clock
        self._told_s: dict[str, float] = {}

    def writes(self, happenings: list[Happening]) -> list[Write]:
        """Return the writes of those that were not told lately."""
        now_s = self._clock()
        self._forget(now_s)
        writes = []
        for happening in happenings:
            digest = _digest(happening)
            if digest not in self._told_s:
                self._told_s[digest] = now_s
                writes.append(self._write(happening, digest))
        return writes

    def _write(self, happening: Happening, digest: str) -> Write:
        now = self._wall_clock()
        body = _event(happening, f"{digest[:10]}.{int(now.timestamp() * 1e6):x}", now, self._instance)

        async def execute() -> None:
            await self._client.create(EVENTS, body)

        return Write(EVENTS.kind, body["metadata"]["name"], execute)

    def _forget(self, now_s: float) -> None:
        if len(self._told_s) > _MOST_REMEMBERED:
            self._told_s.clear()
        self._told_s = {key: at_s for key, at_s in self._told_s.items() if now_s - at_s < _SILENCE_S}


def _digest(happening: Happening) -> str:
    identity = (happening.subject.metadata.uid, happening.reason, happening.message)
    return hashlib.sha256("\0".join(identity).encode()).hexdigest()


def _event(happening: Happening, suffix: str, now: datetime, instance: str) -> dict[str, Any]:
    subject = happening.subject
    metadata = subject.metadata
    # Events of cluster-wide objects live in the namespace default, as Kubernetes does it.
    namespace = metadata.namespace or "default"
    time = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata.name[:200]}.{suffix}", "namespace": namespace},
        "involvedObject": {
            "apiVersion": subject.api_version,
            "kind": subject.kind,
            "name": metadata.name,
            "namespace": metadata.namespace,
            "uid": metadata.uid,
        },
        "type": "Warning" if happening.warning else "Normal",
        "reason": happening.reason,
        "message": happening.message[:_MESSAGE_CHARACTERS],
        "source": {"component": "fleetfit-operator"},
        "reportingComponent": "fleetfit-operator",
        "reportingInstance": instance,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }
