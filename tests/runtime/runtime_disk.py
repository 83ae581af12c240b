"""What happens to disks of edge nodes, done to a directory while a runtime uses it."""

import itertools
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOM_BYTES = 1 << 20


def remove(directory: Path) -> None:
    """Let a directory vanish at once, as an unmounted disk does; the runtime may be writing into it."""
    names = (directory.with_name(f"{directory.name}-gone-{number}") for number in itertools.count())
    directory.rename(next(name for name in names if not name.exists()))


def replace_by_file(directory: Path) -> None:
    """Put a file in the place of a directory, so that even root can neither use it nor make it again."""
    while True:
        remove(directory)
        try:
            directory.open("xb").close()
        except FileExistsError:
            continue  # The runtime was quicker to make it again.
        return


def replace_blobs_by_file(directory: Path) -> None:
    replace_by_file(directory / "blobs")


@contextmanager
def small_disk(directory: Path) -> Iterator[None]:
    """Lay an empty disk with little room over a directory for the time of the context."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM_BYTES}", "tmpfs", directory], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)
