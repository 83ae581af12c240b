"""Verified model files on disk, addressed by their digest, so that two variants with the same bytes are one file.

A file under `blobs/` was complete and verified when it got its name; because disks of edge nodes rot, `verified_path`
checks the digest again before a file is loaded. This module does not know where files come from.
"""

import errno
import hashlib
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from fleetfit_api.reasons import Reason

from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.store.atomic_file import publish

_READ_BYTES = 1 << 20
# The last bytes of a disk belong to the node's other programs: a full disk breaks the kubelet too.
FREE_RESERVE_BYTES = 16 << 20

FreeSpace = Callable[[Path], int]


def disk_free_bytes(directory: Path) -> int:
    """Return the bytes that an ordinary process may still write to the directory's file system."""
    return shutil.disk_usage(directory).free


def is_disk_full(error: OSError) -> bool:
    """Tell whether an error means that the disk, the quota or the file size limit is exhausted."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
        """Create the directories.

        Raises:
            OSError: the directory cannot be created or written.
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
        return self.path(sha256).is_file()

    def verified_path(self, sha256: str) -> Path | None:
        """Return the blob's path if its bytes still have the digest; remove it and return None if they have not."""
        path = self.path(sha256)
        try:
            if digest_of(path) == sha256:
                return path
        except FileNotFoundError:
            return None
        except OSError:
            pass  # An unreadable block is as good as a wrong one: fetch the file again.
        path.unlink(missing_ok=True)
        return None

    def publish(self, sha256: str) -> Path:
        """Give a complete, verified partial file its name."""
        publish(self.partial_path(sha256), self.path(sha256))
        return self.path(sha256)

    def check_space(self, size_bytes: int) -> None:
        """Check that a file of this size fits.

        Raises:
            ModelFailure: it does not; the message says how much is there.
        """
        free_bytes = self._free_bytes(self._blobs)
        if size_bytes + FREE_RESERVE_BYTES > free_bytes:
            raise ModelFailure(
                Reason.DISK_FULL,
                f"the model needs {size_bytes} bytes, but the store has {free_bytes} bytes free "
                f"({FREE_RESERVE_BYTES} of them stay free for the node)",
                transient=True,
            )

    def free_bytes(self) -> int:
        """Return the free bytes of the store's file system."""
        return self._free_bytes(self._blobs)

    def size_bytes(self) -> int:
        """Return the bytes that the store's files take."""
        return sum(_size(path) for folder in (self._blobs, self._partial) for path in folder.iterdir())

    def discard_unneeded(self, keep: Collection[str]) -> list[str]:
        """Move every file whose digest is not in `keep` out of the way and return the digests of the blobs among them.

        Call it on the event loop: it only renames, and a download that begins a moment later must not lose its file.
        """
        removed = [path.stem for path in self._blobs.iterdir() if path.stem not in keep]
        unneeded = [self.path(digest) for digest in removed]
        unneeded += [path for path in self._partial.iterdir() if path.name not in keep]
        for path in unneeded:
            path.replace(self._trash / path.name)
        return sorted(removed)

    def empty_trash(self) -> None:
        """Delete what was moved out of the way; blocks, since a large file on an SD card takes its time."""
        for path in self._trash.iterdir():
            path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
