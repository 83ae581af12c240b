"""Wires a node agent together: the only file that knows every part of it."""

import asyncio
import contextlib
import logging
import os
import random
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
from fleetfit_kube.client import ApiClient
from fleetfit_kube.config import from_kubeconfig

from localfleet import control_socket
from localfleet.node import janitor
from localfleet.node.api_proxy import ApiProxy
from localfleet.node.clock import Clock, SystemClock
from localfleet.node.container_state import Terminated
from localfleet.node.cpu_limit import CpuLimit, CpuQuota, limit_cpu
from localfleet.node.kubelet_server import KubeletServer, LogSource, server_tls
from localfleet.node.log_files import container_logs
from localfleet.node.node_context import NodeContext
from localfleet.node.node_heartbeat import NodeHeartbeat
from localfleet.node.pod_events import PodEvents
from localfleet.node.pod_set import PodSet
from localfleet.node.probe_actions import Prober
from localfleet.node.profile import NodeProfile, load_profile
from localfleet.node_config import NODE_MARKER_ENV, NodeConfig

logger = logging.getLogger(__name__)
INSTANCE_MARKER_ENV: Final = "LOCALFLEET_AGENT"
_SHUTDOWN_GRACE_S: Final = 5.0


class NodeAgent:
    """One node.

    Args:
        profile: What the node is.
        node: The node's identity and means.
        client: API access with the node's credentials.
        session: For HTTP probes.
    """

    def __init__(
        self, profile: NodeProfile, node: NodeContext, client: ApiClient, session: aiohttp.ClientSession
    ) -> None:
        config = node.config
        rng = random.Random()  # noqa: S311 - jitter, not a secret
        self._node = node
        self._profile = profile
        self._proxy = ApiProxy((config.address, config.proxy_port), (config.api_host, config.api_port))
        self._events = PodEvents(client, config.name, node.clock)
        self._pods = PodSet(node, client, Prober(session, config.address), self._events, rng)
        self._heartbeat = NodeHeartbeat(config, profile, client, node.clock, rng)
        self._kubelet = KubeletServer(
            (config.address, config.kubelet_port),
            server_tls(config.serving_cert, config.serving_key, config.ca_cert),
            self._find_logs,
        )

    async def run(self) -> None:
        """Run until cancelled; then end all pods' processes."""
        await self._proxy.open()
        await self._kubelet.open()
        try:
            async with control_socket.serve(self._node.config.control_socket, self._command):
                await self._heartbeat.register()
                async with asyncio.TaskGroup() as group:
                    for part in (self._heartbeat.run(), self._pods.run(), self._events.run()):
                        group.create_task(part)
        finally:
            await self._pods.close(_SHUTDOWN_GRACE_S)
            await self._kubelet.close()
            await self._proxy.close()

    async def _command(self, command: dict[str, Any]) -> dict[str, Any]:
        match command.get("command"):
            case "cut":
                await self._proxy.close()
                await self._kubelet.close()
                logger.info("cut off")
            case "heal":
                await self._proxy.open()
                await self._kubelet.open()
                self._heartbeat.healed.set()
                logger.info("healed")
            case "status":
                return self._status()
            case unknown:
                raise control_socket.ControlError(
                    f"{unknown!r} is not a command; there are cut, heal and status"
                )
        return {"ok": True}

    def _status(self) -> dict[str, Any]:
        config = self._node.config
        age_s = self._heartbeat.last_renewal_age_s
        return {
            "ok": True,
            "name": config.name,
            "profile": self._profile.name,
            "address": config.address,
            "cut": not self._proxy.is_open,
            "cpuQuota": self._profile.cpu_quota,
            "cpuLimit": self._node.cpu_limit.kind,
            "notSimulated": self._profile.not_simulated,
            "leaseAgeSeconds": None if age_s is None else round(age_s, 1),
            "pods": [
                {
                    "namespace": worker.pod["metadata"]["namespace"],
                    "name": worker.pod["metadata"]["name"],
                    "phase": (worker.pod.get("status") or {}).get("phase", "Pending"),
                    "containers": [
                        {
                            "name": runner.record.name,
                            "pid": runner.pid,
                            "ready": runner.record.ready,
                            "restarts": runner.record.restarts,
                        }
                        for runner in worker.runners
                    ],
                }
                for worker in self._pods.workers.values()
            ],
        }

    def _find_logs(self, namespace: str, pod: str, container: str) -> LogSource | None:
        for uid, worker in self._pods.workers.items():
            metadata = worker.pod["metadata"]
            if (metadata["namespace"], metadata["name"]) != (namespace, pod):
                continue
            for runner in worker.runners:
                if runner.record.name == container:
                    logs = container_logs(self._node.config.state_dir, uid, container)
                    return LogSource(logs, lambda: not isinstance(runner.record.state, Terminated))  # noqa: B023 - returned at once
        return None


async def run_agent(config: NodeConfig) -> None:
    """Run a node until SIGTERM or SIGINT, and leave nothing behind.

    Raises:
        ProfileError: the profile is missing or wrong.
        OSError: the node's address is taken.
    """
    profile = load_profile(config.profile)
    _kill_leftovers(config)
    node_dirs = [config.state_dir / "rootfs", config.state_dir / "pods"]
    for directory in node_dirs:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    limit = limit_cpu(config.state_dir, CpuQuota(profile.cpu_quota, profile.cpu_period_us))
    mark = f"{INSTANCE_MARKER_ENV}={uuid.uuid4().hex}"
    logger.info("node starts", extra={"node": config.name, "profile": profile.name, "cpu_limit": limit.kind})
    async with _janitor(mark, limit), _clients(config) as (client, session):
        node = NodeContext(config, profile.allocatable, limit, _clock(), mark)
        agent = asyncio.create_task(NodeAgent(profile, node, client, session).run())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, agent.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await agent


def _clock() -> Clock:
    return SystemClock()


@contextlib.asynccontextmanager
async def _clients(config: NodeConfig) -> AsyncIterator[tuple[ApiClient, aiohttp.ClientSession]]:
    connector = aiohttp.TCPConnector(force_close=True)  # a probe must prove that a new connection is possible
    async with (
        ApiClient(from_kubeconfig(config.kubeconfig)) as client,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        yield client, session


@contextlib.asynccontextmanager
async def _janitor(mark: str, limit: CpuLimit) -> AsyncIterator[None]:
    """Have a janitor wait for the agent's end; at an orderly end wait until it has cleaned up."""
    arguments = [mark, *map(str, limit.cgroups)]
    process = subprocess.Popen(  # noqa: ASYNC220, S603 - our own file; a fork is over in milliseconds
        [sys.executable, "-I", "-S", str(Path(janitor.__file__)), *arguments],
        stdin=subprocess.PIPE,
        # Not marked, or whoever looks for the node's processes would find and kill the one that cleans up after them.
        env={},
        cwd="/",
        start_new_session=True,
    )
    try:
        yield
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await asyncio.to_thread(process.wait)


def _kill_leftovers(config: NodeConfig) -> None:
    """Kill what an earlier agent left, should its janitor have been killed too."""
    mark = f"{NODE_MARKER_ENV}={config.state_dir}"
    spare = {os.getpid(), os.getppid()}
    janitor.kill_until_none(lambda: janitor.marked_processes(mark), spare, janitor.brief_pause)
