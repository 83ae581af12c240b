"""Sums of one model's runs: exact over batches of any size, and bounded whatever sizes clients choose."""

from types import SimpleNamespace
from typing import Any

from fleetfit_runtime.engine.run_counts import MOST_BATCH_SIZES, RunCounts
from fleetfit_runtime.serve.statistics import executions


def job(items: int, together: int) -> Any:
    return SimpleNamespace(items=items, together=together, begun_s=1.5, queued_s=1.0, run_s=0.25)


def test_a_batch_is_one_run_of_all_its_items() -> None:
    counts = RunCounts()
    for items in (1, 2, 5):
        counts.answered(job(items, 8), 1.0, 0.0)
    counts.answered(job(1, 1), 1.0, 0.0)
    assert (counts.items, executions(counts), counts.success.count) == (9, 2, 4)
    assert {size: tally.count for size, tally in counts.by_batch.items()} == {8: 8, 1: 1}


def test_a_request_without_a_number_of_items_is_one() -> None:
    counts = RunCounts()
    counts.answered(job(0, 0), 1.0, 0.0)
    assert (counts.items, executions(counts)) == (1, 1)


def test_clients_that_choose_ever_new_sizes_take_no_memory() -> None:
    counts = RunCounts()
    for size in range(1, 3 * MOST_BATCH_SIZES):
        counts.answered(job(size, size), 1.0, 0.0)
    assert len(counts.by_batch) == MOST_BATCH_SIZES
    assert executions(counts) == 3 * MOST_BATCH_SIZES - 1
