"""Which texts are read on the event loop, by what reading took before."""

from fleetfit_runtime.serve.reading_pace import ReadingPace
from hypothesis import given
from hypothesis import strategies as st

HOLD_S = 0.0025


def test_a_node_that_nobody_knows_is_taken_for_a_small_one() -> None:
    pace = ReadingPace(HOLD_S)
    assert pace.is_quick(64 << 10)
    assert not pace.is_quick(1 << 20)


def test_a_quick_node_earns_larger_texts() -> None:
    pace = ReadingPace(HOLD_S)
    for _ in range(60):
        pace.took(500_000, 0.0005)
    assert pace.is_quick(2_000_000)
    assert not pace.is_quick(4_000_000)


def test_one_slow_text_counts_at_once() -> None:
    pace = ReadingPace(HOLD_S)
    for _ in range(60):
        pace.took(500_000, 0.0005)
    pace.took(100_000, 0.01)
    assert not pace.is_quick(64 << 10)


def test_what_a_small_text_takes_says_nothing_of_large_ones() -> None:
    pace = ReadingPace(HOLD_S)
    pace.took(200, 0.0001)
    assert pace.is_quick(64 << 10)


@given(st.lists(st.tuples(st.integers(16 << 10, 1 << 20), st.floats(1e-5, 0.1)), min_size=1, max_size=20))
def test_a_text_like_the_last_one_is_quick_only_if_that_was(texts: list[tuple[int, float]]) -> None:
    pace = ReadingPace(HOLD_S)
    for size_bytes, duration_s in texts:
        pace.took(size_bytes, duration_s)
    size_bytes, duration_s = texts[-1]
    if duration_s > 1.001 * HOLD_S:
        assert not pace.is_quick(size_bytes)
