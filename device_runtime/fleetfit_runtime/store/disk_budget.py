"""How much of a node's disk the model store may take, and which files go first."""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleetfit_api.reasons import Reason

from fleetfit_runtime.failure import ModelFailure

# The last bytes of a disk belong to the node's other programs: a full disk breaks the kubelet too.
FREE_RESERVE_BYTES: Final = 16 << 20
# The kubelet begins to delete images and pods at 15 % and 10 % free; old models must be gone long before.
SPARE_SHARE: Final = 0.25

DiskBytes = Callable[[Path], int]


def disk_free_bytes(directory: Path) -> int:
    """Return the bytes that an ordinary process may still write to the directory's file system.

    For a directory that vanished they are those of the place where it will be made again.
    """
    return shutil.disk_usage(_existing(directory)).free


def disk_capacity_bytes(directory: Path) -> int:
    """Return the bytes of the directory's file system."""
    return shutil.disk_usage(_existing(directory)).total


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that may go.

    Attributes:
        path: where it is.
        size_bytes: what its removal brings.
        used_s: when it was last in use, in seconds since some fixed time.
    """

    path: Path
    size_bytes: int
    used_s: float


@dataclass(frozen=True, slots=True)
class DiskBudget:
    """The store's share of a disk.

    Attributes:
        max_bytes: most that all files together may take; None leaves it to the disk.
        spare_share: share of the disk that must be free for files to stay that nothing needs.
        free_bytes: tells the free bytes of a directory's disk; raises OSError where the disk does not answer.
        capacity_bytes: tells the size of that disk, likewise.
    """

    max_bytes: int | None = None
    spare_share: float = SPARE_SHARE
    free_bytes: DiskBytes = disk_free_bytes
    capacity_bytes: DiskBytes = disk_capacity_bytes

    def lacking_bytes(self, directory: Path, stored_bytes: int, size_bytes: int) -> int:
        """Return by how many bytes a file does not fit; 0 or less where it does.

        Raises:
            OSError: the disk does not say.
        """
        lacking = size_bytes + FREE_RESERVE_BYTES - self.free_bytes(directory)
        if self.max_bytes is not None:
            lacking = max(lacking, stored_bytes + size_bytes - self.max_bytes)
        return lacking

    def lacking_spare_bytes(self, directory: Path, stored_bytes: int) -> int:
        """Return how many bytes of files that nothing needs must go; 0 or less for none.

        Raises:
            OSError: the disk does not say.
        """
        lacking = int(self.spare_share * self.capacity_bytes(directory)) - self.free_bytes(directory)
        if self.max_bytes is not None:
            lacking = max(lacking, stored_bytes - self.max_bytes)
        return lacking

    def check(self, directory: Path, stored_bytes: int, size_bytes: int) -> None:
        """Check that a file fits.

        Raises:
            ModelFailure: it does not; the message says how many bytes are missing.
            OSError: the disk does not say.
        """
        free_bytes = self.free_bytes(directory)
        missing_bytes = size_bytes + FREE_RESERVE_BYTES - free_bytes
        if missing_bytes > 0:
            raise _disk_full(
                f"the store's disk lacks {missing_bytes} bytes: {size_bytes} are to be written and "
                f"{FREE_RESERVE_BYTES} stay free for the node, but only {free_bytes} are free"
            )
        if self.max_bytes is not None and stored_bytes + size_bytes > self.max_bytes:
            raise _disk_full(
                f"the store's budget lacks {stored_bytes + size_bytes - self.max_bytes} bytes: {size_bytes} are to be "
                f"written, files that are needed take {stored_bytes}, and all may take {self.max_bytes}"
            )


def superfluous(files: Iterable[StoredFile], excess_bytes: int) -> list[Path]:
    """Return which files go to win this many bytes: the least recently used, and no more than it takes. Pure."""
    going: list[Path] = []
    for file in sorted(files, key=lambda each: (each.used_s, each.path.name)):
        if excess_bytes <= 0:
            break
        going.append(file.path)
        excess_bytes -= file.size_bytes
    return going


def _disk_full(message: str) -> ModelFailure:
    return ModelFailure(Reason.DISK_FULL, message, transient=True)


def _existing(directory: Path) -> Path:
    return next((each for each in (directory, *directory.parents) if each.exists()), directory)
