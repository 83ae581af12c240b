"""Writes a pod's status when it differs from what the API server has, and tries again until it is there."""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final

from fleetfit_kube.backoff import Backoff
from fleetfit_kube.client import ApiClient
from fleetfit_kube.errors import ApiError, Conflict, NotFound
from fleetfit_kube.resources import PODS

from localfleet.node.manifest import Manifest, pod_key, resource_version
from localfleet.node.pod_status import same_status

logger = logging.getLogger(__name__)
_COALESCE_S: Final = 0.05


class StatusReporter:
    """Keeps the status of one pod in the API as it is on the node.

    Args:
        client: API access with the node's credentials.
        present: Returns the newest known version of the pod.
        wanted: Returns the status as it should be.
        stored: Called with the API server's answer to a write.
        rng: Source of jitter.
    """

    def __init__(
        self,
        client: ApiClient,
        present: Callable[[], Manifest],
        wanted: Callable[[], Manifest],
        stored: Callable[[Manifest], None],
        rng: random.Random,
    ) -> None:
        self._client = client
        self._present = present
        self._wanted = wanted
        self._stored = stored
        self._backoff = Backoff(rng, base_s=0.5, cap_s=10.0)
        self._changed = asyncio.Event()
        self._last_sent: Manifest = {}
        self._last_version = -1

    def mark_changed(self) -> None:
        """Say that the status may have changed."""
        self._changed.set()

    async def run(self) -> None:
        """Write the status whenever it has changed, until cancelled."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(_COALESCE_S)  # one write for what changes together
            self._changed.clear()
            try:
                await self.flush()
                self._backoff.reset()
            except (NotFound, Conflict):
                continue  # the pod has gone, or another of its name is there; the watch will say so
            except ApiError as error:
                self._changed.set()
                logger.info(
                    "status not written", extra={"pod": pod_key(self._present()), "error": str(error)}
                )
                await asyncio.sleep(self._backoff.next_s())

    async def flush(self) -> None:
        """Write the status now if the API server has another one.

        Raises:
            ApiError: it was not written.
        """
        pod, wanted = self._present(), self._wanted()
        if same_status(wanted, pod.get("status") or {}):
            return
        # A server that drops a field it does not know must not be asked for it again and again.
        if wanted == self._last_sent and resource_version(pod) <= self._last_version:
            return
        metadata = pod["metadata"]
        patch = {"metadata": {"uid": metadata["uid"]}, "status": wanted}
        answer = await self._client.merge_patch(
            PODS, metadata["name"], patch, metadata["namespace"], subresource="status"
        )
        self._last_sent, self._last_version = wanted, resource_version(answer)
        self._stored(answer)
