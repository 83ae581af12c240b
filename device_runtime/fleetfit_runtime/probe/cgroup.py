"""What the process may use of the node: processors and memory after quotas, from cgroups v1 and v2.

The host's processor count is a lie inside a quota, and a thread pool sized by it makes a slow node slower. Knows file
formats of the kernel and nothing of Fleetfit; the file system root is an argument so that it is tested with a tree.
"""

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

# Above this a v1 memory limit means "none": the kernel writes the largest page-aligned number.
_NO_LIMIT_BYTES = 1 << 60


def _affinity_count() -> int:
    return len(os.sched_getaffinity(0))


class CgroupFacts:
    """Reads the limits of this process.

    Args:
        root: root of the file system that holds `proc` and `sys`.
        affinity_count: processors that the scheduler may use for this process.
    """

    def __init__(self, root: Path = Path("/"), affinity_count: Callable[[], int] = _affinity_count) -> None:
        self._root = root
        self._affinity_count = affinity_count

    def processors(self) -> float:
        """Return the processors that the process may use, a fraction under a quota."""
        count = float(self._affinity_count())
        return min([count, *self._quotas()])

    def memory_bytes(self) -> int:
        """Return the memory that the process may use: the tightest limit, else the machine's memory."""
        return min([self._machine_memory_bytes(), *self._memory_limits()])

    def available_memory_bytes(self) -> int:
        """Return what the machine could give to programs now, 0 when unknown."""
        return self._meminfo_bytes("MemAvailable:")

    def _quotas(self) -> Iterator[float]:
        for directory in self._directories("cpu"):
            quota = _cpu_max(directory / "cpu.max")
            if quota is None:
                quota = _cfs_quota(directory)
            if quota is not None:
                yield quota

    def _memory_limits(self) -> Iterator[int]:
        for directory in self._directories("memory"):
            for name in ("memory.max", "memory.limit_in_bytes"):
                limit = _number(directory / name)
                if limit is not None and 0 < limit < _NO_LIMIT_BYTES:
                    yield limit

    def _directories(self, controller: str) -> Iterator[Path]:
        """Yield the process's group of the controller and all its ancestors: each may have a tighter limit."""
        mount = self._root / "sys/fs/cgroup"
        for line in _text(self._root / "proc/self/cgroup").splitlines():
            _, controllers, group = ([*line.split(":", 2), "", ""])[:3]
            if controllers and controller not in controllers.split(","):
                continue
            for base in (mount / controllers, mount / controller) if controllers else (mount,):
                if base.is_dir():
                    yield from _ancestry(base, group)
                    break

    def _machine_memory_bytes(self) -> int:
        return self._meminfo_bytes("MemTotal:")

    def _meminfo_bytes(self, name: str) -> int:
        for line in _text(self._root / "proc/meminfo").splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
        return 0


def threads_for(processors: float) -> int:
    """Return the threads of one inference that suit so many processors.

    Rounded down: a thread beyond the quota only gets the others throttled in the middle of an operator.
    """
    return max(1, math.floor(processors))


def _ancestry(base: Path, group: str) -> Iterator[Path]:
    path = base / group.lstrip("/")
    while True:
        # In a container the group's path is often that of the host and does not exist; the mount itself then counts.
        if path.is_dir():
            yield path
        if path == base or base not in path.parents:
            return
        path = path.parent


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    try:
        return int(_text(path))
    except ValueError:
        return None  # absent, or the word "max"


def _cpu_max(path: Path) -> float | None:
    fields = _text(path).split()
    if len(fields) != 2 or fields[0] == "max":
        return None
    return int(fields[0]) / int(fields[1])


def _cfs_quota(directory: Path) -> float | None:
    quota_us = _number(directory / "cpu.cfs_quota_us")
    period_us = _number(directory / "cpu.cfs_period_us")
    if quota_us is None or period_us is None or quota_us <= 0 or period_us <= 0:
        return None
    return quota_us / period_us
