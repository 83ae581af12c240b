"""Ratings on the node's disk: a journal that is appended to, and a snapshot that takes its place when it is long.

A rating is a line of the journal. When the journal has reached its size, a snapshot of the books is written and the
journal becomes the previous one, which is kept for those who want to read what users said; the one before it goes. A
power cut leaves at worst a torn last line, or a snapshot with a journal that it already holds: ids make a line count
once. What is damaged is logged and left out, because a node must start whatever its disk holds.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fleetfit_runtime.ratings.book import Rating
from fleetfit_runtime.store.atomic_file import sync_directory, write_atomically

logger = logging.getLogger(__name__)

_LARGEST_JOURNAL_BYTES = 1 << 20
# Larger than any that is written: what something else left there must not take the node's memory.
_LARGEST_FILE_BYTES = 256 << 20


class JournalEntry(BaseModel):
    """One accepted rating as a line of the journal."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    model: str
    received_s: float
    rating: Rating
    context: dict[str, str | float | bool] = {}


class Snapshot(BaseModel):
    """The books as they were when the journal began.

    Args:
        salt: the node's secret for hashes of users, in hexadecimal digits.
        books: dumps by model name.
    """

    model_config = ConfigDict(frozen=True)

    salt: str = Field(pattern="^[0-9a-f]{32,128}$")
    books: dict[str, dict[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class Recovered:
    """What the disk holds; the snapshot is None when there is none."""

    snapshot: Snapshot | None
    entries: list[JournalEntry]


class RatingJournal:
    """Reads and writes the files; everything blocks.

    Args:
        directory: where they are; made when it is needed.
        largest_bytes: size from which the journal wants a snapshot.
    """

    def __init__(self, directory: Path, largest_bytes: int = _LARGEST_JOURNAL_BYTES) -> None:
        self._snapshot = directory / "snapshot.json"
        self._journal = directory / "journal.jsonl"
        self._previous = directory / "journal.previous.jsonl"
        self._largest_bytes = largest_bytes
        self._size_bytes = 0

    @property
    def wants_snapshot(self) -> bool:
        """Tell whether the journal has become long."""
        return self._size_bytes >= self._largest_bytes

    def read(self) -> Recovered:
        """Return what the disk holds, as far as it is readable."""
        snapshot = self._read_snapshot()
        content = self._read(self._journal)
        self._size_bytes = len(content)
        entries, damaged = [], 0
        for line in filter(None, content.split(b"\n")):
            try:
                entries.append(JournalEntry.model_validate_json(line))
            except ValidationError:
                damaged += 1
        if damaged:
            logger.warning("lines of the rating journal are damaged and left out", extra={"lines": damaged})
        return Recovered(snapshot, entries)

    def append(self, entries: Sequence[JournalEntry]) -> None:
        """Add lines; they are durable when this returns.

        Raises:
            OSError: the disk refuses; some of the lines may be there.
        """
        # The line break comes first, so that a torn line before costs itself only.
        content = b"".join(b"\n" + _line(entry) for entry in entries)
        self._journal.parent.mkdir(parents=True, exist_ok=True)
        new = not self._journal.exists()
        with self._journal.open("ab") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            self._size_bytes = file.tell()
        if new:
            sync_directory(self._journal.parent)

    def replace(self, snapshot: Snapshot) -> None:
        """Write a snapshot, which must hold all of the journal, and begin a new journal.

        Raises:
            OSError: the disk refuses; what was there is still there.
        """
        write_atomically(self._snapshot, snapshot.model_dump_json().encode())
        if self._journal.exists():
            self._journal.replace(self._previous)
            sync_directory(self._journal.parent)
        self._size_bytes = 0

    def _read_snapshot(self) -> Snapshot | None:
        content = self._read(self._snapshot)
        if not content:
            return None
        try:
            return Snapshot.model_validate_json(content)
        except ValidationError as error:
            logger.warning("snapshot of the ratings is damaged", extra={"faults": error.error_count()})
            return None

    @staticmethod
    def _read(path: Path) -> bytes:
        try:
            with path.open("rb") as file:
                return file.read(_LARGEST_FILE_BYTES)
        except FileNotFoundError:
            return b""
        except OSError as error:
            logger.warning("ratings cannot be read", extra={"file": path.name, "error": str(error)})
            return b""


def _line(entry: JournalEntry) -> bytes:
    return orjson.dumps(entry.model_dump(mode="json"))
