"""One child process with a log file, bound to the life of this process.

It knows nothing of what the child is. Children must be started from the main thread (see `bound_exec`).
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from localfleet.process import bound_exec

_BOUND_EXEC: Final = str(Path(bound_exec.__file__))
_TAIL_LINES: Final = 20


class ChildDiedError(RuntimeError):
    """A child has ended that should run; the message has the end of its log."""


class Child:
    """A running child process, in a process group of its own."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log_path: Path) -> None:
        self.name = name
        self.log_path = log_path
        self._process = process

    @classmethod
    async def start(
        cls, name: str, command: Sequence[str], *, log_path: Path, env: Mapping[str, str], cwd: Path
    ) -> Self:
        """Start a command; its output is appended to the log."""
        with log_path.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                _BOUND_EXEC,
                str(os.getpid()),
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(env),
                cwd=cwd,
                # A group of its own keeps the terminal's Ctrl-C from children: the supervisor stops them in order.
                process_group=0,
            )
        return cls(name, process, log_path)

    @property
    def pid(self) -> int:
        """Process id; that of the command, because the wrapper becomes it."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        return self._process.returncode

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    async def wait(self) -> int:
        """Wait for its end and give the exit code."""
        return await self._process.wait()

    async def stop(self, grace_s: float) -> None:
        """Ask it to end and kill its process group when it has not after the grace time."""
        if self.running:
            self._signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(grace_s):
                    await self.wait()
            except TimeoutError:
                await self.kill()

    async def kill(self) -> None:
        """Kill its process group and wait for its end."""
        if self.running:
            self._signal(signal.SIGKILL)
            await self.wait()

    def died(self) -> ChildDiedError:
        """Describe its end for a person."""
        code = self.exit_code
        how = "is running" if code is None else f"exited with code {code}"
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        return ChildDiedError(f"{self.name} {how}; the end of {self.log_path}:\n{tail(self.log_path)}")

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def tail(path: Path, lines: int = _TAIL_LINES) -> str:
    """Give the last lines of a log, indented; an absent one has none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as log:
            last = deque(log, maxlen=lines)
    except FileNotFoundError:
        last = deque()
    return "".join(f"    {line.rstrip()}\n" for line in last) or "    (empty)\n"
