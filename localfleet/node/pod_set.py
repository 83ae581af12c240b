"""All pods bound to the node: one worker each, started and stopped as the watch says."""

import asyncio
import logging
import random
import shutil
from collections.abc import Mapping

from fleetfit_kube.client import ApiClient
from fleetfit_kube.reflector import ObjectKey, Reflector, ReflectorOptions
from fleetfit_kube.resources import PODS

from localfleet.node.manifest import Manifest, PodUid, is_deleted, pod_key, pod_uid
from localfleet.node.node_context import NodeContext
from localfleet.node.pod_events import PodEvents
from localfleet.node.pod_worker import PodMeans, PodWorker
from localfleet.node.probe_actions import Prober

logger = logging.getLogger(__name__)
_RECONNECT_CAP_S = 5.0  # a healed node takes note of its pods within this time


class PodSet:
    """The node's pods.

    Args:
        node: The node.
        client: API access with the node's credentials.
        prober: Carries out probes.
        events: Where events go.
        rng: Source of jitter.
    """

    def __init__(
        self, node: NodeContext, client: ApiClient, prober: Prober, events: PodEvents, rng: random.Random
    ) -> None:
        self._node = node
        self.reflector: Reflector[Manifest] = Reflector(
            client,
            PODS,
            _decode,
            on_change=self._on_change,
            options=ReflectorOptions(
                field_selector=f"spec.nodeName={node.config.name}", backoff_cap_s=_RECONNECT_CAP_S
            ),
            rng=rng,
        )
        self._means = PodMeans(node, client, prober, events, self.reflector.store, rng)
        self._workers: dict[PodUid, PodWorker] = {}
        self._tasks: dict[PodUid, asyncio.Task[None]] = {}

    @property
    def workers(self) -> Mapping[PodUid, PodWorker]:
        """The workers by the uid of their pods."""
        return self._workers

    async def run(self) -> None:
        """Watch until cancelled."""
        sweeping = asyncio.create_task(self._remove_strangers())
        try:
            await self.reflector.run()
        finally:
            sweeping.cancel()
            await asyncio.gather(sweeping, return_exceptions=True)

    async def close(self, grace_s: float) -> None:
        """End all processes; the pods stay in the API, for it is the node that goes."""
        await asyncio.gather(*(worker.end_processes(grace_s) for worker in self._workers.values()))
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _on_change(self, key: ObjectKey, old: Manifest | None, new: Manifest | None) -> None:
        del key  # a pod is known by its uid: another one may have the same name
        replaced = old is not None and (new is None or pod_uid(old) != pod_uid(new))
        if old is not None and replaced and (gone := self._workers.get(pod_uid(old))) is not None:
            gone.stop(vanished=True)
        if new is None:
            return
        worker = self._workers.get(pod_uid(new))
        if worker is None:
            worker = self._start(new)
        worker.update(new)
        if is_deleted(new):
            worker.stop(vanished=False)

    def _start(self, pod: Manifest) -> PodWorker:
        uid = pod_uid(pod)
        worker = self._workers[uid] = PodWorker(pod, self._means)
        task = self._tasks[uid] = asyncio.create_task(worker.run(), name=pod_key(pod))
        task.add_done_callback(lambda done: self._forget(uid, done))
        return worker

    def _forget(self, uid: PodUid, task: asyncio.Task[None]) -> None:
        del self._workers[uid], self._tasks[uid]
        if not task.cancelled() and (error := task.exception()) is not None:
            # The edge of a worker: one pod's trouble must not take the node down.
            logger.error("pod failed", extra={"pod": task.get_name()}, exc_info=error)

    async def _remove_strangers(self) -> None:
        """Remove what pods left that were deleted while no agent ran."""
        await self.reflector.synced.wait()
        pods_dir = self._node.config.state_dir / "pods"
        for directory in pods_dir.iterdir() if pods_dir.is_dir() else ():
            if PodUid(directory.name) not in self._workers:
                shutil.rmtree(directory, ignore_errors=True)


def _decode(pod: Manifest) -> Manifest:
    """Leave out what only takes memory."""
    pod["metadata"].pop("managedFields", None)
    return pod
