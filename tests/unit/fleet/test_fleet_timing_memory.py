"""One timing after the other is remembered once; noise averages out, and a change is told from noise."""

from math import exp, log

import numpy as np
import pytest
from fleetfit_api.node_inference import MeasuredVariant
from fleetfit_operator.fleet.timing_memory import MOST_TIMINGS, Timing, is_known, log_variance, remember
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fleet_builders import digest

LATENCY_S = st.floats(1e-6, 100.0)
TIMINGS = st.lists(st.tuples(LATENCY_S, st.booleans()), min_size=1, max_size=30)


def timing(p95_s: float, *, disturbed: bool = False, run: str = "run", samples: int = 200) -> Timing:
    return Timing("a", digest("a"), p95_s * 0.9, p95_s, samples, 1000, disturbed, run)


def after(*timings: Timing) -> MeasuredVariant:
    memory: MeasuredVariant | None = None
    for each in timings:
        memory = remember(memory, each)
    assert memory is not None
    return memory


def around(p95_s: float, count: int, seed: int = 1) -> list[Timing]:
    rng = np.random.default_rng(seed)
    return [timing(p95_s * exp(rng.normal(0, 0.05))) for _ in range(count)]


@given(TIMINGS)
def test_the_same_report_again_changes_nothing(drawn: list[tuple[float, bool]]) -> None:
    memory: MeasuredVariant | None = None
    for p95_s, disturbed in drawn:
        memory = remember(memory, timing(p95_s, disturbed=disturbed))
        assert is_known(memory, p95_s)
        # Also not when the node is judged differently by then, nor after a way through the API.
        assert remember(memory, timing(p95_s, disturbed=not disturbed)) is memory
        restarted = MeasuredVariant.model_validate_json(memory.model_dump_json(by_alias=True))
        assert remember(restarted, timing(p95_s, disturbed=disturbed)) == memory


@given(TIMINGS, LATENCY_S)
def test_a_disturbed_timing_leaves_what_lasts_alone(drawn: list[tuple[float, bool]], p95_s: float) -> None:
    memory = after(*(timing(each, disturbed=disturbed) for each, disturbed in drawn))
    disturbed = remember(memory, timing(p95_s, disturbed=True))
    noted = {"disturbed_p95_seconds", "memory_bytes"}
    assert disturbed.model_dump(exclude=noted) == memory.model_dump(exclude=noted)


def test_a_variant_that_was_only_ever_timed_under_disturbance_has_no_figures() -> None:
    memory = after(timing(0.5, disturbed=True))
    assert (memory.samples, memory.latency_p95_seconds, memory.disturbed_p95_seconds) == (0, 0.0, 0.5)
    assert remember(memory, timing(0.1)).latency_p95_seconds == 0.1


@given(TIMINGS)
def test_what_is_remembered_lies_between_the_timings(drawn: list[tuple[float, bool]]) -> None:
    memory = after(*(timing(p95_s) for p95_s, _ in drawn))
    seen = [p95_s for p95_s, _ in drawn]
    assert min(seen) * (1 - 1e-9) <= memory.latency_p95_seconds <= max(seen) * (1 + 1e-9)
    assert memory.timings <= MOST_TIMINGS


def test_noise_averages_out_and_is_no_drift() -> None:
    memory = after(*around(0.1, 40))
    assert memory.latency_p95_seconds == pytest.approx(0.1, rel=0.05)
    assert memory.before_drift_p95_seconds == 0.0
    assert log_variance(memory) < log_variance(after(timing(0.1)))


def test_false_alarms_are_rare() -> None:
    alarms = sum(after(*around(0.1, 40, seed)).before_drift_p95_seconds > 0 for seed in range(100))
    assert alarms <= 5


@pytest.mark.parametrize("factor", [0.5, 0.75, 1.3, 2.0, 50.0])
def test_a_lasting_change_is_a_drift_after_a_few_timings_and_then_counts(factor: float) -> None:
    memory = after(*around(0.1, 6))
    changed = around(0.1 * factor, 5, seed=2)
    once = remember(memory, changed[0])
    assert once.before_drift_p95_seconds == 0.0  # one odd timing is no drift
    for each in changed[1:]:
        once = remember(once, each)
    assert once.before_drift_p95_seconds == pytest.approx(0.1, rel=0.35)
    assert abs(log(once.latency_p95_seconds / (0.1 * factor))) < 0.15


def test_one_odd_timing_is_forgotten() -> None:
    memory = after(*around(0.1, 6), timing(3.0), *around(0.1, 8, seed=3))
    assert memory.before_drift_p95_seconds == 0.0
    assert memory.latency_p95_seconds == pytest.approx(0.1, rel=0.4)


DRIFTED = (*around(0.1, 6), *around(0.3, 3, seed=4))


def test_a_drift_is_over_when_timings_are_back() -> None:
    assert after(*DRIFTED).before_drift_p95_seconds > 0
    assert after(*DRIFTED, *around(0.1, 4, seed=5)).before_drift_p95_seconds == 0.0


def test_a_drift_is_over_when_later_timings_have_confirmed_it() -> None:
    assert after(*DRIFTED, *around(0.3, MOST_TIMINGS, seed=6)).before_drift_p95_seconds == 0.0


def test_memory_starts_anew_with_another_reference_run() -> None:
    memory = remember(after(*DRIFTED), timing(0.31, run="another"))
    assert (memory.timings, memory.before_drift_p95_seconds, memory.reference_run) == (1, 0.0, "another")
    assert memory.latency_p95_seconds == 0.31


def test_a_memory_of_an_older_operator_goes_on() -> None:
    old = MeasuredVariant(variant="a", sha256=digest("a"), latency_p95_seconds=0.1, samples=30)
    assert remember(old, timing(0.1)) is old
    newer = remember(old, timing(0.11))
    assert newer.timings == 2
    assert 0.1 < newer.latency_p95_seconds < 0.11
    assert newer.latency_p50_seconds == pytest.approx(0.099)


def test_few_or_scattered_inferences_are_noisier() -> None:
    assert log_variance(after(timing(0.1, samples=5))) > log_variance(after(timing(0.1, samples=500)))
    scattered = after(timing(0.1)).model_copy(update={"latency_p50_seconds": 0.01})
    assert log_variance(scattered) > log_variance(after(timing(0.1)))
