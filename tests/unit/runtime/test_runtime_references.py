"""Reference runs: timed once for what they depend on, and again when that changes or the node has cooled."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from fleetfit_api.node_telemetry import ReferenceRun, ReferenceTime
from fleetfit_runtime.agent.reference_cache import ReferenceCache, ReferenceKey
from fleetfit_runtime.agent.reference_keeper import ReferenceKeeper, ReferenceTools, slowdown_factor
from fleetfit_runtime.agent.reference_repeats import ReferenceRepeats, RepeatPolicy
from fleetfit_runtime.probe.load import Load
from fleetfit_runtime.probe.node_probe import NodeReading
from hypothesis import given
from hypothesis import strategies as st

KEY = ReferenceKey(
    providers=("CPUExecutionProvider",),
    onnxruntime_version="1",
    intra_op_threads=1,
    set_version="1",
    cpu_count=1.0,
    driver_version="nvidia 550.54.14",
    governor="schedutil",
)
CALM = NodeReading(load=Load(0.1, 0.1))
BUSY = NodeReading(load=Load(0.9, 0.2))
HOT = NodeReading(load=Load(0.1, 0.1), throttled=True)
POLICY = RepeatPolicy()


def run_of(seconds: float = 0.001, *, throttled: bool = False) -> ReferenceRun:
    time = ReferenceTime(name="mlp", latency_p50_seconds=seconds, latency_p95_seconds=seconds)
    return ReferenceRun(provider="CPUExecutionProvider", set_version="1", throttled=throttled, times=[time])


class Timer:
    """Gives the runs that it was told, one after another, and counts."""

    def __init__(self, *answers: list[ReferenceRun]) -> None:
        self.answers = list(answers)
        self.calls = 0

    def __call__(self, _providers: object, _threads: int) -> list[ReferenceRun]:
        self.calls += 1
        return self.answers.pop(0)


@pytest.mark.parametrize(
    "change",
    [
        {"providers": ("OpenVINOExecutionProvider", "CPUExecutionProvider")},
        {"onnxruntime_version": "2"},
        {"intra_op_threads": 2},
        {"set_version": "2"},
        {"cpu_count": 0.5},
        {"driver_version": "nvidia 560.35.05"},
        {"governor": "powersave"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_runs_are_good_for_what_they_depend_on(tmp_path: Path, change: dict[str, object]) -> None:
    cache = ReferenceCache(tmp_path / "runs.json", Timer([run_of()]))
    assert cache.known(KEY) is None
    assert cache.time(KEY) == cache.known(KEY) == [run_of()]
    assert cache.known(KEY.model_copy(update=change)) is None


@pytest.mark.parametrize("left_out", ["driver_version", "governor"])
def test_a_file_of_an_earlier_version_is_timed_anew(tmp_path: Path, left_out: str) -> None:
    cache = ReferenceCache(tmp_path / "runs.json", Timer([run_of()]))
    cache.time(KEY)
    text = (tmp_path / "runs.json").read_text()
    (tmp_path / "runs.json").write_text(text.replace(f'"{left_out}"', '"other"', 1))
    assert cache.known(KEY) is None


def test_a_set_that_fails_leaves_the_node_without_a_fingerprint(tmp_path: Path) -> None:
    def run(_providers: object, _threads: int) -> list[ReferenceRun]:
        raise RuntimeError("no kernel")

    cache = ReferenceCache(tmp_path / "runs.json", run)
    assert cache.time(KEY) == []
    assert cache.known(KEY) is None


def due(repeats: ReferenceRepeats, at_s: float, reading: NodeReading = CALM, why: str = "") -> bool:
    return repeats.due(at_s, reading, outdated=why == "outdated", throttled=why == "throttled")


def test_a_change_is_followed_once_it_has_settled_and_the_node_is_calm() -> None:
    repeats = ReferenceRepeats(POLICY)
    assert not due(repeats, 0, why="outdated")
    assert not due(repeats, 59, why="outdated")
    assert not due(repeats, 60, BUSY, why="outdated")
    assert due(repeats, 61, why="outdated")


def test_a_governor_that_swings_back_changes_nothing() -> None:
    repeats = ReferenceRepeats(POLICY)
    assert not due(repeats, 0, why="outdated")
    assert not due(repeats, 30)
    assert not due(repeats, 61, why="outdated")


def test_a_node_that_is_never_calm_is_timed_in_the_end() -> None:
    repeats = ReferenceRepeats(POLICY)
    assert not due(repeats, 0, BUSY, why="outdated")
    assert not due(repeats, 3599, BUSY, why="outdated")
    assert due(repeats, 3600, BUSY, why="outdated")


def test_a_throttled_run_is_repeated_after_the_node_has_cooled() -> None:
    repeats = ReferenceRepeats(POLICY)
    assert not due(repeats, 0, HOT, why="throttled")
    assert not due(repeats, 290, HOT, why="throttled")
    assert not due(repeats, 310, why="throttled")  # cool for 20 s only
    assert not due(repeats, 360, BUSY, why="throttled")
    assert due(repeats, 360, why="throttled")


def test_repeats_of_a_node_that_stays_hot_are_bounded_and_ever_rarer() -> None:
    repeats, times_s = ReferenceRepeats(POLICY), []
    for second in range(0, 200_000, 10):
        if due(repeats, second, why="throttled"):
            repeats.timed(outdated=False)
            times_s.append(second)
    waits_s = [after - before for before, after in zip([0, *times_s], times_s, strict=False)]
    assert len(times_s) == POLICY.most_repeats
    assert waits_s == sorted(waits_s)
    assert waits_s[-1] >= 300 * 2**4


@given(st.lists(st.tuples(st.sampled_from([CALM, BUSY, HOT]), st.booleans(), st.booleans()), max_size=400))
def test_it_is_never_timed_more_often_than_allowed(steps: list[tuple[NodeReading, bool, bool]]) -> None:
    repeats, timed_s = ReferenceRepeats(POLICY), [0.0]
    for number, (reading, outdated, throttled) in enumerate(steps):
        now_s = 15.0 * number
        if repeats.due(now_s, reading, outdated=outdated, throttled=throttled):
            assert now_s - timed_s[-1] >= POLICY.settle_s
            assert outdated or throttled
            repeats.timed(outdated=outdated)
            timed_s.append(now_s)


class Bench:
    """A keeper, with everything around it as the test wants it."""

    def __init__(self, path: Path, timer: Timer) -> None:
        self.key = KEY
        self.reading = CALM
        self.changes = 0
        self.timer = timer
        tools = ReferenceTools(
            cache=ReferenceCache(path, timer),
            key=lambda: self.key,
            reading=lambda: self.reading,
            run_undisturbed=self._run,
            changed=self._changed,
        )
        policy = RepeatPolicy(settle_s=0, cool_s=0, first_wait_s=0, most_repeats=2)
        self.keeper = ReferenceKeeper(tools, ReferenceRepeats(policy))

    async def _run(self, function: Callable[[], list[ReferenceRun]]) -> list[ReferenceRun]:
        return await asyncio.to_thread(function)

    def _changed(self) -> None:
        self.changes += 1

    def times_s(self) -> list[float]:
        return [each.latency_p50_seconds for run in self.keeper.runs for each in run.times]


async def test_the_first_start_times_and_the_next_reads(tmp_path: Path) -> None:
    timer = Timer([run_of(0.001)])
    for _ in range(2):
        bench = Bench(tmp_path / "runs.json", timer)
        await bench.keeper.begin()
        assert (bench.times_s(), bench.changes) == ([0.001], 1)
        await bench.keeper.look()
    assert timer.calls == 1


async def test_new_times_win_after_a_change_of_governor(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "runs.json", Timer([run_of(0.001)], [run_of(0.004)]))
    await bench.keeper.begin()
    bench.key = KEY.model_copy(update={"governor": "powersave"})
    await bench.keeper.look()
    await bench.keeper.look()
    assert (bench.times_s(), bench.changes, bench.timer.calls) == ([0.004], 2, 2)
    again = Bench(tmp_path / "runs.json", Timer())
    again.key = bench.key
    await again.keeper.begin()
    assert again.times_s() == [0.004]


async def test_a_throttled_run_is_replaced_by_a_cool_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "runs.json", Timer([run_of(0.002, throttled=True)], [run_of(0.001)]))
    await bench.keeper.begin()
    bench.reading = HOT
    for _ in range(3):
        await bench.keeper.look()
    bench.reading = CALM
    for _ in range(3):
        await bench.keeper.look()
    assert (bench.times_s(), bench.timer.calls) == ([0.001], 2)


async def test_a_node_that_is_always_slowed_is_left_alone_in_the_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "runs.json", Timer(*[[run_of(throttled=True)]] * 3))
    await bench.keeper.begin()
    for _ in range(10):
        await bench.keeper.look()
    assert bench.timer.calls == 3
    assert bench.keeper.runs[0].throttled


async def test_a_repeat_that_fails_leaves_the_times_there_are(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "runs.json", Timer([run_of(0.001)], []))
    await bench.keeper.begin()
    bench.key = KEY.model_copy(update={"cpu_count": 2.0})
    await bench.keeper.look()
    await bench.keeper.look()
    assert (bench.times_s(), bench.timer.calls) == ([0.001], 2)


def test_the_factor_between_two_runs() -> None:
    assert slowdown_factor([run_of(0.001)], [run_of(0.0015)]) == pytest.approx(1.5)
    assert slowdown_factor([], [run_of()]) is None
