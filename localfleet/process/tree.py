"""Finding and killing everything that a process has started, from what /proc says.

A process is found as a descendant or by an environment variable that it inherited, so one that has been orphaned
does not escape. It knows nothing of nodes or pods.
"""

import contextlib
import os
import signal
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")


def descendants(roots: Iterable[int]) -> set[int]:
    """Give the processes below the roots, without the roots."""
    children: dict[int, list[int]] = defaultdict(list)
    for pid in _pids():
        parent = _parent(pid)
        if parent is not None:
            children[parent].append(pid)
    found: set[int] = set()
    pending = list(roots)
    while pending:
        for child in children[pending.pop()]:
            if child not in found:
                found.add(child)
                pending.append(child)
    return found


def marked(variable: str, value: str) -> set[int]:
    """Give the processes, except this one, whose environment had the variable at this value when they started."""
    wanted = f"{variable}={value}".encode()
    found: set[int] = set()
    for pid in _pids():
        with contextlib.suppress(OSError):
            if wanted in (_PROC / str(pid) / "environ").read_bytes().split(b"\0"):
                found.add(pid)
    return found - {os.getpid()}


def kill_tree(roots: Iterable[int], variable: str, value: str) -> set[int]:
    """Kill the roots, all below them and all that carry the variable; give the processes that were killed.

    Each round stops everything it finds before it looks again, so nothing can fork its way out.
    """
    alive_roots = {pid for pid in roots if _parent(pid) is not None}
    found: set[int] = set()
    while True:
        fresh = (alive_roots | descendants(alive_roots | found) | marked(variable, value)) - found
        if not fresh:
            break
        _signal(fresh, signal.SIGSTOP)
        found |= fresh
    _signal(found, signal.SIGKILL)
    return found


def alive(pids: Iterable[int]) -> set[int]:
    """Give those that still run; a zombie does not."""
    return {pid for pid in pids if _state(pid) not in (None, "Z", "X")}


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir(_PROC) if entry.isdigit()]  # noqa: PTH208 - only the names


def _stat_fields(pid: int) -> list[str] | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()  # the name before it may hold spaces and brackets


def _state(pid: int) -> str | None:
    fields = _stat_fields(pid)
    return fields[0] if fields else None


def _parent(pid: int) -> int | None:
    fields = _stat_fields(pid)
    return int(fields[1]) if fields else None
