"""Kills what an agent leaves behind, even when the agent is killed.

Runs as a small process of its own beside the agent, blocked on a pipe whose other end only the agent holds. When the
pipe closes, however the agent ended, it kills every process that carries the agent's mark in its environment or sits
in the node's cgroup, and removes the cgroup. It is run with `python -I -S FILE`, so it may import nothing but the
standard library; the agent uses the same functions for its own clean-up.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

_ROUNDS = 200
_PAUSE_S = 0.01


def marked_processes(mark: str, proc: Path = Path("/proc")) -> Iterator[int]:
    """Yield the processes that started with `NAME=value` in their environment."""
    wanted = mark.encode()
    for directory in proc.iterdir():
        if directory.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in (directory / "environ").read_bytes().split(b"\0"):
                    yield int(directory.name)


def cgroup_processes(cgroups: Collection[Path]) -> Iterator[int]:
    """Yield the processes in cgroups; a cgroup that has gone has none."""
    for cgroup in cgroups:
        with contextlib.suppress(OSError):
            yield from map(int, (cgroup / "cgroup.procs").read_text().split())


def kill_until_none(
    find: Callable[[], Iterator[int]], spare: Collection[int], pause: Callable[[], None]
) -> bool:
    """Kill what is found, again and again because it may fork meanwhile; tell whether nothing is left."""
    for _ in range(_ROUNDS):
        found = [pid for pid in find() if pid not in spare]
        if not found:
            return True
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        pause()
    return False


def remove_cgroups(cgroups: Collection[Path], pause: Callable[[], None]) -> None:
    """Remove empty cgroups; the kernel needs a moment after the last process ended."""
    for cgroup in cgroups:
        for _ in range(_ROUNDS):
            try:
                cgroup.rmdir()
            except FileNotFoundError:
                break
            except OSError:
                pause()
            else:
                break


def brief_pause() -> None:
    """Give killed processes a moment to end."""
    signal.sigtimedwait([], _PAUSE_S)


def main(arguments: list[str]) -> int:
    """Wait for the agent's end, then clean up after it."""
    mark, *cgroups = arguments
    paths = [Path(cgroup) for cgroup in cgroups]
    # A signal to the agent's process group must not end the janitor before the agent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while os.read(0, 1):
        pass

    def find() -> Iterator[int]:
        yield from marked_processes(mark)
        yield from cgroup_processes(paths)

    clean = kill_until_none(find, {os.getpid()}, brief_pause)
    remove_cgroups(paths, brief_pause)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
