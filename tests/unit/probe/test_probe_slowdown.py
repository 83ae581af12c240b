"""A processor that slows down is told from noise, and disturbed rounds from quiet ones, on made-up times."""

import math
import random
from collections.abc import Callable, Iterator

import pytest
from fleetfit_runtime.probe.reference_passes import Clocks, PassResult, ReferenceBudget, time_in_turns
from fleetfit_runtime.probe.reference_timing import RoundLength, TimedWork
from fleetfit_runtime.probe.slowdown import disturbed_rounds, seems_slower, slowdown
from hypothesis import given, settings
from hypothesis import strategies as st

WORKS = 10
# What a round's mean scatters on a node at rest, and how far a neighbour sets it back in one round of ten.
SCATTER = 0.02
PASS_SCATTER = 0.01
BURST = 0.4
# Rare misses are allowed for, but not a test that fails once in a hundred runs.
STATISTICS = settings(max_examples=25, deadline=None, derandomize=True)
Factor = Callable[[float], float]


def series(rng: random.Random, passes: int, slower: Factor, burst_share: float = 0.1) -> list[list[float]]:
    """Return times of rounds; `slower` gives the factor at a time from 0 to 1."""
    bases = [math.exp(rng.uniform(-9, -4)) for _ in range(WORKS)]
    rows: list[list[float]] = [[] for _ in bases]
    last = passes * WORKS - 1
    for number in range(passes):
        pass_noise = rng.gauss(0, PASS_SCATTER)
        for place, base in enumerate(bases):
            noise = rng.gauss(0, SCATTER) + pass_noise
            burst = BURST * rng.random() if rng.random() < burst_share else 0.0
            factor = slower((number * WORKS + place) / last)
            rows[place].append(base * factor * math.exp(noise + burst))
    return rows


def share_found(seed: int, passes: int, slower: Factor, runs: int = 100) -> float:
    rng = random.Random(seed)
    return sum(slowdown(series(rng, passes, slower)) > 0 for _ in range(runs)) / runs


@STATISTICS
@given(seed=st.integers(0, 10**6), passes=st.integers(2, 12))
def test_stationary_noise_is_hardly_ever_a_slowdown(seed: int, passes: int) -> None:
    assert share_found(seed, passes, lambda _at: 1.0) <= 0.03


@STATISTICS
@given(seed=st.integers(0, 10**6), passes=st.integers(4, 12))
def test_a_processor_that_gets_faster_is_no_slowdown(seed: int, passes: int) -> None:
    assert share_found(seed, passes, lambda at: 1.3 - 0.3 * at) == 0


@STATISTICS
@given(seed=st.integers(0, 10**6), passes=st.integers(4, 12))
def test_a_steady_slowdown_by_a_fifth_is_found(seed: int, passes: int) -> None:
    assert share_found(seed, passes, lambda at: 1 + 0.2 * at) >= 0.9


@STATISTICS
@given(seed=st.integers(0, 10**6), passes=st.integers(6, 12), at=st.floats(0.4, 0.6))
def test_a_sudden_slowdown_by_a_fifth_is_found(seed: int, passes: int, at: float) -> None:
    assert share_found(seed, passes, lambda now: 1.2 if now > at else 1.0) >= 0.9


@STATISTICS
@given(seed=st.integers(0, 10**6), passes=st.integers(6, 12))
def test_a_neighbour_that_goes_again_is_no_slowdown(seed: int, passes: int) -> None:
    assert share_found(seed, passes, lambda now: 1.5 if 0.3 < now < 0.6 else 1.0) <= 0.03


@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3), order=st.randoms(use_true_random=False))
def test_neither_units_nor_the_order_of_works_matter(seed: int, scale: float, order: random.Random) -> None:
    rows = series(random.Random(seed), 7, lambda at: 1 + 0.2 * at)
    other = [[scale * seconds for seconds in row] for row in rows]
    order.shuffle(other)
    assert slowdown(other) == pytest.approx(slowdown(rows))
    assert sum(map(sum, disturbed_rounds(other))) == sum(map(sum, disturbed_rounds(rows)))


@pytest.mark.parametrize("rows", [[], [[]], [[1.0]], [[1.0, 2.0, 4.0]] * WORKS, [[0.0, 0.0, 0.0, 0.0]]])
def test_too_little_to_tell(rows: list[list[float]]) -> None:
    assert slowdown(rows) == 0


def test_one_work_alone_could_rise_by_chance() -> None:
    rising = [1.0, 1.1, 1.2, 1.3]
    assert slowdown([rising]) == 0
    assert slowdown([rising] * 3) == pytest.approx(0.3)


def test_a_single_slow_pass_at_the_end_is_not_the_last_third() -> None:
    passes = [1.0, 1.01, 1.02, 1.03, 1.02, 1.0, 1.01, 1.6, 1.6]
    assert slowdown([passes] * WORKS) == 0
    assert slowdown([[*passes[:-3], 1.6, 1.6, 1.6]] * WORKS) > 0.5


def test_an_incomplete_last_pass_does_not_count() -> None:
    rows = [[1.0, 1.0, 1.0, 1.0, 9.0], *[[1.0] * 4] * 3]
    assert not seems_slower(rows)
    assert slowdown(rows) == 0


@STATISTICS
@given(seed=st.integers(0, 10**6), passes=st.integers(3, 12))
def test_quiet_rounds_do_not_count_as_disturbed(seed: int, passes: int) -> None:
    rng = random.Random(seed)
    flags = [disturbed_rounds(series(rng, passes, lambda _at: 1.0, burst_share=0)) for _ in range(20)]
    assert sum(sum(row) for run in flags for row in run) <= 0.02 * 20 * passes * WORKS


@settings(max_examples=50)
@given(
    seed=st.integers(0, 10**6),
    passes=st.integers(3, 12),
    places=st.sets(st.tuples(st.integers(0, WORKS - 1), st.integers(0, 2)), min_size=1, max_size=12),
)
def test_rounds_that_a_neighbour_spoilt_are_found(
    seed: int, passes: int, places: set[tuple[int, int]]
) -> None:
    rows = series(random.Random(seed), passes, lambda _at: 1.0, burst_share=0)
    # One round of a work at most: where most rounds are disturbed there is no telling what quiet is.
    spoilt = {work: number for work, number in places}
    for work, number in spoilt.items():
        rows[work][number] *= 1.6
    flags = disturbed_rounds(rows)
    assert {(work, number) for work, number in spoilt.items() if not flags[work][number]} == set()


class Machine:
    """A processor with a clock of its own: what runs on it takes a time that hangs on how long it has been at work."""

    def __init__(self, slower: Factor, waits: Factor = lambda _s: 1.0) -> None:
        self.now_s = 0.0
        self.cpu_s = 0.0
        self._slower = slower
        self._waits = waits
        self._rng = random.Random(1)

    @property
    def clocks(self) -> Clocks:
        return Clocks(wall=lambda: self.now_s, cpu=lambda: self.cpu_s)

    def works(self) -> list[TimedWork]:
        return [
            TimedWork(f"w{place}", lambda base=0.0005 * (place + 1): self._run(base))
            for place in range(WORKS)
        ]

    def _run(self, base_s: float) -> None:
        took_s = base_s * self._slower(self.now_s) * math.exp(self._rng.gauss(0, 0.05))
        self.cpu_s += took_s
        self.now_s += took_s * self._waits(self.now_s)


def result_of(machine: Machine, **over: object) -> PassResult:
    budget = ReferenceBudget(RoundLength(), **over)  # type: ignore[arg-type]  # budgets of several types
    return time_in_turns(machine.works(), machine.clocks, budget, on_processor=True)


def test_a_calm_run_keeps_to_its_time() -> None:
    machine = Machine(lambda _s: 1.0)
    result = result_of(machine)
    assert (result.slowed, result.disturbed) == (False, 0)
    assert machine.now_s < 2.0
    assert result.timings["w3"].latency_p50_s == pytest.approx(0.002, rel=0.02)


def test_heat_during_the_run_is_recognised_and_the_figures_are_the_slowed_ones() -> None:
    machine = Machine(lambda now_s: 1 + 0.4 * min(1.0, now_s / 1.5))
    result = result_of(machine)
    assert result.slowed
    assert machine.now_s < 5.5
    assert result.timings["w3"].latency_p50_s > 0.002 * 1.3


def test_a_neighbour_from_the_middle_on_is_no_heat() -> None:
    """It takes the processor away, so runs take longer, but no more of the processor."""
    machine = Machine(lambda _s: 1.0, waits=lambda now_s: 1.5 if now_s > 0.9 else 1.0)
    result = result_of(machine)
    assert not result.slowed
    assert result.disturbed > 0
    assert result.timings["w3"].latency_p50_s == pytest.approx(0.002, rel=0.03)


def test_a_neighbour_that_comes_late_is_outwaited_where_only_the_wall_clock_tells() -> None:
    machine = Machine(lambda now_s: 1.5 if 1.2 < now_s < 2.0 else 1.0)
    works = machine.works()
    result = time_in_turns(works, machine.clocks, ReferenceBudget(RoundLength()), on_processor=False)
    assert not result.slowed
    assert len(works[0].rounds) > 4


def test_passes_are_told_as_they_end() -> None:
    machine, ends_s = Machine(lambda _s: 1.0), list[float]()
    budget = ReferenceBudget(RoundLength(), stable_spread=0.0)
    works = machine.works()
    time_in_turns(
        works,
        machine.clocks,
        budget,
        on_processor=True,
        after_pass=lambda: ends_s.append(machine.now_s),
    )
    assert len(ends_s) == len(works[0].rounds)
    assert ends_s == sorted(ends_s)


def test_a_clock_that_hardly_moves_is_survived() -> None:
    ticks: Iterator[int] = iter(range(10**9))
    works = [TimedWork("w", lambda: None)]
    clocks = Clocks(wall=lambda: next(ticks) * 1e-3, cpu=lambda: 0.0)
    result = time_in_turns(works, clocks, ReferenceBudget(), on_processor=True)
    assert not result.slowed
    assert result.timings["w"].samples > 0
