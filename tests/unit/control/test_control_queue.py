import asyncio
import random

import pytest
from fleetfit_operator.control.queue import DebouncedQueue, Windows


class Clock:
    """A clock that only moves when a test moves it."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> DebouncedQueue[str]:
    return DebouncedQueue(Windows(idle_s=0.5, cap_s=3.0), clock, random.Random(1))


async def taken(queue: DebouncedQueue[str]) -> set[str]:
    """What is due now, without waiting."""
    task = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if task.done():
        return set(task.result())
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return set()


async def test_a_key_is_due_when_it_has_been_quiet(queue: DebouncedQueue[str], clock: Clock) -> None:
    queue.add("a")
    clock.now_s += 0.4
    queue.add("a")
    clock.now_s += 0.4
    assert await taken(queue) == set()
    clock.now_s += 0.2
    assert await taken(queue) == {"a"}
    assert await taken(queue) == set()


async def test_a_key_that_never_calms_down_is_due_at_the_cap(
    queue: DebouncedQueue[str], clock: Clock
) -> None:
    for _ in range(10):
        queue.add("a")
        clock.now_s += 0.31
    assert await taken(queue) == {"a"}


async def test_urgent_is_due_at_once_and_stays_so(queue: DebouncedQueue[str]) -> None:
    queue.add("a", urgent=True)
    queue.add("a")
    assert await taken(queue) == {"a"}


async def test_keys_have_windows_of_their_own(queue: DebouncedQueue[str], clock: Clock) -> None:
    queue.add("a")
    clock.now_s += 0.4
    queue.add("b")
    clock.now_s += 0.2
    assert await taken(queue) == {"a"}
    assert queue.depth == 1
    clock.now_s += 0.4
    assert await taken(queue) == {"b"}
    assert queue.depth == 0


async def test_an_event_during_the_work_makes_the_key_due_again(
    queue: DebouncedQueue[str], clock: Clock
) -> None:
    queue.add("a", urgent=True)
    assert await taken(queue) == {"a"}
    queue.add("a")
    clock.now_s += 0.6
    assert await taken(queue) == {"a"}


async def test_the_earliest_timer_counts_and_an_event_does_not_remove_it(
    queue: DebouncedQueue[str], clock: Clock
) -> None:
    queue.add_after("a", 10.0)
    queue.add_after("a", 20.0)
    queue.add("a", urgent=True)
    assert await taken(queue) == {"a"}
    clock.now_s += 9.0
    assert await taken(queue) == set()
    clock.now_s += 1.1
    assert await taken(queue) == {"a"}
    clock.now_s += 30.0
    assert await taken(queue) == set()


async def test_retries_are_ever_longer_up_to_a_cap_until_success(queue: DebouncedQueue[str]) -> None:
    delays_s = [queue.retry("a") for _ in range(12)]
    for index, delay_s in enumerate(delays_s):
        ceiling_s = min(60.0, 0.5 * 2**index)
        assert ceiling_s / 2 <= delay_s <= ceiling_s
    queue.succeeded("a")
    assert queue.retry("a") <= 0.5


async def test_age_of_the_oldest_key(queue: DebouncedQueue[str], clock: Clock) -> None:
    assert queue.oldest_age_s == 0.0
    queue.add("a")
    clock.now_s += 2.0
    queue.add("b")
    assert queue.oldest_age_s == pytest.approx(2.0)


async def test_take_wakes_up_for_an_event_while_it_waits_for_a_timer() -> None:
    loop = asyncio.get_running_loop()
    queue: DebouncedQueue[str] = DebouncedQueue(Windows(idle_s=0.01), loop.time, random.Random(1))
    queue.add_after("later", 60.0)
    task = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.add("now")
    async with asyncio.timeout(2):
        assert await task == {"now"}
