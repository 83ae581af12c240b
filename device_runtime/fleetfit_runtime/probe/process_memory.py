"""How much memory this process holds for itself: the pages that it has written, in memory or swapped out.

Pages of programs and files do not count; the kernel takes them back when it needs room. How long the C library holds on
to what is free is set here too.
"""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fleetfit_runtime.probe.kernel_files import text_of

_COUNTED: Final = ("Anonymous:", "Swap:")
_ROUNDING_BYTES: Final = 64 << 10
# mallopt(3)
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEPT_BYTES: Final = 16 << 20
_MAPPED_BYTES: Final = 8 << 20


def process_memory_bytes(root: Path = Path("/")) -> int | None:
    """Return the bytes, or None where the kernel does not tell."""
    sizes = dict(
        line.split()[:2] for line in text_of(root / "proc/self/smaps_rollup").splitlines()[1:] if ":" in line
    )
    if all(name in sizes for name in _COUNTED):
        return sum(int(sizes[name]) * 1024 for name in _COUNTED)
    # Kernels before 4.14, and those that hide it: resident and shared pages, without what is swapped out.
    pages = text_of(root / "proc/self/statm").split()
    if len(pages) < 3:
        return None
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE")


def release_free_memory() -> None:
    """Let the C library give free memory back to the kernel; takes a millisecond or two."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return  # another C library than glibc


def keep_free_memory() -> None:
    """Let the C library keep some free memory for the next request instead of giving it back with every one.

    A request's body is freed with it, and asking the kernel anew costs a page fault for every 4 KiB, up to two
    microseconds each on a virtual machine. What is larger than 8 MiB comes and goes as ever, and
    `release_free_memory` still gives all back.
    """
    try:
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    except (OSError, AttributeError):
        return  # another C library than glibc


class LoadFootprint:
    """Measures what a load added to the process's memory; begin it right before.

    What the C library keeps of models that are gone is given back first: the load would fill it again, and seem to take
    nothing. What the load itself allocated and freed stays in the figure, since a node needs room for it too. Memory
    of a device is not in it.

    Args:
        measure: memory of the process in bytes.
        release: gives back what is free.
    """

    def __init__(
        self,
        measure: Callable[[], int | None] = process_memory_bytes,
        release: Callable[[], None] = release_free_memory,
    ) -> None:
        self._measure = measure
        release()
        self._before = measure()

    def added_bytes(self, file_bytes: int) -> int:
        """Return the growth so far, rounded up to 64 KiB; 0 when it cannot be told.

        Args:
            file_bytes: size of the model's file. A growth of less than half of it means that the weights went where
                this does not see them.
        """
        after = self._measure()
        if after is None or self._before is None:
            return 0
        growth = after - self._before
        if growth <= 0 or growth < file_bytes / 2:
            return 0
        return -(-growth // _ROUNDING_BYTES) * _ROUNDING_BYTES
