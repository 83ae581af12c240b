"""Memory of the process, and what a load adds to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fleetfit_runtime.probe.process_memory import LoadFootprint, process_memory_bytes, release_free_memory

from tests.unit.probe.kernel_trees import write_tree

KIB = 1 << 10
ROLLUP = """5613790a7000-7ffc1e89a000 ---p 00000000 00:00 0                          [rollup]
Rss:                1668 kB
Pss:                 284 kB
Anonymous:           112 kB
Swap:                  8 kB
Locked:                0 kB"""


def test_pages_of_its_own_count_also_when_swapped_out(tmp_path: Path) -> None:
    assert process_memory_bytes(write_tree(tmp_path, {"proc/self/smaps_rollup": ROLLUP})) == 120 * KIB


def test_older_kernels_tell_pages(tmp_path: Path) -> None:
    tree = {"proc/self/statm": "8000 500 300 1 0 200 0"}
    assert process_memory_bytes(write_tree(tmp_path, tree)) in (200 * 4 * KIB, 200 * 16 * KIB, 200 * 64 * KIB)


@pytest.mark.parametrize("tree", [{}, {"proc/self/statm": "1"}, {"proc/self/smaps_rollup": "garbage"}])
def test_a_kernel_that_does_not_tell(tmp_path: Path, tree: dict[str, str]) -> None:
    assert process_memory_bytes(write_tree(tmp_path, tree)) is None


@pytest.mark.parametrize(
    ("before", "after", "file_bytes", "expected"),
    [
        (1000 * KIB, 1001 * KIB, 100, 64 * KIB),
        (1000 * KIB, 1064 * KIB, 100, 64 * KIB),
        (1000 * KIB, 1065 * KIB, 100, 128 * KIB),
        (1000 * KIB, 1000 * KIB, 100, 0),
        (1000 * KIB, 400 * KIB, 100, 0),
        (1000 * KIB, 1400 * KIB, 1000 * KIB, 0),
        (1000 * KIB, 1500 * KIB, 1000 * KIB, 512 * KIB),
        (None, 1000 * KIB, 100, 0),
        (1000 * KIB, None, 100, 0),
    ],
    ids=["up", "exact", "next", "none", "never-negative", "weights-elsewhere", "half", "unknown", "lost"],
)
def test_growth_is_rounded_and_never_negative(
    before: int | None, after: int | None, file_bytes: int, expected: int
) -> None:
    sizes: Iterator[int | None] = iter([before, after])
    footprint = LoadFootprint(lambda: next(sizes), lambda: None)
    assert footprint.added_bytes(file_bytes) == expected


def test_memory_of_this_process_grows_with_what_it_holds() -> None:
    release_free_memory()
    footprint = LoadFootprint()
    held = bytearray(b"x" * (32 << 20))
    assert footprint.added_bytes(len(held)) >= 31 << 20
