"""A container's log files: one per start, the newest two kept, each bounded.

Processes write their files themselves, so lines carry no time and a file that has grown too long is emptied in place.
"""

import os
import re
from pathlib import Path
from typing import Final

from localfleet.node.manifest import PodUid

MAX_LOG_BYTES: Final = 10 * 2**20
_KEPT: Final = 2
_CHUNK_BYTES: Final = 64 * 1024
_NUMBER = re.compile(r"^(\d+)\.log$")


class ContainerLogs:
    """The log files of one container."""

    def __init__(self, pod_dir: Path, container: str) -> None:
        self._directory = pod_dir / "logs" / container

    def new(self) -> Path:
        """Return the file for the next start, and remove what is older than the one before."""
        self._directory.mkdir(parents=True, exist_ok=True)
        numbers = self._numbers()
        for number in numbers[: len(numbers) - _KEPT + 1]:
            (self._directory / f"{number}.log").unlink(missing_ok=True)
        return self._directory / f"{numbers[-1] + 1 if numbers else 0}.log"

    def current(self) -> Path | None:
        """Return the file of the newest start."""
        return self._nth_last(1)

    def previous(self) -> Path | None:
        """Return the file of the start before."""
        return self._nth_last(2)

    def bound(self) -> None:
        """Empty the newest file if it has grown too long."""
        path = self.current()
        if path is not None and path.stat().st_size > MAX_LOG_BYTES:
            os.truncate(path, 0)

    def _nth_last(self, n: int) -> Path | None:
        numbers = self._numbers()
        return self._directory / f"{numbers[-n]}.log" if len(numbers) >= n else None

    def _numbers(self) -> list[int]:
        if not self._directory.is_dir():
            return []
        matches = (_NUMBER.match(path.name) for path in self._directory.iterdir())
        return sorted(int(match.group(1)) for match in matches if match is not None)


def tail_offset(path: Path, lines: int) -> int:
    """Return where the last lines of a file begin."""
    size = position = path.stat().st_size
    if lines <= 0:
        return size
    with path.open("rb") as file:
        # The newline that ends the last line does not begin another one.
        wanted = lines + 1
        while position > 0:
            start = max(0, position - _CHUNK_BYTES)
            file.seek(start)
            chunk = file.read(position - start)
            if position == size and not chunk.endswith(b"\n"):
                wanted = lines
            if chunk.count(b"\n") >= wanted:
                for _ in range(wanted):
                    end = chunk.rindex(b"\n")
                    chunk = chunk[:end]
                return start + end + 1
            wanted -= chunk.count(b"\n")
            position = start
    return 0


def last_lines(path: Path, max_bytes: int = 2048) -> str:
    """Return the end of a file as text."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - max_bytes))
        return file.read().decode("utf-8", "replace").strip()


def container_logs(state_dir: Path, uid: PodUid, container: str) -> ContainerLogs:
    """Return the logs of a pod's container under a node's state directory."""
    return ContainerLogs(state_dir / "pods" / uid, container)
