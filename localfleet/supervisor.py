"""The process that owns a fleet and takes commands for it over its control socket.

It is what `localfleet up` runs, in the foreground or detached. When it ends, however it ends, the fleet ends.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol

from localfleet import control_socket
from localfleet.addresses import AddressesExhaustedError
from localfleet.control_socket import ControlError
from localfleet.controlplane.state_dir import StateDir
from localfleet.fleet import Fleet
from localfleet.node_process import NodeProcess, NodeState
from localfleet.process.child import ChildDiedError

_ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Phase(StrEnum):
    """How far the fleet is."""

    STARTING = "Starting"
    RUNNING = "Running"
    STOPPING = "Stopping"


class FleetObserver(Protocol):
    """Hears what happens, to tell a person."""

    def starting(self, what: str) -> None:
        """Something is being started."""

    def running(self, status: Mapping[str, Any]) -> None:
        """Everything runs."""

    def node_died(self, reason: str) -> None:
        """A node's agent ended by itself; the rest goes on."""

    def stopping(self) -> None:
        """The fleet is being stopped."""


class Supervisor:
    """Runs one fleet until it is told to stop.

    Args:
        fleet: The fleet, not started yet.
        plan: Names and profiles of the nodes to begin with.
        observer: Hears what happens.
    """

    def __init__(self, fleet: Fleet, plan: Sequence[tuple[str, str]], observer: FleetObserver) -> None:
        self._fleet = fleet
        self._plan = plan
        self._observer = observer
        self._phase = Phase.STARTING
        self._stop = asyncio.Event()
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._commands: Mapping[str, Callable[[dict[str, Any]], Awaitable[Mapping[str, Any]]]] = {
            "status": self._on_status,
            "stop": self._on_stop,
            "node-add": self._on_node_add,
            "node-cut": self._on_node_cut,
            "node-heal": self._on_node_heal,
            "node-kill": self._on_node_kill,
            "node-start": self._on_node_start,
        }

    async def run(self) -> None:
        """Run the fleet until a signal or a `stop` command.

        Raises:
            ChildDiedError: a component of the control plane ended by itself.
            StateDirInUseError: another fleet runs in the state directory.
            TimeoutError: the fleet was not ready in time.
        """
        loop = asyncio.get_running_loop()
        for number in _ENDING_SIGNALS:
            loop.add_signal_handler(number, self._stop.set)
        try:
            self._observer.starting("control plane")
            await self._unless_stopped(self._run_fleet())
        finally:
            for number in _ENDING_SIGNALS:
                loop.remove_signal_handler(number)

    async def _unless_stopped(self, work: Awaitable[None]) -> None:
        """Run the fleet, but break off its start when the stop comes before it is up."""
        running = asyncio.ensure_future(work)
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({running, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done() and self._phase is Phase.STARTING:
                self._phase = Phase.STOPPING
                self._observer.stopping()
                running.cancel()
            await asyncio.wait({running})
            if not running.cancelled():
                running.result()
        finally:
            stop.cancel()

    async def _run_fleet(self) -> None:
        async with self._fleet as fleet:
            state = fleet.control_plane.state
            # After the control plane holds the state directory: the socket of a running fleet must not be replaced.
            async with control_socket.serve(state.control_socket, self._handle):
                await self._start_nodes()
                self._phase = Phase.RUNNING
                self._observer.running(self._status())
                try:
                    await self._until_stop_or_death()
                finally:
                    self._phase = Phase.STOPPING
                    self._observer.stopping()
                    for watcher in self._watchers.values():
                        watcher.cancel()

    async def _start_nodes(self) -> None:
        if not self._plan:
            return
        self._observer.starting(f"{len(self._plan)} nodes")
        async with asyncio.TaskGroup() as group:
            for name, profile in self._plan:
                group.create_task(self._add(profile, name))
        await self._fleet.wait_until_ready(*(name for name, _ in self._plan))

    async def _until_stop_or_death(self) -> None:
        death = asyncio.create_task(self._fleet.control_plane.wait_for_death())
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({death, stop}, return_when=asyncio.FIRST_COMPLETED)
            if death.done():
                death.result()
        finally:
            death.cancel()
            stop.cancel()

    async def _handle(self, command: dict[str, Any]) -> Mapping[str, Any]:
        handler = self._commands.get(str(command.get("command")))
        if handler is None:
            raise ControlError(
                f"there is no command {command.get('command')!r}; try {', '.join(self._commands)}"
            )
        try:
            return await handler(command)
        except (ChildDiedError, AddressesExhaustedError, TimeoutError, OSError) as error:
            raise ControlError(str(error)) from error

    async def _on_status(self, _: dict[str, Any]) -> Mapping[str, Any]:
        return self._status()

    async def _on_stop(self, _: dict[str, Any]) -> Mapping[str, Any]:
        self._stop.set()
        return {}

    async def _on_node_add(self, command: dict[str, Any]) -> Mapping[str, Any]:
        profile, name = command.get("profile"), command.get("name")
        if not isinstance(profile, str) or not isinstance(name, str | None):
            raise ControlError("node-add takes a profile and perhaps a name")
        node = await self._add(profile, name)
        await self._fleet.wait_until_ready(node.name)
        return _describe_node(node)

    async def _on_node_cut(self, command: dict[str, Any]) -> Mapping[str, Any]:
        node = self._named(command)
        await node.cut()
        return _describe_node(node)

    async def _on_node_heal(self, command: dict[str, Any]) -> Mapping[str, Any]:
        node = self._named(command)
        await node.heal()
        return _describe_node(node)

    async def _on_node_kill(self, command: dict[str, Any]) -> Mapping[str, Any]:
        node = self._named(command)
        await node.kill()
        return _describe_node(node)

    async def _on_node_start(self, command: dict[str, Any]) -> Mapping[str, Any]:
        node = self._named(command)
        await node.start()
        self._watch(node)
        return _describe_node(node)

    def _named(self, command: dict[str, Any]) -> NodeProcess:
        return self._fleet.node(str(command.get("name")))

    async def _add(self, profile: str, name: str | None) -> NodeProcess:
        node = await self._fleet.add_node(profile, name)
        self._watch(node)
        return node

    def _watch(self, node: NodeProcess) -> None:
        self._watchers[node.name] = asyncio.create_task(self._report_death(node))

    async def _report_death(self, node: NodeProcess) -> None:
        await node.wait()
        if node.state is NodeState.DIED and self._phase is not Phase.STOPPING:
            self._observer.node_died(node.describe_death())

    def _status(self) -> Mapping[str, Any]:
        control_plane = self._fleet.control_plane
        return {
            "phase": self._phase,
            "server": control_plane.server,
            "kubeconfig": str(control_plane.state.admin_kubeconfig),
            "state_dir": str(control_plane.state.root),
            "components": [
                {"name": child.name, "pid": child.pid, "state": "Running" if child.running else "Died"}
                for child in control_plane.components
            ],
            "ports": asdict(control_plane.ports),
            "nodes": [_describe_node(node) for node in self._fleet.nodes],
        }


def _describe_node(node: NodeProcess) -> Mapping[str, Any]:
    return {
        "name": node.name,
        "profile": node.config.profile,
        "address": node.config.address,
        "state": node.state,
        "pid": node.pid,
        "log": str(node.log_path),
    }


async def ask(state_dir: Path, command: Mapping[str, Any], timeout_s: float = 120.0) -> dict[str, Any]:
    """Send a command to the supervisor of the fleet in a state directory.

    Raises:
        NotListeningError: no fleet runs there.
        ControlError: the supervisor refused or failed; the message says why.
        TimeoutError: no answer in time.
    """
    return await control_socket.request(StateDir(state_dir).control_socket, command, timeout_s)
