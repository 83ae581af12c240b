"""The formula, its mean over an uncertain latency, and that arrays of any shape give the same."""

import math
from typing import Any

import numpy as np
import pytest
from fleetfit_api.qoe import PROFILE_WEIGHTS, Qoe, QoeProfile
from fleetfit_operator.select.qoe import (
    QoeTerms,
    expected_qoe,
    qoe_terms,
    quality_of_experience,
    target_share,
)
from hypothesis import given, settings
from hypothesis import strategies as st

TARGET_MS = 5.0
LATENCY_S = st.floats(1e-6, 10.0)
SIGMA = st.floats(0.0, 2.0)
WEIGHT = st.floats(0.0, 10.0)


def terms(best_accuracy: float = 1.0, **qoe: Any) -> QoeTerms:
    return qoe_terms(Qoe.model_validate({"latencyTargetMilliseconds": TARGET_MS, **qoe}), best_accuracy)


def mean_and_sigma(latency_s: float, log_sigma: float, weight: float) -> tuple[float, float]:
    """The same by brute force: a fine sum over the distribution."""
    steps = np.linspace(-10, 10, 200_001)
    density = np.exp(-0.5 * steps * steps)
    latencies_s = latency_s * np.exp(log_sigma * steps)
    share = np.minimum(1.0, TARGET_MS / 1000 / latencies_s) ** weight
    mean = float((share * density).sum() / density.sum())
    return mean, math.sqrt(max(0.0, float((share**2 * density).sum() / density.sum()) - mean**2))


@pytest.mark.parametrize(
    ("profile", "weights"),
    [
        ("balanced", (1.0, 1.0, 0.0, 0.0)),
        ("accurate", (3.0, 0.5, 0.0, 0.0)),
        ("responsive", (1.0, 2.0, 0.0, 0.0)),
        ("frugal", (1.0, 1.0, 0.5, 0.25)),
    ],
)
def test_a_profile_sets_the_weights_and_single_ones_override_it(
    profile: str, weights: tuple[float, ...]
) -> None:
    found = terms(profile=profile)
    assert (
        found.accuracy_weight, found.latency_weight, found.energy_weight, found.memory_weight
    ) == weights  # fmt: skip
    overridden = terms(profile=profile, weights={"latency": 0.25, "energy": 0})
    assert (overridden.accuracy_weight, overridden.latency_weight) == (weights[0], 0.25)
    assert (overridden.energy_weight, overridden.memory_weight) == (0.0, weights[3])


def test_the_description_of_the_field_says_what_every_profile_means() -> None:
    described = Qoe.model_fields["profile"].description
    assert described is not None
    assert set(PROFILE_WEIGHTS) == set(QoeProfile)
    assert "frugal (accuracy 1, latency 1, energy 0.5, memory 0.25)" in described


def test_at_the_expected_latency_it_is_the_formula() -> None:
    qoe = Qoe.model_validate(
        {"latencyTargetMilliseconds": 5, "weights": {"accuracy": 2, "latency": 0.5, "energy": 0, "memory": 0}}
    )
    assert quality_of_experience(qoe, 0.49, 0.98, 0.02) == pytest.approx(0.25 * 0.5)
    assert quality_of_experience(qoe, 0.98, 0.98, 0.001) == 1.0
    assert quality_of_experience(qoe, 0.0, 0.0, 0.001) == 1.0
    assert quality_of_experience(qoe, 0.98, 0.98, math.inf) == 0.0


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0, 2.0, 10.0])
@pytest.mark.parametrize(
    ("latency_ms", "log_sigma"), [(2, 0.3), (4.9, 0.05), (5, 0.5), (6, 1.0), (40, 0.1), (40, 2.0)]
)
def test_the_mean_over_the_spread_is_exact(weight: float, latency_ms: float, log_sigma: float) -> None:
    found = expected_qoe(terms(weights={"latency": weight}), latency_ms / 1000, log_sigma, 1.0)
    mean, sigma = mean_and_sigma(latency_ms / 1000, log_sigma, weight)
    assert float(found.mean) == pytest.approx(mean, abs=2e-6)
    assert float(found.sigma) == pytest.approx(sigma, abs=2e-5)


def test_uncertainty_at_the_target_costs_qoe() -> None:
    sure, unsure = (expected_qoe(terms(), 0.005, sigma, 1.0) for sigma in (0.0, 0.2))
    assert (float(sure.mean), float(sure.sigma)) == (1.0, 0.0)
    assert float(unsure.mean) < 0.95
    assert float(unsure.sigma) > 0.05


def test_energy_and_memory_count_by_their_weights() -> None:
    frugal = terms(profile="frugal")
    found = expected_qoe(
        frugal, [0.001, 0.001], 0.0, 1.0, energy_share=[1.0, 0.25], memory_share=[1.0, 0.0625]
    )
    assert list(found.mean) == pytest.approx([1.0, 0.5 * 0.5])
    without = expected_qoe(terms(), 0.001, 0.0, 1.0, energy_share=0.25, memory_share=0.0625)
    assert float(without.mean) == 1.0


@pytest.mark.parametrize(
    ("costs", "target", "shares"),
    [
        ([2.0, 4.0, 8.0], None, [1.0, 0.5, 0.25]),
        ([2.0, 4.0, 8.0], 4.0, [1.0, 1.0, 0.5]),
        ([2.0, math.nan, 8.0], None, [1.0, 1.0, 1.0]),
        ([2.0, math.nan, 8.0], 1.0, [1.0, 1.0, 1.0]),
        ([0.0, 1.0], 1.0, [1.0, 1.0]),
    ],
)
def test_the_share_of_a_target_is_of_the_thriftiest_where_none_is_set_and_left_out_where_unknown(
    costs: list[float], target: float | None, shares: list[float]
) -> None:
    assert list(target_share(costs, target)) == shares
    assert [list(row) for row in target_share([costs, costs], target)] == [shares, shares]


@settings(deadline=None)
@given(st.lists(st.tuples(LATENCY_S, SIGMA, st.floats(0, 1)), min_size=2, max_size=20), WEIGHT)
def test_many_nodes_at_once_give_the_same_as_each_alone(
    entries: list[tuple[float, float, float]], weight: float
) -> None:
    rules = terms(0.9, weights={"latency": weight})
    latency_s, sigma, accuracy = (np.array(column) for column in zip(*entries, strict=True))
    rows = expected_qoe(rules, np.tile(latency_s, (3, 1)), np.tile(sigma, (3, 1)), accuracy)
    alone = expected_qoe(rules, latency_s, sigma, accuracy)
    for row in range(3):
        assert np.array_equal(rows.mean[row], alone.mean)
        assert np.array_equal(rows.sigma[row], alone.sigma)


@settings(deadline=None)
@given(LATENCY_S, SIGMA, WEIGHT, st.floats(1.0, 100.0))
def test_it_falls_with_latency_rises_with_the_target_and_stays_within_its_scale(
    latency_s: float, log_sigma: float, weight: float, factor: float
) -> None:
    fast, slow = (
        expected_qoe(terms(weights={"latency": weight}), each, log_sigma, 1.0)
        for each in (latency_s, latency_s * factor)
    )
    loose = expected_qoe(
        terms(weights={"latency": weight}, latencyTargetMilliseconds=TARGET_MS * factor),
        latency_s,
        log_sigma,
        1.0,
    )
    assert 0 <= float(slow.mean) <= float(fast.mean) + 1e-6
    assert float(loose.mean) >= float(fast.mean) - 1e-6
    assert float(fast.mean) <= 1.0
    assert 0 <= float(fast.sigma) <= 0.5
