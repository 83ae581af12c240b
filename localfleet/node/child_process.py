"""One process of a container: starts it, sees it end and signals it.

The process leads a session of its own, writes straight to its log file, so that a chatty pod costs the agent nothing,
and is killed by the kernel when the agent dies. The agent must start processes from its main thread: the kernel takes
the death of the starting thread for the death of the parent.
"""

import asyncio
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localfleet.node.cpu_limit import CpuLimit
from localfleet.node.environment import unchanged

_PR_SET_PDEATHSIG: Final = 1
# Loaded before any fork: between fork and exec there must be no import.
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Launch:
    """What to start and where.

    Attributes:
        argv: The command, its executable first.
        environment: All of the process's variables.
        directory: Working directory.
        log_file: Where output goes.
        cpu_limit: What slows the process down.
        rewrite: Turns mount paths into local ones, for commands that run beside this one.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path
    log_file: Path
    cpu_limit: CpuLimit
    rewrite: Callable[[str], str] = unchanged


class ChildProcess:
    """A started process. It is reaped as soon as it ends, and the rest of its session is killed with it."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        loop = asyncio.get_running_loop()
        self._process = process
        self._exit_code: asyncio.Future[int] = loop.create_future()
        self._pidfd = os.pidfd_open(process.pid)
        loop.add_reader(self._pidfd, self._ended)

    @classmethod
    def start(cls, launch: Launch) -> "ChildProcess":
        """Start a process.

        Raises:
            OSError: the command cannot be executed.
        """
        with launch.log_file.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - running a pod's command is what a node is for
                launch.argv,
                env=launch.environment,
                cwd=launch.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_confinement(launch.cpu_limit, os.getpid()),
            )
        return cls(process)

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process has not ended yet."""
        return not self._exit_code.done()

    async def wait(self) -> int:
        """Return the exit code; 128 plus the signal's number where a signal ended it."""
        return await asyncio.shield(self._exit_code)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process alone, as the kubelet does to a container's first process."""
        if self.running:
            signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """Kill the process and its session."""
        if self.running:
            os.killpg(self.pid, signal.SIGKILL)

    async def stop(self, grace_s: float) -> int:
        """Ask the process to end, kill it after the grace period, and return the exit code."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                return await self.wait()
        except TimeoutError:
            self.kill()
        return await self.wait()

    def _ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        # Before the process is reaped its id cannot be given to another one: the group is surely ours.
        os.killpg(self.pid, signal.SIGKILL)
        code = self._process.wait()
        self._exit_code.set_result(128 - code if code < 0 else code)


def _confinement(limit: CpuLimit, parent_pid: int) -> Callable[[], None]:
    """Return what the new process does before it becomes the command. It must not import, log or take a lock."""
    procs_file = str(limit.cgroup / "cgroup.procs") if limit.cgroup is not None else None

    def confine() -> None:
        if _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != parent_pid:
            os._exit(126)
        if procs_file is not None:
            descriptor = os.open(procs_file, os.O_WRONLY)
            os.write(descriptor, b"0")
            os.close(descriptor)
        if limit.nice:
            os.nice(limit.nice)
        if limit.cpus:
            os.sched_setaffinity(0, limit.cpus)

    return confine
