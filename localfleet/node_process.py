"""One node of a fleet, as its supervisor sees it: a process that can be started, cut off and killed.

What the node does inside is the agent's business (`localfleet.node`); they talk over the agent's control socket.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from localfleet.control_socket import ControlError, NotListeningError, request
from localfleet.node_config import NODE_MARKER_ENV, NodeConfig
from localfleet.process.child import Child
from localfleet.process.tree import alive, kill_tree, marked

_START_TIMEOUT_S: Final = 60.0
_STOP_GRACE_S: Final = 10.0
_CLEANUP_TIMEOUT_S: Final = 5.0
_POLL_INTERVAL_S: Final = 0.02


class NodeState(StrEnum):
    """What the supervisor last did to a node, or saw happen to it."""

    RUNNING = "Running"
    CUT = "Cut"
    KILLED = "Killed"
    DIED = "Died"
    STOPPED = "Stopped"


class NodeProcess:
    """The agent of one node with all processes of its pods.

    Args:
        config: What the agent is told.
        log_path: Where its output goes.
        agent: Command of the agent, without its arguments.
    """

    def __init__(
        self,
        config: NodeConfig,
        log_path: Path,
        agent: tuple[str, ...] = (sys.executable, "-m", "localfleet.node"),
    ) -> None:
        self.config = config
        self._log_path = log_path
        self._agent = agent
        self._child: Child | None = None
        self._state = NodeState.STOPPED

    @property
    def name(self) -> str:
        """Name of the node."""
        return self.config.name

    @property
    def pid(self) -> int | None:
        """Process id of the agent while it runs."""
        return self._child.pid if self._child is not None and self._child.running else None

    @property
    def log_path(self) -> Path:
        """The agent's log."""
        return self._log_path

    @property
    def state(self) -> NodeState:
        """How the node is now."""
        if self._state in (NodeState.RUNNING, NodeState.CUT) and self.pid is None:
            return NodeState.DIED
        return self._state

    async def start(self) -> None:
        """Start the agent and wait until it answers.

        Raises:
            ControlError: it runs already.
            ChildDiedError: it ended at once; the message has the end of its log.
            TimeoutError: it does not answer.
        """
        if self.pid is not None:
            raise ControlError(f"node {self.name} runs already")
        config_path = self.config.state_dir / "config.json"
        self.config.write(config_path)
        # The last agent's socket must not be taken for that of the new one.
        self.config.control_socket.unlink(missing_ok=True)
        child = await Child.start(
            f"node {self.name}",
            [*self._agent, "--config", str(config_path)],
            log_path=self._log_path,
            env=self._environment(),
            cwd=self.config.state_dir,
        )
        self._child = child
        self._state = NodeState.RUNNING
        async with asyncio.timeout(_START_TIMEOUT_S):
            while not await self._answers():
                if not child.running:
                    raise child.died()
                await asyncio.sleep(_POLL_INTERVAL_S)

    async def cut(self) -> None:
        """Cut the node and its pods off from the API server; they go on running."""
        await self._command("cut")
        self._state = NodeState.CUT

    async def heal(self) -> None:
        """Give the node its way to the API server back."""
        await self._command("heal")
        self._state = NodeState.RUNNING

    async def ask_status(self) -> dict[str, Any]:
        """Ask the agent how it is."""
        return await self._command("status")

    async def kill(self) -> None:
        """Kill the agent and all processes of its pods, as if the power went."""
        if self._child is not None:
            self._state = NodeState.KILLED
            await self._child.kill()
        await self._sweep()

    async def stop(self) -> None:
        """Ask the agent to end its pods and itself, and see to it that nothing is left."""
        if self._child is not None:
            self._state = NodeState.STOPPED
            await self._child.stop(_STOP_GRACE_S)
        await self._sweep()

    async def wait(self) -> int:
        """Wait for the agent's end and give its exit code."""
        if self._child is None:
            raise ControlError(f"node {self.name} has not been started")
        return await self._child.wait()

    def describe_death(self) -> str:
        """Describe the agent's end for a person, with the end of its log."""
        return f"node {self.name} has not been started" if self._child is None else str(self._child.died())

    async def _sweep(self) -> None:
        """Wait until no process of the node is left; kill what does not end by itself.

        The agent leaves a janitor that kills the pods and removes the node's cgroup, so it goes first.
        """
        marker = str(self.config.state_dir)
        try:
            async with asyncio.timeout(_CLEANUP_TIMEOUT_S):
                while alive(marked(NODE_MARKER_ENV, marker)):  # noqa: ASYNC110 - only /proc knows
                    await asyncio.sleep(_POLL_INTERVAL_S)
        except TimeoutError:
            kill_tree((), NODE_MARKER_ENV, marker)

    async def _command(self, command: str) -> dict[str, Any]:
        if self.pid is None:
            raise ControlError(f"node {self.name} does not run ({self.state})")
        return await request(self.config.control_socket, {"command": command})

    async def _answers(self) -> bool:
        try:
            await request(self.config.control_socket, {"command": "status"}, timeout_s=5.0)
        except (NotListeningError, TimeoutError):
            return False
        return True

    def _environment(self) -> Mapping[str, str]:
        inherited = {name: os.environ[name] for name in ("TZ", "LANG") if name in os.environ}
        return {
            **inherited,
            "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
            "HOME": str(self.config.state_dir),
            NODE_MARKER_ENV: str(self.config.state_dir),
        }
