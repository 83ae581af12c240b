"""Verified model files on disk, addressed by their digest, so that two variants with the same bytes are one file.

Files that nothing needs any more stay while the disk has room to spare, so that a return to a variant needs no network;
the least recently used go first, and never one that is needed. Files that are expected to be needed stay as those do,
but with what has come of them so far. A file under `blobs/` was complete and verified when it
got its name; because disks of edge nodes rot, `verified_path` checks the digest again before a file is loaded. The
directory may fill up or vanish at any time: what only looks at it never fails, and what needs it raises OSError, which
the fetcher turns into a sentence. This module does not know where files come from.
"""

import contextlib
import errno
import hashlib
import logging
import os
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path

from fleetfit_runtime.store.atomic_file import publish
from fleetfit_runtime.store.disk_budget import DiskBudget, StoredFile, superfluous

logger = logging.getLogger(__name__)

_READ_BYTES = 1 << 20


def digest_of(path: Path) -> str:
    """Return the SHA-256 digest of a file; blocks, so call it off the event loop."""
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            sha256.update(chunk)
    return sha256.hexdigest()


class BlobStore:
    """Files under `<directory>/blobs/<sha256>.onnx`, and unfinished ones under `<directory>/partial/`.

    Args:
        directory: where; it survives the pod.
        budget: how much of the disk the store may take.
    """

    def __init__(self, directory: Path, budget: DiskBudget | None = None) -> None:
        self._blobs = directory / "blobs"
        self._partial = directory / "partial"
        self._sets = directory / "sets"
        self._signatures = directory / "signatures"
        self._compiled = directory / "compiled"
        self._trash = directory / "trash"
        self._budget = budget or DiskBudget()
        self._needed: frozenset[str] = frozenset()
        self._expected: frozenset[str] = frozenset()

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

    def set_path(self, name: str) -> Path:
        """Return the directory where files of one model lie side by side; it goes when `keep` does not name it."""
        return self._sets / name

    def signature_path(self, name: str) -> Path:
        """Return where a model's signature is kept; it goes when nothing needs that name."""
        return self._signatures / name

    def compiled_path(self, name: str) -> Path:
        """Return the directory for what providers compile of a model; it goes with the model, or to make room."""
        return self._compiled / name

    def discard_compiled(self, names: Collection[str]) -> None:
        """Move away what was compiled of models, as far as the disk allows it; call it as `make_room`."""
        try:
            self._move_away([path for path in _entries(self._compiled) if path.name in names])
        except OSError as error:
            logger.warning("compiled models cannot be removed", extra={"error": str(error)})

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
                _touch(path)
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

    def need(self, digests: Iterable[str]) -> None:
        """Note that these files must stay, whatever is fetched next; `discard_unneeded` ends it."""
        self._needed |= frozenset(digests)

    def expect(self, digests: Iterable[str]) -> None:
        """Note which files may come to be needed, instead of those before: of the unneeded ones they go last."""
        self._expected = frozenset(digests)
        for digest in self._expected:
            _touch(self.path(digest))

    def missing_bytes(self, sha256: str, size_bytes: int) -> int:
        """Return what is still to come of a file of this size."""
        return 0 if self.has(sha256) else max(0, size_bytes - _size(self.partial_path(sha256)))

    def has_room_to_spare(self, size_bytes: int) -> bool:
        """Tell whether this much more could stay although nothing needs it, with all that is needed or expected.

        Raises:
            OSError: the disk does not say.
        """
        stored_bytes = self.size_bytes()
        lacking_bytes = max(
            self._budget.lacking_bytes(self._blobs, stored_bytes, size_bytes),
            self._budget.lacking_spare_bytes(self._blobs, stored_bytes) + size_bytes,
        )
        may_go = (each for each in self._unneeded_files() if _digest(each.path) not in self._expected)
        return lacking_bytes <= sum(each.size_bytes for each in may_go)

    def make_room(self, size_bytes: int) -> None:
        """Move files that nothing needs out of the way for one of this size; `empty_trash` then frees their bytes.

        Where that is not enough, what was compiled of models goes too: it can be compiled again. Call it on the event
        loop: it only renames, and a download that begins a moment later must not lose its file.

        Raises:
            OSError: the disk refuses.
        """
        excess_bytes = self._excess_bytes(size_bytes)
        unneeded, compiled = self._unneeded_files(), self._compiled_models()
        rest_bytes = excess_bytes - sum(each.size_bytes for each in unneeded)
        self._move_away([*superfluous(unneeded, excess_bytes), *superfluous(compiled, rest_bytes)])

    def has_room(self, size_bytes: int) -> bool:
        """Tell whether a file of this size fits as things are; no where the disk does not say."""
        try:
            return self._excess_bytes(size_bytes) <= 0
        except OSError:
            return False

    def check_space(self, size_bytes: int) -> None:
        """Check that a file of this size fits.

        Raises:
            ModelFailure: it does not; the message says how many bytes are missing.
            OSError: the disk does not say.
        """
        self._budget.check(self._blobs, self.size_bytes(), size_bytes)

    def free_bytes(self) -> int:
        """Return the free bytes of the store's file system; a disk that does not answer has room for nothing."""
        try:
            return self._budget.free_bytes(self._blobs)
        except OSError:
            return 0

    def size_bytes(self) -> int:
        """Return the bytes that the store's files take, as far as the disk tells."""
        files = [path for folder in (self._blobs, self._partial) for path in _entries(folder)]
        return sum(map(_size, files)) + sum(each.size_bytes for each in self._compiled_models())

    def discard_unneeded(self, keep: Collection[str]) -> list[str]:
        """Move files away whose digest is not in `keep`, as far as the disk has no room to spare for them.

        Call it on the event loop, as `make_room`. Returns the digests of the whole files among them.

        Raises:
            OSError: the disk refuses.
        """
        self.make_folders()
        for digest in self._needed.difference(keep):
            _touch(self.path(digest))  # It was in use until now, whenever it was loaded.
        self._needed = frozenset(keep)
        begun = self._needed | self._expected
        compiled = [each for each in self._compiled_models() if each.path.name not in begun]
        spare_bytes = self._budget.lacking_spare_bytes(self._blobs, self.size_bytes())
        spare_bytes -= sum(each.size_bytes for each in compiled)
        unneeded = superfluous(self._unneeded_files(), spare_bytes)
        self._move_away([*unneeded, *(each.path for each in compiled)])
        # What was begun and is not wanted any more would rot: its source may be gone.
        halves = [path for path in _entries(self._partial) if _digest(path) not in begun]
        beside = (*_entries(self._sets), *_entries(self._signatures))
        self._move_away([*halves, *(path for path in beside if path.name not in begun)])
        return sorted(path.stem for path in unneeded if path.parent == self._blobs)

    def empty_trash(self) -> None:
        """Delete what was moved out of the way; blocks, since a large file on an SD card takes its time.

        Raises:
            OSError: the disk refuses.
        """
        for path in _entries(self._trash):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _unneeded_files(self) -> list[StoredFile]:
        """Return whole files and beginnings that may go to make room."""
        files = []
        for path in (*_entries(self._blobs), *_entries(self._partial)):
            with contextlib.suppress(OSError):
                if _digest(path) not in self._needed:
                    seen = path.stat()
                    files.append(StoredFile(path, seen.st_size, seen.st_mtime))
        return files

    def _compiled_models(self) -> list[StoredFile]:
        models = []
        for path in _entries(self._compiled):
            with contextlib.suppress(OSError):
                size_bytes = sum(_size(each) for each in path.rglob("*") if each.is_file())
                models.append(StoredFile(path, size_bytes, path.stat().st_mtime))
        return models

    def _excess_bytes(self, size_bytes: int) -> int:
        return self._budget.lacking_bytes(self._blobs, self.size_bytes(), size_bytes)

    def _move_away(self, paths: Iterable[Path]) -> None:
        for path in paths:
            # What was compiled of a model, and what was begun of its file, have the same name.
            aside = self._trash / f"{path.parent.name}-{path.name}"
            if aside.is_dir():  # of an earlier time; a directory is not replaced
                shutil.rmtree(aside, ignore_errors=True)
            path.replace(aside)


def _digest(path: Path) -> str:
    """Return which file it is, or is the beginning of, or the note beside that."""
    return path.name.partition(".")[0]


def _touch(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.utime(path)


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
