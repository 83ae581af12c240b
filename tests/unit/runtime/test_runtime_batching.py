"""Batches: which jobs run together, what each of them gets, and which models allow it."""

import asyncio
import math
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from fleetfit_api.batching import Batching
from fleetfit_runtime.engine.batch_proof import MOST_ITEMS, BatchRule, may_be_batched, prove_batching
from fleetfit_runtime.engine.batching import run_jobs
from fleetfit_runtime.engine.inference_job import InferenceJob
from fleetfit_runtime.engine.lane import Lane, LaneFull
from fleetfit_runtime.engine.loop_turn import LoopTurn
from fleetfit_runtime.engine.model_session import Array, ModelSession, RunModel, TensorSpec
from fleetfit_runtime.engine.providers import ProviderProof
from fleetfit_runtime.engine.queue_bound import QueueBound
from fleetfit_runtime.engine.run_counts import RunCounts
from fleetfit_runtime.engine.tensor_types import BYTES, DATATYPES
from fleetfit_runtime.serve.statistics import executions
from hypothesis import given
from hypothesis import strategies as st

FP32 = DATATYPES["FP32"]


class Job(InferenceJob):
    """Keeps what came of it."""

    def __init__(self, values: Sequence[float], key: object = "k", deadline_s: float = 1e9) -> None:
        super().__init__(0.0)
        self.inputs = {"x": np.array(values, np.float32)}
        self.output_names = ("y",)
        self.items = len(values)
        self.batch_key = key  # type: ignore[assignment]  # tests use strings
        self.deadline_s = deadline_s
        self.outcome: object = None
        self.delivered = 0

    def finish(self, arrays: Sequence[Array]) -> None:
        self.outcome = arrays[0].tolist()

    def fail(self, error: Exception) -> None:
        self.outcome = str(error)

    def expire(self) -> None:
        self.outcome = "expired"

    def deliver(self) -> None:
        self.delivered += 1


class Doubling:
    """A model that doubles its input, and remembers the sizes of its runs."""

    def __init__(self, refused: float | None = None) -> None:
        self.sizes: list[int] = []
        self.refused = refused

    def __call__(self, _names: Sequence[str], inputs: Mapping[str, Array], /) -> list[Array]:
        x = inputs["x"]
        if self.refused is not None and (x == self.refused).any():
            raise ValueError("refused")
        self.sizes.append(len(x))
        return [2 * x]


@given(
    jobs=st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["a", "b", None])), max_size=20),
    most=st.integers(1, 8),
)
def test_every_job_gets_its_own_answer_and_no_batch_is_too_large(
    jobs: list[tuple[int, str | None]], most: int
) -> None:
    made = [
        Job([float(10 * index + item) for item in range(size)], key) for index, (size, key) in enumerate(jobs)
    ]
    model = Doubling()
    run_jobs(made, model, most)
    for job in made:
        assert job.outcome == (2 * job.inputs["x"]).tolist()
        assert job.together >= job.items
    assert sum(model.sizes) == sum(job.items for job in made)
    assert all(size <= max(most, 5) for size in model.sizes)
    if most == 1 or all(key is None for _, key in jobs):
        assert len(model.sizes) == len(jobs)


def test_equal_jobs_run_at_once() -> None:
    model = Doubling()
    run_jobs([Job([1]), Job([2, 3]), Job([4]), Job([5], "other")], model, 8)
    assert model.sizes == [4, 1]


def test_a_job_that_the_model_refuses_does_not_spoil_those_with_it() -> None:
    jobs = [Job([1]), Job([666]), Job([3])]
    run_jobs(jobs, Doubling(refused=666.0), 8)
    assert [job.outcome for job in jobs] == [[2.0], "refused", [6.0]]


def test_neither_expired_nor_abandoned_jobs_run() -> None:
    late, gone, fine = Job([1], deadline_s=5.0), Job([2]), Job([3])
    gone.abandoned = True
    model = Doubling()
    run_jobs([late, gone, fine], model, 8, clock=lambda: 6.0)
    assert model.sizes == [1]
    assert (late.outcome, gone.outcome, fine.outcome) == ("expired", None, [6.0])


async def test_jobs_of_one_turn_of_the_loop_run_together() -> None:
    model = Doubling()
    turn = LoopTurn(model, 4, QueueBound(6), hold_s=1e9)
    jobs = [Job([float(index)]) for index in range(6)]
    for job in jobs:
        turn.add(job)
    with pytest.raises(LaneFull):
        turn.add(Job([9]))
    assert model.sizes == []
    await asyncio.sleep(0)
    assert model.sizes == [4, 2]
    turn.add(jobs[0])
    await asyncio.sleep(0)
    assert model.sizes == [4, 2, 1]
    assert [job.delivered for job in jobs] == [2, 1, 1, 1, 1, 1]


async def test_more_than_may_hold_up_the_loop_runs_in_the_next_turns() -> None:
    model = Doubling()
    turn = LoopTurn(model, 2, QueueBound(9), hold_s=0.0)
    order: list[str] = []
    jobs = [Job([float(index)]) for index in range(5)]
    for job in jobs:
        turn.add(job)
    for expected in ([2], [2, 2], [2, 2, 1]):
        asyncio.get_running_loop().call_soon(order.append, "health")
        await asyncio.sleep(0)
        assert model.sizes == expected
    assert len(order) == 3
    assert turn.waiting == 0


async def test_what_waits_for_a_lane_runs_together_and_beyond_its_capacity_is_refused() -> None:
    model = Doubling()
    lane = Lane("test", 5, model, most_items=8)
    loop, gate = asyncio.get_running_loop(), asyncio.Event()
    held = lane.submit(lambda: asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(5))
    jobs = [Job([float(index)]) for index in range(4)]
    for job in jobs:
        lane.add(job)
    with pytest.raises(LaneFull):
        lane.add(Job([9]))
    gate.set()
    await held
    await lane.submit(lambda: None)
    assert model.sizes == [4]
    assert [job.outcome for job in jobs] == [[0.0], [2.0], [4.0], [6.0]]
    assert lane.waiting == 0
    lane.close()


@pytest.mark.parametrize(
    ("batching", "rule"),
    [
        (Batching(), BatchRule(8, 4)),
        (Batching(max_items=16), BatchRule(8, 4)),
        (Batching(max_items=3), BatchRule(3, 3)),
        (Batching(enabled=False), BatchRule(1, 1)),
    ],
)
def test_a_user_may_have_less_than_was_proven_and_never_more(batching: Batching, rule: BatchRule) -> None:
    assert BatchRule(8, 4).within(batching) == rule


def waiting_job(value: float, **over: Any) -> Job:
    """Return a job that was asked for now and is read."""
    job = Job([value], **over)
    job.queued_s, job.elements = time.perf_counter(), 1
    return job


async def answered(*jobs: Job) -> None:
    async with asyncio.timeout(10):
        while not all(job.delivered for job in jobs):  # noqa: ASYNC110 - a job is told, and wakes nobody
            await asyncio.sleep(0.001)


async def test_a_job_waits_for_those_that_come_later_and_no_longer_once_the_batch_is_full() -> None:
    model = Doubling()
    lane = Lane("test", 9, model, most_items=3, batch_wait_s=60.0)
    jobs = [waiting_job(float(number)) for number in range(3)]
    for job in jobs:
        lane.add(job)
        await asyncio.sleep(0.002)
    await answered(*jobs)
    assert model.sizes == [3]
    assert [job.together for job in jobs] == [3, 3, 3]
    lane.close()


async def test_a_job_waits_from_when_it_was_asked_for_and_then_runs_alone() -> None:
    model = Doubling()
    lane = Lane("test", 9, model, most_items=8, batch_wait_s=0.05)
    job = waiting_job(1.0)
    begun_s = time.perf_counter()
    lane.add(job)
    await answered(job)
    assert time.perf_counter() - begun_s >= 0.04
    late = waiting_job(2.0)
    late.queued_s -= 60.0
    lane.batch(8, 59.0)
    lane.add(late)
    await answered(late)
    assert model.sizes == [1, 1]
    lane.close()


@pytest.mark.parametrize("over", [{"key": None}, {"deadline_s": 30.0}], ids=["runs alone", "has no time"])
async def test_a_job_that_cannot_wait_runs_at_once(over: dict[str, Any]) -> None:
    model = Doubling()
    lane = Lane("test", 9, model, most_items=8, batch_wait_s=60.0)
    job = waiting_job(1.0, **over)
    if job.deadline_s < math.inf:
        job.deadline_s = job.queued_s + 30.0
    lane.add(job)
    await answered(job)
    assert job.outcome == [2.0]
    lane.close()


async def test_a_large_job_fills_a_batch_by_itself_and_one_without_items_ends_no_turn_late() -> None:
    model = Doubling()
    lane = Lane("test", 9, model, most_items=4, batch_wait_s=60.0)
    large = Job([1.0, 2.0, 3.0, 4.0])
    large.queued_s, large.elements = time.perf_counter(), 4
    lane.add(large)
    await answered(large)
    empty = [waiting_job(1.0) for _ in range(4)]
    for job in empty:
        job.items = 0
        lane.add(job)
    await answered(*empty)
    lane.close()


def session(run: RunModel, shape: tuple[int, ...] = (-1, 3)) -> ModelSession:
    proof = ProviderProof("CPUExecutionProvider", fallback=False, message="", graph_nodes={})
    return ModelSession(
        run_with=lambda names, inputs, _options: run(names, inputs),
        inputs=(TensorSpec("x", FP32, "tensor(float)", shape),),
        outputs=(TensorSpec("y", FP32, "tensor(float)", shape),),
        proof=proof,
    )


class Clock:
    """Advances by what a run is said to take."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def timed(model: Any, seconds_of: Any) -> tuple[RunModel, Clock]:
    clock = Clock()

    def run(_names: Sequence[str], inputs: Mapping[str, Array], /) -> list[Array]:
        clock.now_s += seconds_of(len(inputs["x"]))
        return [model(inputs["x"])]

    return run, clock


ITEM = {"x": np.ones((1, 3), np.float32)}


@pytest.mark.parametrize(
    ("model", "seconds_of", "rule"),
    [
        (np.tanh, lambda n: 1e-5 + 1e-6 * n, BatchRule(MOST_ITEMS, MOST_ITEMS)),
        (np.tanh, lambda n: 8e-4 + 1e-4 * n, BatchRule(MOST_ITEMS, 2)),
        (np.tanh, lambda n: 1e-3 * n, BatchRule(1, 1)),
        (np.tanh, lambda n: 0.1 + 1e-6 * n, BatchRule(1, 1)),
        (lambda x: x - x.mean(axis=0, keepdims=True), lambda n: 1e-5 + 1e-6 * n, BatchRule(1, 1)),
        (lambda x: np.round(x / abs(x).max() * 127), lambda n: 1e-5 + 1e-6 * n, BatchRule(1, 1)),
        (lambda x: x[:1], lambda n: 1e-5 + 1e-6 * n, BatchRule(1, 1)),
    ],
    ids=["quick", "loop-bound", "no-gain", "slow", "mean-over-batch", "scale-of-batch", "one-output"],
)
def test_batches_only_where_answers_stay_and_time_is_saved(
    model: Any, seconds_of: Any, rule: BatchRule
) -> None:
    run, clock = timed(model, seconds_of)
    assert prove_batching(session(run), ITEM, 0.001 + 1e-9, clock) == rule


def test_a_model_that_refuses_a_batch_is_served_without() -> None:
    def run(_names: Sequence[str], inputs: Mapping[str, Array], /) -> list[Array]:
        if len(inputs["x"]) > 1:
            raise RuntimeError("one at a time")
        return [inputs["x"]]

    assert prove_batching(session(run), ITEM, 0.001) == BatchRule()


def test_only_a_variable_first_dimension_of_sized_elements_can_be_a_batch() -> None:
    def spec(shape: tuple[int, ...], kind: Any = FP32) -> TensorSpec:
        return TensorSpec("t", kind, "", shape)

    assert may_be_batched([spec((-1, 3))], [spec((-1,))])
    assert not may_be_batched([spec((1, 3))], [spec((-1,))])
    assert not may_be_batched([spec((-1, 3))], [spec(())])
    assert not may_be_batched([spec((-1,), BYTES)], [spec((-1,))])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priority of their own")
async def test_a_models_thread_gives_way_to_the_event_loop() -> None:
    lane = Lane("test", 5)

    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = niceness()
    in_lane = await lane.submit(niceness)
    lane.close()
    assert in_lane == min(before + 10, 19)
    assert niceness() == before


def test_job_whose_inputs_differ_in_their_first_dimension_counts_as_one_run_of_one_item() -> None:
    job, counts = Job([1.0, 2.0], None), RunCounts()
    job.items = 0
    run_jobs([job], Doubling(), most_items=8)
    counts.answered(job, 1.0, 0.0)
    assert (job.together, counts.items, executions(counts)) == (1, 1, 1)
