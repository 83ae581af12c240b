"""`build`, `up`, `down` and `status`."""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from localfleet.binaries import Binaries
from localfleet.build.builder import default_cache, ensure_binaries, ensure_storage_servers
from localfleet.build.progress import make_progress
from localfleet.cli.display import Display
from localfleet.control_socket import ControlError, NotListeningError
from localfleet.controlplane.lock import holder
from localfleet.controlplane.state_dir import StateDir
from localfleet.fleet import Fleet
from localfleet.images import default_images
from localfleet.node.profile import load_fleet
from localfleet.process.child import tail
from localfleet.supervisor import Phase, Supervisor, ask

_DETACH_TIMEOUT_S: Final = 180.0
_DOWN_TIMEOUT_S: Final = 60.0
_KILL_TIMEOUT_S: Final = 5.0
_POLL_INTERVAL_S: Final = 0.05


def build(_: argparse.Namespace, display: Display) -> int:
    """Build the programs."""
    display.line(f"Programs are in {find_binaries(display).directory}")
    servers = ensure_storage_servers(default_cache(os.environ), make_progress(display.console))
    display.line(f"Servers of storage for the tests are in {servers}")
    return 0


def find_binaries(display: Display) -> Binaries:
    """Give the programs, building them the first time in front of the user."""
    return ensure_binaries(default_cache(os.environ), make_progress(display.console))


def up(arguments: argparse.Namespace, display: Display) -> int:
    """Start a fleet, here or in the background."""
    plan = (
        [(node.name, node.profile) for node in load_fleet(arguments.fleet).nodes] if arguments.fleet else []
    )
    binaries = find_binaries(display)
    if arguments.detach:
        return asyncio.run(_detach(arguments, display))
    fleet = Fleet(arguments.state_dir, binaries, default_images(os.environ))
    asyncio.run(Supervisor(fleet, plan, display).run())
    return 0


def down(arguments: argparse.Namespace, display: Display) -> int:
    """Stop the fleet, by force if it does not listen."""
    return asyncio.run(_down(StateDir(arguments.state_dir.absolute()), display))


def status(arguments: argparse.Namespace, display: Display) -> int:
    """Show the fleet."""
    answer = asyncio.run(ask(arguments.state_dir, {"command": "status"}))
    if arguments.json:
        display.line(json.dumps(answer, indent=2))
    else:
        display.status(answer)
    return 0


async def _detach(arguments: argparse.Namespace, display: Display) -> int:
    state = StateDir(arguments.state_dir.absolute())
    running = holder(state.lock)
    if running is not None:
        display.error(f"A fleet runs in {state.root} already (process {running}).")
        return 1
    state.create()
    log_path = state.root / "supervisor.log"
    supervisor = _spawn_supervisor(arguments, log_path)
    display.line(f"Starting a fleet in the background (process {supervisor.pid})")
    answer = await _wait_until_running(supervisor, state.root)
    if answer is None:
        display.error(f"The fleet did not start; the end of {log_path}:\n{tail(log_path)}")
        supervisor.terminate()
        return 1
    display.status(answer)
    return 0


def _spawn_supervisor(arguments: argparse.Namespace, log_path: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "localfleet", "--state-dir", str(arguments.state_dir.absolute()), "up"]
    if arguments.fleet:
        command += ["--fleet", arguments.fleet]
    with log_path.open("wb") as log:
        # A session of its own, so that it outlives this terminal.
        return subprocess.Popen(  # noqa: S603 - this program
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


async def _wait_until_running(
    supervisor: "subprocess.Popen[bytes]", state_dir: Path
) -> dict[str, Any] | None:
    try:
        async with asyncio.timeout(_DETACH_TIMEOUT_S):
            while supervisor.poll() is None:
                try:
                    answer = await ask(state_dir, {"command": "status"})
                except NotListeningError:
                    answer = {}
                if answer.get("phase") == Phase.RUNNING:
                    return answer
                await asyncio.sleep(_POLL_INTERVAL_S)
    except TimeoutError:
        pass
    return None


async def _down(state: StateDir, display: Display) -> int:
    pid = holder(state.lock)
    if pid is None:
        display.line(f"No fleet runs in {state.root}.")
        return 0
    try:
        await ask(state.root, {"command": "stop"})
    except (ControlError, TimeoutError):
        os.kill(pid, signal.SIGTERM)
    if not await _released(state, _DOWN_TIMEOUT_S):
        display.error(f"The fleet does not stop; killing process {pid}.")
        os.kill(pid, signal.SIGKILL)
        if not await _released(state, _KILL_TIMEOUT_S):
            return 1
    display.line(f"The fleet in {state.root} has stopped.")
    return 0


async def _released(state: StateDir, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            while holder(state.lock) is not None:  # noqa: ASYNC110 - a lock of another process has no event
                await asyncio.sleep(_POLL_INTERVAL_S)
    except TimeoutError:
        return False
    return True
