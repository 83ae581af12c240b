"""A folder whose files count only while they are the ones that were there when it was sealed.

For what others write at their own pace and nobody can check: a crash or a power cut in the middle, or blocks that
rotted since, leave something else than the seal says, and such a folder begins anew. A folder can be retired, which
lasts as long as its seal. It blocks. This module does not know what the files are.
"""

import json
import os
import shutil
from pathlib import Path

from fleetfit_runtime.store.atomic_file import write_atomically
from fleetfit_runtime.store.blobs import digest_of

_Seen = dict[str, tuple[int, int]]


class SealedFolder:
    """A folder and, beside it, its seal: a small file with the digests of its files.

    Args:
        directory: the folder.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._seal = directory.with_name(f"{directory.name}.json")
        self._as_sealed: _Seen | None = None

    @property
    def was_whole(self) -> bool:
        """Tell whether what was sealed before was there when it was opened, and still counts."""
        return self._as_sealed is not None

    @property
    def rewritten(self) -> bool:
        """Tell whether a file that was whole when it was opened is not that file any more; new ones do not count.

        Raises:
            OSError: the disk refuses.
        """
        seen = self._seen() if self._as_sealed else {}
        return any(seen.get(name) != was for name, was in (self._as_sealed or {}).items())

    @property
    def retired(self) -> bool:
        """Tell whether it was retired."""
        return self._read_seal() is None

    def open(self) -> None:
        """Make the folder, empty unless it is as it was sealed.

        Raises:
            OSError: the disk refuses.
        """
        if self._is_whole():
            self._as_sealed = self._seen()
            return
        self.clear()
        self.directory.mkdir(parents=True)

    def seal(self) -> None:
        """Make what is there durable, and note that it is good.

        Raises:
            OSError: the disk refuses; then the folder begins anew when it is next opened.
        """
        if self._seen() == self._as_sealed:
            return
        self._seal.unlink(missing_ok=True)
        digests = {}
        for path in self._files():
            _sync(path)
            digests[str(path.relative_to(self.directory))] = digest_of(path)
        write_atomically(self._seal, json.dumps(digests).encode())

    def retire(self) -> None:
        """Throw away what is there, and note that the folder is not to be used again.

        Raises:
            OSError: the disk refuses.
        """
        self.clear()
        write_atomically(self._seal, json.dumps(None).encode())

    def clear(self) -> None:
        """Throw away what is there, as far as the disk allows it."""
        self._as_sealed = None
        try:
            # First, since a folder without a seal is not trusted.
            self._seal.unlink(missing_ok=True)
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _is_whole(self) -> bool:
        try:
            found = {str(path.relative_to(self.directory)): digest_of(path) for path in self._files()}
        except OSError:
            return False
        return self._read_seal() == found

    def _read_seal(self) -> object:
        """Return what the seal says: digests by name, None of a retired folder, False without a seal."""
        try:
            return json.loads(self._seal.read_bytes())
        except (OSError, ValueError):
            return False

    def _files(self) -> list[Path]:
        if not self.directory.is_dir():
            raise FileNotFoundError(f"{self.directory} vanished")
        return [path for path in sorted(self.directory.rglob("*")) if path.is_file()]

    def _seen(self) -> _Seen:
        seen = {path: path.stat() for path in self._files()}
        return {str(path): (each.st_size, each.st_mtime_ns) for path, each in seen.items()}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
