"""What was being done with which model when the process ended: a small file that survives the process.

The file is mapped into memory, so that a mark costs one byte, and the kernel keeps that byte whatever ends the process:
a crash in a model's native code, a kill for want of memory, a hang that was cut short. Whoever starts next reads which
models were at work. A planned stop and a power cut blame nobody. This module knows marks and keys, nothing of models.
"""

import contextlib
import fcntl
import hashlib
import logging
import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

_MAGIC: Final = b"fleetfit flight record 1"
_HEADER: Final = struct.Struct("<24sQ36sB")
_PLANNED_AT: Final = _HEADER.size - 1
SLOT_BYTES: Final = 128
# Two for each of 64 models, twice that during a swap of all, and the loader's.
SLOTS: Final = 320
_FILE_BYTES: Final = (SLOTS + 1) * SLOT_BYTES
_LONGEST_KEY: Final = SLOT_BYTES - 2
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Mark(IntEnum):
    """What is being done with a model."""

    IDLE = 0
    LOADING = 1
    RUNNING = 2
    HANGING = 3


@dataclass(frozen=True, slots=True)
class Suspect:
    """A model that was at work when the process before this one ended.

    Attributes:
        key: which.
        mark: what was being done with it.
    """

    key: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class Slot:
    """One place for a mark: `cells[at] = Mark.RUNNING` is all that marking takes.

    Attributes:
        cells: the record's bytes.
        at: which of them is the mark.
    """

    cells: bytearray | mmap.mmap
    at: int


def boot_id(path: Path = _BOOT_ID) -> str:
    """Return the identity of this boot of the machine, empty where the kernel does not tell."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


class FlightRecord:
    """The record of this process, and what the one before it left.

    Without a file that it can use alone the record is in memory only, and nobody is suspected after a crash.

    Args:
        path: the file. Memory of the machine (`/dev/shm`) is better than a disk: it wears nothing out, and no disk that
            vanishes can end the process through it.
        boot: identity of this boot.
    """

    def __init__(self, path: Path | None = None, boot: str = "") -> None:
        self._cells: bytearray | mmap.mmap = bytearray(_FILE_BYTES)
        self._free = list(range(SLOTS, 0, -1))
        self._path: Path | None = None
        self.suspects: tuple[Suspect, ...] = ()
        if path is not None:
            try:
                self._open(path, boot)
            except OSError as error:
                logger.warning(
                    "no flight record: a crash will blame no model",
                    extra={"path": str(path), "error": str(error)},
                )

    def slot(self, key: str) -> Slot:
        """Return a place for marks of a model; marks of one that finds no place are not recorded."""
        encoded = key.encode()[:_LONGEST_KEY]
        if not self._free:
            return Slot(bytearray(1), 0)
        at = self._free.pop() * SLOT_BYTES
        self._write(at, bytes([Mark.IDLE, len(encoded)]) + encoded)
        return Slot(self._cells, at)

    def release(self, slot: Slot) -> None:
        """Take a place back."""
        if slot.cells is self._cells:
            slot.cells[slot.at] = Mark.IDLE
            self._free.append(slot.at // SLOT_BYTES)

    @contextlib.contextmanager
    def at_work(self, key: str, mark: Mark) -> Iterator[None]:
        """Mark a model for as long as the context lasts, in whatever thread that is."""
        slot = self.slot(key)
        slot.cells[slot.at] = mark
        try:
            yield
        finally:
            self.release(slot)

    @property
    def marked(self) -> bool:
        """Tell whether anything is being done with a model."""
        return any(self._cells[number * SLOT_BYTES] for number in range(1, SLOTS + 1))

    def end_planned(self) -> None:
        """Note that the process ends because it was told to: whatever still runs is not to blame."""
        self._cells[_PLANNED_AT] = 1
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _open(self, path: Path, boot: str) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_uid != os.geteuid():
                raise PermissionError(f"{path} belongs to somebody else")
            # Held until the process ends, however it does.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            before = os.pread(descriptor, _FILE_BYTES, 0)
            self.suspects = _suspects(before, boot)
            # Written rather than truncated: a mapped hole that finds the disk full would end the process.
            os.pwrite(descriptor, _header(boot) + bytes(_FILE_BYTES - _HEADER.size), 0)
            self._cells = mmap.mmap(descriptor, _FILE_BYTES)
            self._path = path
        except OSError:
            with contextlib.suppress(OSError):
                os.close(descriptor)
            raise

    def _write(self, at: int, content: bytes) -> None:
        self._cells[at : at + len(content)] = content


def _header(boot: str) -> bytes:
    return _HEADER.pack(_MAGIC, os.getpid(), boot.encode()[:36], 0)


def _suspects(content: bytes, boot: str) -> tuple[Suspect, ...]:
    if len(content) < _FILE_BYTES:
        return ()
    magic, pid, booted, planned = _HEADER.unpack_from(content)
    if magic != _MAGIC or planned or booted.rstrip(b"\0").decode("ascii", "replace") != boot:
        return ()
    found: dict[str, Mark] = {}
    for at in range(SLOT_BYTES, _FILE_BYTES, SLOT_BYTES):
        mark, length = content[at], content[at + 1]
        if mark in (Mark.LOADING, Mark.RUNNING, Mark.HANGING):
            key = content[at + 2 : at + 2 + length].decode("utf-8", "replace")
            # A hang is certain; and what runs while it is loaded is being loaded.
            found[key] = _worse(found.get(key, Mark.IDLE), Mark(mark))
    if found:
        logger.warning("the process before this one crashed", extra={"pid": pid, "suspects": sorted(found)})
    return tuple(Suspect(key, mark) for key, mark in sorted(found.items()))


def _worse(one: Mark, other: Mark) -> Mark:
    order = (Mark.IDLE, Mark.RUNNING, Mark.LOADING, Mark.HANGING)
    return max(one, other, key=order.index)


def record_path(store: Path, memory: Path = Path("/dev/shm")) -> Path:  # noqa: S108 - a place in memory is wanted
    """Return where the record of the runtime with this store goes: the machine's memory where there is such a place.

    A pod's `/dev/shm` outlives its containers, as the store does.
    """
    if memory.is_dir() and os.access(memory, os.W_OK | os.X_OK):
        name = hashlib.sha256(str(store.absolute()).encode()).hexdigest()[:16]
        return memory / f"fleetfit-{os.geteuid()}-{name}.flight"
    return store / "flight_record"
