"""Events about pods, as `kubectl describe pod` shows them. Best effort: an event that cannot be sent is dropped."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any, Final

from fleetfit_kube.client import ApiClient
from fleetfit_kube.errors import ApiError
from fleetfit_kube.resources import EVENTS

from localfleet.node.clock import Clock, api_time
from localfleet.node.manifest import Manifest, pod_uid

logger = logging.getLogger(__name__)
_QUEUE_LENGTH: Final = 64
_REPEAT_AFTER_S: Final = 60.0


@dataclass(frozen=True)
class _Occurrence:
    uid: str
    reason: str
    message: str


class PodEvents:
    """Sends events about pods one after the other; the same one at most once a minute.

    A flood is bounded twice: by the minute and by the queue.
    """

    def __init__(self, client: ApiClient, node_name: str, clock: Clock) -> None:
        self._client = client
        self._node_name = node_name
        self._clock = clock
        self._queue: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue(_QUEUE_LENGTH)
        self._last_s: dict[_Occurrence, float] = {}

    def announce(self, pod: Manifest, kind: str, reason: str, message: str) -> None:
        """Queue an event; `kind` is Normal or Warning."""
        now_s = self._clock.monotonic_s()
        self._last_s = {key: at_s for key, at_s in self._last_s.items() if now_s - at_s < _REPEAT_AFTER_S}
        occurrence = _Occurrence(pod_uid(pod), reason, message)
        if occurrence in self._last_s or self._queue.full():
            return
        self._last_s[occurrence] = now_s
        metadata, now = pod["metadata"], self._clock.now()
        event = {
            "metadata": {"generateName": f"{metadata['name'][:200]}.", "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "type": kind,
            "reason": reason,
            "message": message[:1000],
            "count": 1,
            "firstTimestamp": api_time(now),
            "lastTimestamp": api_time(now),
            "source": {"component": "kubelet", "host": self._node_name},
            "reportingComponent": "kubelet",
            "reportingInstance": self._node_name,
        }
        self._queue.put_nowait((metadata["namespace"], event))

    async def run(self) -> None:
        """Send queued events until cancelled."""
        while True:
            namespace, event = await self._queue.get()
            try:
                await self._client.create(EVENTS, event, namespace)
            except ApiError as error:
                logger.info("event not sent", extra={"reason": event["reason"], "error": str(error)})
