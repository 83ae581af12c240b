"""A file that is being fetched: what is there already, what the source called that version, and whether it is right.

All of it blocks and so belongs in threads.
"""

import contextlib
import hashlib
import json
from pathlib import Path
from typing import BinaryIO, Protocol

from fleetfit_api.reasons import Reason

from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.store.source import Beginning, Wanted
from fleetfit_runtime.store.uri import redacted

_READ_BYTES = 1 << 18


class Hash(Protocol):
    """The part of a hashlib object that is used."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""

    def hexdigest(self) -> str:
        """Return the digest."""


class PartialFile:
    """The file under its temporary name, with a note of the source's version beside it.

    Args:
        path: its name; the note's is the same with `.from` behind.
        wanted: what it will be.
    """

    def __init__(self, path: Path, wanted: Wanted) -> None:
        self._path = path
        self._note = path.with_name(path.name + ".from")
        self._wanted = wanted
        self._sha256: Hash = hashlib.sha256()
        self._resumed = False
        self.done_bytes = 0

    def read_beginning(self) -> Beginning:
        """Return what an earlier attempt left; it is worthless if it is not a proper beginning.

        Raises:
            OSError: the disk refuses.
        """
        self.restart()
        try:
            with self._path.open("rb") as file:
                while chunk := file.read(_READ_BYTES):
                    self._sha256.update(chunk)
                    self.done_bytes += len(chunk)
        except FileNotFoundError:
            return Beginning()
        except OSError:
            self.done_bytes = self._wanted.size_bytes  # unreadable: begin again
        if self.done_bytes >= self._wanted.size_bytes:
            self.discard()
            self.restart()
            return Beginning()
        self._resumed = self.done_bytes > 0
        return Beginning(self.done_bytes, self._validator())

    def restart(self) -> None:
        """Forget what is there: the source begins at the first byte."""
        self._sha256 = hashlib.sha256()
        self.done_bytes = 0
        self._resumed = False

    def note_validator(self, validator: str) -> None:
        """Remember which version of the file the bytes are of.

        Raises:
            OSError: the disk refuses.
        """
        if validator:
            self._note.write_text(json.dumps([redacted(self._wanted.uri), validator]), encoding="utf-8")
        else:
            self._note.unlink(missing_ok=True)

    def open(self) -> BinaryIO:
        """Open it where the stream goes on.

        Raises:
            OSError: the disk refuses.
        """
        return self._path.open("ab" if self.done_bytes > 0 else "wb")

    def append(self, file: BinaryIO, chunk: bytes) -> None:
        """Add bytes.

        Raises:
            OSError: the disk refuses.
        """
        file.write(chunk)
        self._sha256.update(chunk)
        self.done_bytes += len(chunk)

    def check_not_longer(self, more_bytes: int) -> None:
        """Check that this many bytes may still come; called before they are written.

        Raises:
            ModelFailure: they may not, and the file is thrown away.
        """
        if self.done_bytes + more_bytes > self._wanted.size_bytes:
            self.discard()
            raise ModelFailure(
                Reason.SIZE_MISMATCH,
                f"{self._shown} has more than the {self._wanted.size_bytes} bytes that the suite declares",
            )

    def check_complete(self) -> None:
        """Check the whole file.

        Raises:
            ModelFailure: it is not the one that was declared, and is thrown away.
        """
        if self.done_bytes < self._wanted.size_bytes:
            self.discard()
            raise ModelFailure(
                Reason.SIZE_MISMATCH,
                f"{self._shown} has {self.done_bytes} bytes, but the suite declares {self._wanted.size_bytes}",
            )
        digest = self._sha256.hexdigest()
        if digest != self._wanted.sha256:
            self.discard()
            raise ModelFailure(
                Reason.DIGEST_MISMATCH,
                f"{self._shown} has the SHA-256 digest {digest}, but the suite declares {self._wanted.sha256}",
                # The source's file may have changed between the two halves: one fresh download tells.
                transient=self._resumed,
            )

    def discard(self) -> None:
        """Remove the file and its note, as far as the disk allows."""
        for path in (self._path, self._note):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def discard_note(self) -> None:
        """Remove the note once the file has its final name."""
        with contextlib.suppress(OSError):
            self._note.unlink(missing_ok=True)

    def written_bytes(self) -> int:
        """Return the bytes on the disk; 0 where it does not say."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    @property
    def _shown(self) -> str:
        return redacted(self._wanted.uri)

    def _validator(self) -> str:
        """Return the note if it is of this source; one of another mirror says nothing."""
        try:
            uri, validator = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError):
            return ""
        return str(validator) if uri == redacted(self._wanted.uri) else ""
