"""What is learnt from ratings: exactly the formula without any, monotone, and never by one source alone."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from fleetfit_operator.fleet.choice import QoeEstimate, QoeFacts
from fleetfit_operator.predict.preference import Weights
from fleetfit_operator.predict.qoe_model import FactColumns, LearntOpinion, Rated, learn_opinion
from hypothesis import given, settings
from hypothesis import strategies as st

WEIGHTS = Weights(accuracy=2.0, latency=1.0, energy=0.5, memory=0.0)
STRENGTH = 12.0
TARGET_S = 0.1
Taste = Callable[[float, float], float]


def facts(
    accuracy: float, latency_s: float, energy_share: float = 1.0, memory_share: float = 1.0
) -> QoeFacts:
    share = accuracy / 0.9
    prior = share**WEIGHTS.accuracy * min(1.0, TARGET_S / latency_s) * energy_share**WEIGHTS.energy
    return QoeFacts(accuracy, 0.9, latency_s, TARGET_S, energy_share, memory_share, prior)


def patient(accuracy: float, latency_s: float) -> float:
    """Like by far what is accurate, whatever it takes."""
    return (accuracy / 0.9) ** 6 * min(1.0, TARGET_S / latency_s) ** 0.3


ARMS = [facts(0.9 - 0.03 * step, 0.4 * 0.75**step) for step in range(8)]


def said(
    nodes: int, voices: float, taste: Taste = patient, seed: int = 0, noise: float = 0.05
) -> list[Rated]:
    """What users of some nodes, who share a taste, said of two variants each."""
    rng = np.random.default_rng(seed)
    rated = []
    for node in range(nodes):
        speed = float(np.exp(rng.normal(0.0, 0.4)))
        for index in rng.choice(len(ARMS), 2, replace=False):
            arm = facts(ARMS[index].accuracy, ARMS[index].latency_s * speed)
            score = float(np.clip(taste(arm.accuracy, arm.latency_s) + rng.normal(0.0, noise), 0.0, 1.0))
            rated.append(Rated(f"n{node}", arm, score, voices))
    return rated


def learn(rated: Sequence[Rated], strength: float = STRENGTH) -> LearntOpinion:
    opinion = learn_opinion(rated, WEIGHTS, strength)
    assert opinion is not None
    return opinion


def means(estimates: Sequence[QoeEstimate]) -> list[float]:
    return [estimate.mean for estimate in estimates]


def test_without_ratings_there_is_no_opinion() -> None:
    assert learn_opinion([], WEIGHTS, STRENGTH) is None
    assert learn_opinion([Rated("n1", ARMS[0], 0.1, 0.0)], WEIGHTS, STRENGTH) is None


def test_ratings_that_agree_with_the_formula_leave_it_as_it_is() -> None:
    rated = [Rated(f"n{node}", arm, arm.prior, 10.0) for node in range(9) for arm in ARMS]
    assert means(learn(rated).adjusted(ARMS)) == pytest.approx([arm.prior for arm in ARMS], abs=1e-6)


def test_nothing_is_asked_nothing_is_answered() -> None:
    assert learn(said(3, 2.0)).adjusted([]) == []


def test_the_more_users_agree_the_nearer_the_opinion_comes_to_them() -> None:
    truth = np.array([patient(arm.accuracy, arm.latency_s) for arm in ARMS])
    errors = [
        float(np.abs(np.array(means(learn(said(nodes, voices, noise=0.0)).adjusted(ARMS))) - truth).mean())
        for nodes, voices in ((1, 0.5), (3, 2.0), (20, 4.0), (200, 10.0))
    ]
    by_formula = float(np.abs(np.array([arm.prior for arm in ARMS]) - truth).mean())
    assert by_formula > errors[0] > errors[1] > errors[2] > errors[3]
    assert errors[3] < 0.02


def test_what_no_weight_expresses_is_learnt_by_trees() -> None:
    def impatient_above_a_step(accuracy: float, latency_s: float) -> float:
        return (accuracy / 0.9) ** 2 * (0.9 if latency_s < 0.15 else 0.2)

    opinion = learn(said(400, 8.0, impatient_above_a_step, noise=0.0))
    quick, slow = facts(0.8, 0.14), facts(0.8, 0.2)
    weights_alone = opinion.preference.qoe(FactColumns.of([quick, slow]).aspects(WEIGHTS))
    learnt = means(opinion.adjusted([quick, slow]))
    assert learnt[0] - learnt[1] > float(weights_alone[0] - weights_alone[1]) + 0.1


def test_uncertainty_shrinks_with_voices_and_is_largest_far_from_the_ratings() -> None:
    few, many = learn(said(3, 1.0)).adjusted(ARMS), learn(said(100, 10.0)).adjusted(ARMS)
    assert all(after.sigma < before.sigma for before, after in zip(few, many, strict=True))
    assert all(after.voices > before.voices for before, after in zip(few, many, strict=True))


@pytest.mark.parametrize("level", [0.7, 0.8, 0.9])
def test_how_high_raters_rate_in_general_changes_no_order(level: float) -> None:
    opinion = learn(said(60, 8.0, lambda a, s: level * facts(a, s).prior, noise=0.0))
    estimates = means(opinion.adjusted(ARMS))
    order = sorted(range(len(ARMS)), key=lambda index: ARMS[index].prior)
    assert sorted(range(len(ARMS)), key=lambda index: estimates[index]) == order
    assert abs(opinion.preference.level - level) < abs(1.0 - level)


def test_nodes_and_variants_come_in_any_order() -> None:
    rated = said(12, 5.0)
    assert means(learn(rated).adjusted(ARMS)) == means(learn(rated[::-1]).adjusted(ARMS))


def test_a_node_has_a_bounded_number_of_voices() -> None:
    loud = Rated("loud", ARMS[0], 0.0, 16.0)
    crowd = said(10, 5.0)
    assert means(learn([*crowd, loud]).adjusted(ARMS)) == pytest.approx(
        means(learn([*crowd, replace(loud, voices=10_000.0)]).adjusted(ARMS))
    )


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    nodes=st.integers(1, 30),
    voices=st.floats(0.1, 30.0),
    accuracy=st.floats(0.5, 0.89),
    latency_s=st.floats(0.01, 1.0),
    energy_share=st.floats(0.2, 0.99),
)
def test_no_aspect_that_gets_better_makes_the_opinion_worse(
    seed: int, nodes: int, voices: float, accuracy: float, latency_s: float, energy_share: float
) -> None:
    rng = np.random.default_rng(seed)
    table = rng.uniform(0.0, 1.0, 2000)
    opinion = learn(said(nodes, voices, lambda a, s: float(table[int(1000 * a + 777 * s) % 2000]), seed))
    worse = facts(accuracy, latency_s, energy_share, 0.5)
    better = [
        facts(accuracy + 0.01, latency_s, energy_share, 0.5),
        facts(accuracy, latency_s * 0.9, energy_share, 0.5),
        facts(accuracy, latency_s, energy_share + 0.01, 0.5),
        facts(accuracy, latency_s, energy_share, 0.6),
    ]
    base, *others = means(opinion.adjusted([worse, *better]))
    assert all(0.0 <= other <= 1.0 for other in others)
    assert all(other >= base - 1e-9 for other in others)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    nodes=st.integers(3, 20),
    voices=st.floats(1.0, 15.0),
    variants=st.integers(1, 8),
    score=st.sampled_from([0.0, 1.0]),
)
def test_no_single_source_moves_a_difference_by_more_than_the_sway(
    seed: int, nodes: int, voices: float, variants: int, score: float
) -> None:
    """One source says its worst of some variants on one node; the opinion with it must own up to what it did."""
    honest = said(nodes, voices, seed=seed)
    target = f"n{seed % nodes}"
    forged = [
        replace(each, score=(each.score * each.voices + score) / (each.voices + 1), voices=each.voices + 1)
        if each.node == target
        else each
        for each in honest
    ]
    known = {each.facts.accuracy for each in honest if each.node == target}
    forged += [Rated(target, arm, 1.0 - score, 1.0) for arm in ARMS[:variants] if arm.accuracy not in known]
    with_it, without = learn(forged).adjusted(ARMS), means(learn(honest).adjusted(ARMS))
    for kept in range(len(ARMS)):
        for rival in range(len(ARMS)):
            sway_kept, sway_rival = with_it[kept].sway, with_it[rival].sway
            assert sway_kept is not None
            assert sway_rival is not None
            moved = (with_it[rival].mean - with_it[kept].mean) - (without[rival] - without[kept])
            assert moved <= sway_rival.source_against(sway_kept) + 0.02  # the least hysteresis that is usual


def test_alike_variants_are_surer_against_each_other_than_each_alone() -> None:
    first, second = learn(said(5, 3.0)).adjusted([facts(0.8, 0.2), facts(0.8, 0.21)])
    assert first.sway is not None
    assert second.sway is not None
    apart = first.sigma**2 + second.sigma**2 - second.sway.less_uncertain_by(first.sway)
    assert apart >= -1e-12
    assert apart < 0.25 * (first.sigma**2 + second.sigma**2)


def test_beliefs_of_different_passes_are_not_compared() -> None:
    (first,), (second,) = learn(said(3, 3.0)).adjusted(ARMS[:1]), learn(said(4, 3.0)).adjusted(ARMS[:1])
    assert first.sway is not None
    assert second.sway is not None
    with pytest.raises(ValueError, match="passes"):
        first.sway.source_against(second.sway)


def test_many_at_once_are_answered_like_each_alone() -> None:
    opinion = learn(said(60, 8.0))
    latency_s = np.random.default_rng(1).lognormal(-2.0, 0.5, (50, len(ARMS)))
    accuracy = np.array([arm.accuracy for arm in ARMS])
    prior = (accuracy / 0.9) ** 2 * np.minimum(1.0, TARGET_S / latency_s)
    ones = np.ones(())
    batch = opinion.means(FactColumns(accuracy / 0.9, latency_s / TARGET_S, ones, ones, prior))
    for node in range(0, 50, 7):
        alone = opinion.adjusted(
            [facts(float(a), float(s)) for a, s in zip(accuracy, latency_s[node], strict=True)]
        )
        np.testing.assert_allclose(batch[node], means(alone), atol=1e-12)
