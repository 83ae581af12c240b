"""What tests need of a real control plane, without pytest: fixtures in conftest files wrap these.

A test session is synchronous outside of its tests, so the control plane lives on an event loop of its own that only
runs while it is started and stopped.
"""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from localfleet.binaries import Binaries
from localfleet.build.builder import default_cache, ensure_binaries, ensure_storage_servers
from localfleet.build.progress import PlainProgress
from localfleet.controlplane.control_plane import ControlPlane
from localfleet.controlplane.kubeconfig import tool_environment

_CLI_TIMEOUT_S: Final = 90.0


@dataclass(frozen=True, slots=True)
class CommandLine:
    """Runs kubectl or helm as the fleet's administrator."""

    program: Path
    kubeconfig: Path

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run with these arguments and give the result, whatever the exit code."""
        return subprocess.run(  # noqa: S603 - a program that we have built
            [str(self.program), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=_CLI_TIMEOUT_S,
            env=tool_environment(self.kubeconfig),
        )

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """Run with these arguments and give the output.

        Raises:
            AssertionError: it failed; the message has what it said.
        """
        result = self.run(*arguments, stdin=stdin)
        if result.returncode != 0:
            words = " ".join((self.program.name, *arguments))
            raise AssertionError(f"{words} exited with {result.returncode}:\n{result.stdout}{result.stderr}")
        return result.stdout


def build_binaries() -> Binaries:
    """Give the programs of the control plane, building them the first time (minutes)."""
    return ensure_binaries(default_cache(os.environ), PlainProgress(Console(stderr=True)))


def build_storage_servers() -> Path:
    """Give the directory with the servers of storage, building them the first time (minutes)."""
    return ensure_storage_servers(default_cache(os.environ), PlainProgress(Console(stderr=True)))


@contextlib.contextmanager
def running_control_plane(state_dir: Path, binaries: Binaries) -> Iterator[ControlPlane]:
    """Run a control plane for the time of the context, from synchronous code in the main thread."""
    control_plane = ControlPlane(state_dir, binaries)
    with asyncio.Runner() as runner:
        runner.run(control_plane.start())
        try:
            yield control_plane
        finally:
            runner.run(control_plane.stop())


def kubectl_of(control_plane: ControlPlane) -> CommandLine:
    """Give the kubectl of a control plane."""
    return CommandLine(control_plane.binaries.kubectl, control_plane.state.admin_kubeconfig)


def helm_of(control_plane: ControlPlane) -> CommandLine:
    """Give the helm of a control plane."""
    return CommandLine(control_plane.binaries.helm, control_plane.state.admin_kubeconfig)


def apply_crds(kubectl: CommandLine, directory: Path) -> None:
    """Apply the CRDs in a directory, if there are any, and wait until the API serves them."""
    if any(directory.glob("*.yaml")):
        kubectl("apply", "--server-side", "-f", str(directory))
        kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(directory))
