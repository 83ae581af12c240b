"""Writing a file so that a reader, or a restart after a power cut, sees the old content or the new, never a part."""

import contextlib
import os
from pathlib import Path


def publish(temporary: Path, final: Path) -> None:
    """Move a finished file to its name and make both the content and the name durable."""
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(final)
    sync_directory(final.parent)


def sync_directory(directory: Path) -> None:
    """Make renames and removals in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the content of a small file; its directory is made again if it vanished.

    Raises:
        OSError: the disk refuses; the old content is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_bytes(content)
        publish(temporary, path)
    except OSError:
        # What a full disk took of the file would only keep it full.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
