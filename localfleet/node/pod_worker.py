"""One pod on the node, from the first sight of it to its deletion: volumes, init containers, containers, the end."""

import asyncio
import logging
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fleetfit_kube.backoff import Backoff
from fleetfit_kube.client import ApiClient
from fleetfit_kube.errors import ApiError, Conflict, NotFound
from fleetfit_kube.resources import PODS

from localfleet.node.backoff import BackoffPolicy
from localfleet.node.container_launch import POD_MARKER_ENV, ContainerLauncher
from localfleet.node.container_runner import ContainerRunner, RunnerMeans
from localfleet.node.environment import MissingConfigError
from localfleet.node.fields import UnsupportedFieldError
from localfleet.node.janitor import brief_pause, kill_until_none, marked_processes
from localfleet.node.log_files import ContainerLogs
from localfleet.node.manifest import (
    Manifest,
    grace_period_s,
    init_containers,
    is_sidecar,
    main_containers,
    pod_key,
    pod_uid,
    resource_version,
    restart_policy,
)
from localfleet.node.node_context import NodeContext
from localfleet.node.pod_events import PodEvents
from localfleet.node.pod_status import PodView, pod_status
from localfleet.node.pod_volumes import PodVolumes, VolumeError
from localfleet.node.probe_actions import Prober
from localfleet.node.recovery import known_start, recovered_record
from localfleet.node.status_reporter import StatusReporter

logger = logging.getLogger(__name__)
_REFRESH_S: Final = 60.0
_VOLUME_PROBLEMS: Final = (VolumeError, MissingConfigError, UnsupportedFieldError, ApiError, OSError)


@dataclass(frozen=True)
class PodMeans:
    """What pods of a node work with.

    Attributes:
        node: The node.
        client: API access with the node's credentials.
        prober: Carries out probes.
        events: Where events go.
        stored: Called with the API server's answer to a status write.
        rng: Source of jitter.
    """

    node: NodeContext
    client: ApiClient
    prober: Prober
    events: PodEvents
    stored: Callable[[Manifest], None]
    rng: random.Random


class PodWorker:
    """Runs one pod; `run` ends when the pod is to be forgotten."""

    def __init__(self, pod: Manifest, means: PodMeans) -> None:
        self.pod = pod
        self._means = means
        self._directory = means.node.pod_dir(pod_uid(pod))
        self._volumes = PodVolumes(means.node, means.client, pod)
        self._launcher = ContainerLauncher(means.node, means.client, self._volumes)
        self._started_at = known_start(pod) or means.node.clock.now()
        self._prepared = False
        self._vanished = False
        self._stop_asked = asyncio.Event()
        self._pulse = asyncio.Event()
        self._init = [self._runner(container, init=True) for container in init_containers(pod)]
        self._main = [self._runner(container, init=False) for container in main_containers(pod)]
        self._reporter = StatusReporter(
            means.client, lambda: self.pod, self._status, self._written, means.rng
        )

    @property
    def runners(self) -> list[ContainerRunner]:
        """All containers, init containers first."""
        return self._init + self._main

    def update(self, pod: Manifest) -> None:
        """Take a newer version of the pod."""
        if resource_version(pod) >= resource_version(self.pod):
            self.pod = pod
            self._reporter.mark_changed()

    def stop(self, *, vanished: bool) -> None:
        """Ask for the pod's end; `vanished` says that the API no longer has it."""
        self._vanished = self._vanished or vanished
        self._stop_asked.set()

    async def run(self) -> None:
        """Run the pod until it is deleted."""
        over = (self.pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}
        tasks: list[asyncio.Task[None]] = []
        if not over:
            parts = (self._live_or_stop(), self._reporter.run(), self._keep())
            tasks = [asyncio.create_task(part) for part in parts]
        try:
            await self._stop_asked.wait()
            await self.end_processes(grace_period_s(self.pod))
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
        # Before the API forgets the pod: nobody may find its secrets here when it is gone.
        shutil.rmtree(self._directory, ignore_errors=True)
        if not self._vanished:
            await self._delete()

    async def end_processes(self, grace_s: float) -> None:
        """End the pod's containers, sidecars last, and whatever has left their sessions."""
        await asyncio.gather(*(runner.stop(grace_s) for runner in self._main))
        await asyncio.gather(*(runner.stop(grace_s) for runner in reversed(self._init)))
        mark = f"{POD_MARKER_ENV}={pod_uid(self.pod)}"
        kill_until_none(lambda: marked_processes(mark), (), brief_pause)

    async def _live_or_stop(self) -> None:
        """Live, and end the pod where that fails for a reason that nobody thought of."""
        over = False
        try:
            await self._live()
            over = True
        finally:
            if not over:
                self._stop_asked.set()

    async def _live(self) -> None:
        await self._prepare()
        async with asyncio.TaskGroup() as group:
            for runner in self._init:
                running = group.create_task(runner.run())
                if is_sidecar(runner.spec):
                    await self._until_started(runner)
                    continue
                await running
                if not runner.record.succeeded:
                    return
            await asyncio.gather(*(group.create_task(runner.run()) for runner in self._main))
            for runner in self._init:  # sidecars end after the containers that they serve
                await runner.stop(grace_period_s(self.pod))

    async def _prepare(self) -> None:
        """Create the volumes, however long it takes until what they are made of exists."""
        backoff = Backoff(self._means.rng, base_s=0.2, cap_s=5.0)
        self._changed()
        while True:
            try:
                await self._volumes.refresh(self.pod)
            except _VOLUME_PROBLEMS as error:
                self._announce("Warning", "FailedMount", str(error))
                await asyncio.sleep(backoff.next_s())
            else:
                self._prepared = True
                return

    async def _keep(self) -> None:
        """Renew tokens and projected files, and bound the logs, for as long as the pod lives."""
        while True:
            await asyncio.sleep(_REFRESH_S * self._means.rng.uniform(0.9, 1.1))
            for runner in self.runners:
                ContainerLogs(self._directory, runner.record.name).bound()
            if self._prepared:
                try:
                    await self._volumes.refresh(self.pod)
                except _VOLUME_PROBLEMS as error:
                    logger.info(
                        "volumes not refreshed", extra={"pod": pod_key(self.pod), "error": str(error)}
                    )

    async def _until_started(self, sidecar: ContainerRunner) -> None:
        while not sidecar.record.started:
            await self._pulse.wait()

    async def _delete(self) -> None:
        """Tell the API server that the pod has ended; it then forgets the pod."""
        metadata = self.pod["metadata"]
        backoff = Backoff(self._means.rng, base_s=0.5, cap_s=10.0)
        while not self._vanished:
            try:
                await self._reporter.flush()
                await self._means.client.delete(
                    PODS, metadata["name"], metadata["namespace"], grace_period_s=0, uid=metadata["uid"]
                )
            except (NotFound, Conflict):
                return
            except ApiError as error:
                logger.info("pod not deleted", extra={"pod": pod_key(self.pod), "error": str(error)})
                await asyncio.sleep(backoff.next_s())
            else:
                return

    def _runner(self, container: Manifest, *, init: bool) -> ContainerRunner:
        policy = restart_policy(self.pod)
        if init:
            policy = "Always" if is_sidecar(container) else {"Always": "OnFailure"}.get(policy, policy)
        config, logs = self._means.node.config, ContainerLogs(self._directory, container["name"])
        means = RunnerMeans(
            clock=self._means.node.clock,
            prober=self._means.prober,
            backoff=BackoffPolicy(config.crash_backoff_base_s, config.crash_backoff_max_s),
            prepare=lambda: self._launcher.prepare(self.pod, container, logs.new()),
            changed=self._changed,
            announce=self._announce,
        )
        record = recovered_record(container, self.pod, self._means.node.clock.now())
        return ContainerRunner(container, record, policy, grace_period_s(self.pod), means)

    def _status(self) -> Manifest:
        view = PodView(
            init=[runner.record for runner in self._init],
            main=[runner.record for runner in self._main],
            started_at=self._started_at,
            prepared=self._prepared,
            host_ip=self._means.node.config.address,
        )
        return pod_status(self.pod, view, self._means.node.clock.now())

    def _written(self, pod: Manifest) -> None:
        self.update(pod)
        self._means.stored(pod)

    def _changed(self) -> None:
        self._reporter.mark_changed()
        pulse, self._pulse = self._pulse, asyncio.Event()
        pulse.set()

    def _announce(self, kind: str, reason: str, message: str) -> None:
        self._means.events.announce(self.pod, kind, reason, message)
