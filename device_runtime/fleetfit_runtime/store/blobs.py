"""Verified model files on disk, addressed by their digest, so that two variants with the same bytes are one file.

A file under `blobs/` was complete and verified when it got its name; because disks of edge nodes rot, `verified_path`
checks the digest again before a file is loaded. The directory may fill up or vanish at any time: what only looks at it
never fails, and what needs it raises OSError, which the fetcher turns into a sentence. This module does not know where
files come from.
"""

import errno
import hashlib
import logging
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from fleetfit_api.reasons import Reason

from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.store.atomic_file import publish

logger = logging.getLogger(__name__)

_READ_BYTES = 1 << 20
# The last bytes of a disk belong to the node's other programs: a full disk breaks the kubelet too.
FREE_RESERVE_BYTES = 16 << 20

FreeSpace = Callable[[Path], int]


def disk_free_bytes(directory: Path) -> int:
    """Return the bytes that an ordinary process may still write to the directory's file system.

    For a directory that vanished they are those of the place where it will be made again.
    """
    existing = next((each for each in (directory, *directory.parents) if each.exists()), directory)
    return shutil.disk_usage(existing).free


def digest_of(path: Path) -> str:
    """Return the SHA-256 digest of a file; blocks, so call it off the event loop."""
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            sha256.update(chunk)
    return sha256.hexdigest()


class BlobStore:
    """Files under `<directory>/blobs/<sha256>.onnx`, and unfinished ones under `<directory>/partial/`."""

    def __init__(self, directory: Path, free_bytes: FreeSpace = disk_free_bytes) -> None:
        self._blobs = directory / "blobs"
        self._partial = directory / "partial"
        self._trash = directory / "trash"
        self._free_bytes = free_bytes

    def open(self) -> None:
        """Create the directories where the disk allows it.

        A disk that refuses must not end the runtime: each fetch tries again, and its failure is reported.
        """
        try:
            self.make_folders()
        except OSError as error:
            logger.error("model store cannot be opened", extra={"error": str(error)})

    def make_folders(self) -> None:
        """Create the directories that are not there, or no longer.

        Raises:
            OSError: the disk refuses.
        """
        for folder in (self._blobs, self._partial, self._trash):
            folder.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        """Return where the blob is or would be."""
        return self._blobs / f"{sha256}.onnx"

    def partial_path(self, sha256: str) -> Path:
        """Return where the blob is while it is fetched; it survives a restart so that a download can resume."""
        return self._partial / sha256

    def has(self, sha256: str) -> bool:
        """Tell whether the blob is there; its bytes may have rotted since."""
        try:
            return self.path(sha256).is_file()
        except OSError:
            return False  # A disk that does not answer has no file to offer.

    def verified_path(self, sha256: str) -> Path | None:
        """Return the blob's path if its bytes still have the digest; remove it and return None if they have not.

        Raises:
            OSError: the disk refuses, which says nothing about the bytes.
        """
        path = self.path(sha256)
        try:
            if digest_of(path) == sha256:
                return path
        except FileNotFoundError:
            return None
        except OSError as error:
            # An unreadable block is as good as a wrong one: fetch the file again.
            if error.errno != errno.EIO:
                raise
        path.unlink(missing_ok=True)
        return None

    def publish(self, sha256: str) -> Path:
        """Give a complete, verified partial file its name."""
        publish(self.partial_path(sha256), self.path(sha256))
        return self.path(sha256)

    def check_space(self, size_bytes: int) -> None:
        """Check that a file of this size fits.

        Raises:
            ModelFailure: it does not; the message says how many bytes are missing.
            OSError: the disk does not say.
        """
        free_bytes = self._free_bytes(self._blobs)
        missing_bytes = size_bytes + FREE_RESERVE_BYTES - free_bytes
        if missing_bytes > 0:
            raise ModelFailure(
                Reason.DISK_FULL,
                f"the store's disk lacks {missing_bytes} bytes: {size_bytes} are to be written and "
                f"{FREE_RESERVE_BYTES} stay free for the node, but only {free_bytes} are free",
                transient=True,
            )

    def free_bytes(self) -> int:
        """Return the free bytes of the store's file system; a disk that does not answer has room for nothing."""
        try:
            return self._free_bytes(self._blobs)
        except OSError:
            return 0

    def size_bytes(self) -> int:
        """Return the bytes that the store's files take, as far as the disk tells."""
        return sum(_size(path) for folder in (self._blobs, self._partial) for path in _entries(folder))

    def discard_unneeded(self, keep: Collection[str]) -> list[str]:
        """Move every file whose digest is not in `keep` out of the way and return the digests of the blobs among them.

        Call it on the event loop: it only renames, and a download that begins a moment later must not lose its file.

        Raises:
            OSError: the disk refuses.
        """
        self.make_folders()
        removed = [path.stem for path in _entries(self._blobs) if path.stem not in keep]
        unneeded = [self.path(digest) for digest in removed]
        unneeded += [path for path in _entries(self._partial) if path.name not in keep]
        for path in unneeded:
            path.replace(self._trash / path.name)
        return sorted(removed)

    def empty_trash(self) -> None:
        """Delete what was moved out of the way; blocks, since a large file on an SD card takes its time.

        Raises:
            OSError: the disk refuses.
        """
        for path in _entries(self._trash):
            path.unlink(missing_ok=True)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []  # It vanished, or the disk does not answer.


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
