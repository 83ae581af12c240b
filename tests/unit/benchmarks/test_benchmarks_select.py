"""The simulation on made-up devices: that it runs, and that what it counts is what it says."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.select.asking import measure_asking
from benchmarks.select.devices import Devices
from benchmarks.select.flips import spread
from benchmarks.select.forging import ATTACKS, measure_forging
from benchmarks.select.rated_fleet import RatedFleet
from benchmarks.select.regret import OWN, measure_regret
from benchmarks.select.scoring import best_variants, make_workload
from benchmarks.select.users import USERS_PER_NODE, Taste, draw_users


@pytest.fixture
def devices() -> Devices:
    names = ("1080ti_1", "pixel3", "other")
    latency_s = np.array([[1.0], [2.0], [4.0]]) * np.array([0.003, 0.006, 0.012, 0.02])
    return Devices(names, np.array([0.55, 0.65, 0.7, 0.73]), latency_s)


def test_users_like_what_their_taste_says(devices: Devices) -> None:
    rng = np.random.default_rng(0)
    patient, hurried = (draw_users(devices, taste, rng).mean_qoe for taste in Taste)
    assert patient.shape == devices.shape
    assert (patient.argmax(axis=1) >= hurried.argmax(axis=1)).all()
    assert patient.argmax(axis=1)[2] > hurried.argmax(axis=1)[2]


def test_a_fleet_whose_users_rate_comes_nearer_to_what_they_like(devices: Devices) -> None:
    regret = measure_regret(devices, seed=100, steps=60)
    assert set(regret.curves) == {
        OWN, "linucb", "epsilon_greedy", "nearest_device", "best_single", "prior_only"
    }  # fmt: skip
    for curve in regret.curves.values():
        assert len(curve) == 120
        assert (np.diff(curve) >= -1e-12).all()
    assert regret.curves[OWN][-1] < regret.curves["prior_only"][-1]
    assert (regret.last_qoe[OWN] <= regret.last_qoe["oracle"] + 1e-12).all()


def test_users_of_one_node_have_their_own_sources(devices: Devices) -> None:
    rated = RatedFleet(replace(devices, names=("one",), latency_s=devices.latency_s[:1]), Taste.PATIENT, 100)
    for _ in range(30):
        rated.rate(0)
    (summary,) = rated.books[0].summaries(rated.now_s)
    assert 1 < summary.voices <= USERS_PER_NODE


def test_an_attack_is_undone_and_flips_nothing(devices: Devices) -> None:
    found = measure_forging(devices, seed=100, targets=1)
    assert set(found) == {*ATTACKS, *(f"{name}, near-tie" for name in ATTACKS)}
    assert all(each.trials == 1 for each in found.values())
    assert found["late"].accepted == 0
    assert found["repeat"].accepted == 1
    assert sum(each.flipped for each in found.values()) == 0


def test_no_more_are_asked_than_allowed(devices: Devices) -> None:
    asked = measure_asking(devices, seed=100, passes=8)
    assert 0 < asked.share <= 0.08
    assert asked.qoe_all <= asked.qoe_oracle


def test_identical_nodes_get_the_same_and_nothing_infeasible() -> None:
    work = make_workload(seed=1, kinds=50)
    best = best_variants(work)
    assert best.shape == (50,)
    np.testing.assert_array_equal(best, best_variants(work))
    chosen = best >= 0
    assert (work.size_bytes[best[chosen]] <= work.memory_bytes[chosen, 0]).all()


def test_a_spread_counts_those_that_never_changed() -> None:
    assert spread([]) == {"nodes": 0.0}
    found = spread([10, 20, 60])
    assert (found["median"], found["max"], found["not_changed"]) == (20.0, 60.0, 1.0)
