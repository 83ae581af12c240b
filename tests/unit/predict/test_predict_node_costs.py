"""A node's prices and tail come from its reference run."""

import numpy as np
import pytest
from fleetfit_operator.predict.cost_terms import TERM_NAMES, FloatArray
from fleetfit_operator.predict.node_costs import (
    PopulationCosts,
    ReferenceTimes,
    TailCurve,
    fit_node,
    fit_prices,
    learn_prices,
    usual_node,
)
from hypothesis import given
from hypothesis import strategies as st

TERMS = len(TERM_NAMES)
POPULATION = PopulationCosts(prices=tuple([1e-6] * TERMS), tail_ratio=1.2, ridge=0.1)
times = st.floats(1e-6, 10.0)


def reference(mean_s: FloatArray, p95_s: FloatArray | None = None) -> ReferenceTimes:
    terms = np.random.default_rng(1).integers(0, 50, (len(mean_s), TERMS)).astype(np.float64) + 1.0
    return ReferenceTimes(terms, mean_s, mean_s, mean_s if p95_s is None else p95_s, threads=1)


def test_a_node_twice_as_slow_has_prices_twice_as_high() -> None:
    terms = reference(np.ones(10)).terms
    usual_s = terms @ np.array(POPULATION.prices)

    node = fit_node(reference(2 * usual_s), POPULATION)

    assert node.mean_s(terms) == pytest.approx(2 * usual_s)
    assert node.speed == pytest.approx(np.log(2))


def test_the_node_s_own_price_of_one_term_shows() -> None:
    prices = np.array(POPULATION.prices)
    slow_in_one = prices.copy()
    slow_in_one[3] *= 20
    # Ten networks, each of which needs one term above all.
    terms = 1.0 + 1000 * np.eye(10, TERMS)
    mean_s = terms @ slow_in_one

    node = fit_node(ReferenceTimes(terms, mean_s, mean_s, mean_s, threads=1), POPULATION)

    assert node.prices[3] > 4 * np.median(node.prices)


def test_population_prices_are_found_again() -> None:
    rng = np.random.default_rng(7)
    prices = rng.uniform(1e-7, 1e-6, TERMS)
    terms = rng.lognormal(3.0, 2.0, (400, TERMS))

    assert learn_prices(terms, terms @ prices) == pytest.approx(prices, rel=0.05)


@given(st.lists(times, min_size=10, max_size=10))
def test_prices_are_positive_and_no_worse_than_the_usual_ones(mean_times: list[float]) -> None:
    mean_s = np.array(mean_times)
    terms = reference(mean_s).terms
    usual = np.array(POPULATION.prices)

    prices = fit_prices(terms, mean_s, usual, 0.1)

    def loss(candidate: FloatArray) -> float:
        misfit = np.mean((np.log(terms @ candidate) - np.log(mean_s)) ** 2)
        return float(misfit + 0.1 * np.sum(np.log(candidate / usual) ** 2))

    assert np.all(prices > 0)
    assert loss(prices) <= loss(usual) + 1e-9


@given(st.lists(st.tuples(times, times), min_size=1, max_size=12, unique_by=lambda point: point[0]))
def test_a_tail_rises_with_the_mean(points: list[tuple[float, float]]) -> None:
    curve = TailCurve.through(np.array([m for m, _ in points]), np.array([p for _, p in points]))

    tails = curve.p95_s(np.geomspace(1e-8, 1e4, 300))

    assert np.all(np.isfinite(tails))
    assert np.all(np.diff(tails) >= -1e-9 * tails[1:])


def test_the_step_of_a_quota_is_kept() -> None:
    mean_s = np.array([0.001, 0.002, 0.004, 0.008])
    p95_s = np.array([0.0001, 0.0002, 0.030, 0.034])

    curve = TailCurve.through(mean_s, p95_s)

    assert curve.p95_s(mean_s) == pytest.approx(p95_s)
    assert curve.p95_s(np.array([0.0005]))[0] == pytest.approx(0.00005)
    # Long work meets the same pause once more than it has to.
    assert curve.p95_s(np.array([0.1]))[0] == pytest.approx(0.126)


def test_the_usual_node_has_the_usual_tail() -> None:
    node = usual_node(POPULATION)

    assert node.tail.p95_s(np.array([1e-5, 1.0, 50.0])) == pytest.approx([1.2e-5, 1.2, 50.2])
