"""What a fleet has timed is learnt, and promoted only where held-out nodes prove it."""

from dataclasses import replace
from datetime import date
from math import exp, log
from typing import Any

import numpy as np
import pytest
from fleetfit_api import NodeInference
from fleetfit_operator.predict.fleet_correction import FEATURE_NAMES, FleetCorrection, node_speed
from fleetfit_training.fleet_timings import NodeRecord, fleet_records, records_digest
from fleetfit_training.retrain import FEWEST_HELD_OUT, Outcome, RetrainReport, compare, is_held_out, retrain
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fleet_builders import digest
from tests.unit.predict.fleet_timing_cases import (
    Factor,
    TenMilliseconds,
    fleet,
    noise,
    run_of,
    timed_node,
    timed_suite,
    timing,
)

SHIPPED = "a" * 64
TODAY = date(2026, 1, 1)


def records_of(nodes: list[NodeInference]) -> list[NodeRecord]:
    return fleet_records(nodes, [timed_suite()], TenMilliseconds())


def retrained(count: int, factor: Factor, in_use: FleetCorrection | None = None) -> RetrainReport:
    return retrain(records_of(fleet(count, factor)), in_use, SHIPPED, TODAY)


def slow_integers(node: str, variant: str) -> float:
    """int8 runs at half the speed that is predicted; the rest is noise of some 5 %, the same each time."""
    noise_log = (int(digest(node + variant)[:2], 16) / 255 - 0.5) / 5
    return (2.0 if variant == "small" else 1.0) * exp(noise_log)


def promoted(count: int, factor: Factor) -> FleetCorrection:
    report = retrained(count, factor)
    assert report.outcome is Outcome.PROMOTED
    assert report.correction is not None
    return report.correction


def test_an_error_that_all_nodes_share_is_learnt_and_promoted() -> None:
    report = retrained(40, lambda node, variant: 1.5 * slow_integers(node, variant))
    assert report.outcome is Outcome.PROMOTED
    assert report.nodes == 40
    assert report.timings == 120
    assert report.errors["new"] < report.errors["shipped"] / 3
    assert report.correction is not None
    facts = report.correction.facts
    assert facts.nodes + facts.held_out_nodes == 40
    assert facts.error == report.errors["new"]
    assert facts.error_without == report.errors["shipped"]


def test_an_error_of_one_kind_of_variant_is_corrected_there_alone() -> None:
    correction = promoted(40, slow_integers)
    rows = records_of(fleet(2, slow_integers))[1].rows
    exact, lean, small = correction.log_ratio(rows)
    assert small == pytest.approx(log(2), abs=0.15)
    assert max(abs(exact), abs(lean)) < 0.15


@pytest.mark.parametrize("seed", range(8))
def test_chance_is_not_promoted(seed: int) -> None:
    report = retrained(30, noise(seed, 0.2))
    assert report.outcome is Outcome.KEPT
    assert "not proven better" in report.reason


def test_little_data_moves_little() -> None:
    few, many = (
        retrain(records_of(fleet(count, lambda *_: 2.0)), None, SHIPPED, TODAY).correction
        for count in (16, 200)
    )
    assert few is not None
    assert many is not None
    assert 0.0 < few.offset < many.offset <= log(2)


def test_the_same_again_is_not_promoted_again() -> None:
    in_use = promoted(40, slow_integers)
    report = retrained(40, slow_integers, in_use)
    assert report.outcome is Outcome.KEPT
    assert report.errors["in use"] == pytest.approx(report.errors["new"])


def test_a_correction_that_harms_is_withdrawn() -> None:
    harmful = replace(promoted(40, slow_integers), offset=1.0)
    untaught = [
        replace(each, log_error=each.log_error * 0.0) for each in records_of(fleet(40, slow_integers))
    ]
    report = retrain(untaught, harmful, SHIPPED, TODAY)
    assert report.errors["in use"] > report.errors["shipped"]
    assert report.outcome is Outcome.WITHDRAWN
    assert "shipped model alone is better" in report.reason


@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_small_fleet_teaches_nothing_and_is_told_so(count: int) -> None:
    report = retrained(count, slow_integers)
    assert report.outcome is Outcome.TOO_FEW
    assert report.correction is None
    assert report.reason.startswith(f"{count} nodes have timings that count")


def test_a_fleet_with_hardly_a_node_held_out_teaches_nothing() -> None:
    learning = [each for each in fleet(60, slow_integers) if not is_held_out(each.metadata.name)]
    held_out = [each for each in fleet(60, slow_integers) if is_held_out(each.metadata.name)]
    some = learning + held_out[: FEWEST_HELD_OUT - 1]
    assert retrain(records_of(some), None, SHIPPED, TODAY).outcome is Outcome.TOO_FEW
    enough = learning + held_out[:FEWEST_HELD_OUT]
    assert retrain(records_of(enough), None, SHIPPED, TODAY).outcome is not Outcome.TOO_FEW


def test_the_same_nodes_are_held_out_for_ever() -> None:
    # Written down: with another rule, corrections in use would be judged on nodes that they were trained on.
    held_out = [number for number in range(20) if is_held_out(f"edge-{number}")]
    assert held_out == [1, 4, 5, 11, 13, 19]
    share = np.mean([is_held_out(f"node-{number}") for number in range(2000)])
    assert share == pytest.approx(0.3, abs=0.03)


def test_nothing_is_learnt_from_held_out_nodes() -> None:
    def odd(node: str, variant: str) -> float:
        return 3.0 if is_held_out(node) else slow_integers(node, variant)

    told, twisted = retrained(40, slow_integers).correction, retrained(40, odd).correction
    assert told is not None
    assert twisted is not None
    assert told.facts.data_digest == twisted.facts.data_digest
    rows = records_of(fleet(3, slow_integers))[0].rows
    assert np.array_equal(told.log_ratio(rows), twisted.log_ratio(rows))


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=20), st.floats(0, 1))
def test_errors_that_differ_by_chance_prove_nothing(gains: list[float], shift: float) -> None:
    second = np.array(gains) + shift
    verdict = compare(np.zeros(len(gains)), second)
    assert verdict.gain == pytest.approx(np.mean(second))
    assert not (verdict.is_proven and compare(second, np.zeros(len(gains))).is_proven)
    if min(second) <= 0 and len(gains) == 3:
        # One of three nodes that is no better is enough to doubt the other two.
        assert not verdict.is_proven


@pytest.mark.parametrize(
    "over",
    [
        {"sha256": digest("another file")},
        {"latencyP95Seconds": 0.0},
        {"samples": 0},
        {"variant": "gone"},
        {"referenceRun": "0123456789abcdef"},
        {"referenceRun": ""},
    ],
    ids=str,
)
def test_timings_that_do_not_count_teach_nothing(over: dict[str, Any]) -> None:
    run = run_of("n")
    counted = timing("exact", 0.02, run)
    odd = {**timing("small", 0.02, run), **over}
    (record,) = records_of([timed_node("n", [counted, odd], run)])
    assert [name for _, _, name in record.variants] == ["exact"]
    assert records_of([timed_node("n", [odd], run)]) == []


def test_a_timing_belongs_to_the_run_that_it_was_made_under() -> None:
    shipped, run = TenMilliseconds(), run_of("n")
    nodes = [
        timed_node("a", [timing("exact", 0.02, run)], run),
        timed_node("b", [timing("exact", 0.02, None)]),
    ]
    first, second = fleet_records(nodes, [timed_suite()], shipped)
    assert shipped.runs == [run, None]
    assert first.rows[0, FEATURE_NAMES.index("speed")] == pytest.approx(node_speed(run))
    assert np.isnan(second.rows[0, FEATURE_NAMES.index("speed")])
    assert first.log_error[0] == pytest.approx(log(2))


def test_the_digest_tells_timings_apart_and_not_the_order_of_nodes() -> None:
    nodes = fleet(5, slow_integers)
    assert records_digest(records_of(nodes)) == records_digest(records_of(nodes[::-1]))
    assert records_digest(records_of(nodes)) != records_digest(records_of(nodes[1:]))
