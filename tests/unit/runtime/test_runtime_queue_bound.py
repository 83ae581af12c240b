"""Places for jobs that wait: their number follows the pace, so that the wait keeps its bound."""

from fleetfit_runtime.engine.queue_bound import QueueBound
from hypothesis import given
from hypothesis import strategies as st


class Clock:
    """A clock that is moved."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def served(bound: QueueBound, clock: Clock, each_s: float, jobs: int = 200) -> None:
    bound.begin()
    for _ in range(jobs):
        clock.now_s += each_s
        bound.done(1)


@given(
    capacity=st.integers(1, 500),
    pace_s=st.floats(1e-5, 1.0),
    slower=st.floats(0.1, 20.0),
    jobs=st.integers(1, 16),
)
def test_a_full_queue_takes_no_longer_than_at_the_models_own_pace(
    capacity: int, pace_s: float, slower: float, jobs: int
) -> None:
    clock = Clock()
    bound = QueueBound(capacity, pace_s, clock)
    bound.begin()
    for _ in range(300):
        clock.now_s += jobs * slower * pace_s
        bound.done(jobs)
    assert 1 <= bound.places <= capacity
    if slower <= 4:
        assert (bound.places - 1) * slower * pace_s <= capacity * pace_s * 1.001
        # No place is given up that the time allows.
        assert (bound.places + 1) * max(slower, 1.0) * pace_s >= capacity * pace_s * 0.999
    else:
        assert bound.places >= capacity / 4


def test_places_come_back_with_the_pace() -> None:
    clock = Clock()
    bound = QueueBound(128, 0.004, clock)
    served(bound, clock, 0.008)
    assert bound.places in (64, 65)
    served(bound, clock, 0.004)
    assert bound.places >= 127


def test_one_run_that_was_stopped_for_long_costs_a_part_of_the_places_only() -> None:
    clock = Clock()
    bound = QueueBound(128, 0.004, clock)
    served(bound, clock, 30.0, jobs=1)
    assert bound.places > 64


def test_time_without_jobs_and_a_wanted_wait_are_no_slowness() -> None:
    clock = Clock()
    bound = QueueBound(128, 0.004, clock)
    bound.allow(0.05)
    for _ in range(50):
        clock.now_s += 60.0
        bound.begin()
        clock.now_s += 0.054
        bound.done(1)
    assert bound.places >= 127


def test_without_a_known_pace_the_places_stay() -> None:
    clock = Clock()
    bound = QueueBound(3, clock=clock)
    served(bound, clock, 100.0)
    assert bound.places == 3


def test_a_node_that_is_quicker_than_its_warm_up_is_held_to_that() -> None:
    clock = Clock()
    bound = QueueBound(128, 0.004, clock)
    served(bound, clock, 0.0035)
    assert bound.places == 128
    served(bound, clock, 0.004)
    assert bound.places == 112


def test_jobs_that_vary_leave_fewer_places() -> None:
    clock = Clock()
    bound = QueueBound(128, 0.004, clock)
    bound.begin()
    for number in range(200):
        clock.now_s += (0.003, 0.005)[number % 2]
        bound.done(1)
    assert 96 < bound.places < 110


def test_batches_do_not_count_as_the_pace_of_one() -> None:
    clock = Clock()
    bound = QueueBound(128, 0.004, clock)
    served(bound, clock, 0.0004)
    served(bound, clock, 0.004)
    assert bound.places == 103
