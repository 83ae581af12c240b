"""What users like, learnt from their ratings: an `Opinion` for the choice of one deployment.

1. The formula's weights are corrected (`preference`): few numbers, so that few ratings move all nodes alike.
2. LightGBM learns where that still misses (`misfit`): thresholds and preferences that no weight expresses.

Both move away from the formula only as evidence grows, both are monotone in each aspect, and so is their sum. It is
made for ratings of which some are forged:

- a node has at most `NODE_VOICES` voices, however many of its users speak, and of them a source that speaks on many
  variants at most `_SOURCE_VOICES`;
- `QoeEstimate.sway` says how much one source could have changed of a difference. A change that rests on ratings and
  gains more than that would be right without any single source.

Pure: the same ratings give the same opinion.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from fleetfit_operator.fleet.choice import QoeEstimate, QoeFacts
from fleetfit_operator.predict.ensemble import FloatArray, IntArray
from fleetfit_operator.predict.influence import Influence, LearntSway
from fleetfit_operator.predict.misfit import GROUPS, Features, GroupRatings, Misfit, learn_misfit
from fleetfit_operator.predict.preference import VOICE_SIGMA, Aspects, Preference, Weights, fit_preference

NODE_VOICES: Final = 16.0
"""Most voices of one node."""
_SOURCE_VOICES: Final = 3.0
"""Most voices of one source, which may speak on every variant of its node."""
_LEAST_VOICES: Final = 1e-6
_SHAPE_SIGMA: Final = 0.04
"""How much users differ from the formula with their own weights, before there are ratings nearby."""


@dataclass(frozen=True, slots=True)
class Rated:
    """What the users of a node said of one variant.

    Attributes:
        node: Name of the node.
        facts: The variant on the node, with the latency that these users met.
        score: Mean of their scores, 0 to 1.
        voices: Number of sources, the older ones in part.
    """

    node: str
    facts: QoeFacts
    score: float
    voices: float


@dataclass(frozen=True, slots=True)
class FactColumns:
    """Facts of many variants on many nodes; columns of any shape that broadcast.

    Attributes:
        accuracy_share: Accuracy over the suite's best, at most 1.
        latency_ratio: Latency over target.
        energy_share: As in `QoeFacts`.
        memory_share: As in `QoeFacts`.
        prior: As in `QoeFacts`.
    """

    accuracy_share: FloatArray
    latency_ratio: FloatArray
    energy_share: FloatArray
    memory_share: FloatArray
    prior: FloatArray

    @classmethod
    def of(cls, facts: Sequence[QoeFacts]) -> "FactColumns":
        """Return facts as columns."""
        rows = np.array(
            [
                (
                    each.accuracy / each.best_accuracy if each.best_accuracy > 0 else 1.0,
                    each.latency_s / each.latency_target_s,
                    each.energy_share,
                    each.memory_share,
                    each.prior,
                )
                for each in facts
            ],
            dtype=float,
        ).reshape(-1, 5)
        return cls(np.minimum(rows[:, 0], 1.0), *rows[:, 1:].T)

    def features(self) -> Features:
        """Return what trees see."""
        return self.accuracy_share, self.latency_ratio, self.energy_share, self.memory_share

    def aspects(self, weights: Weights) -> Aspects:
        """Return what the formula sees."""
        shares = (self.accuracy_share, self.energy_share, self.memory_share)
        return Aspects.of(weights, self.prior, self.latency_ratio, shares)


class LearntOpinion:
    """An `Opinion` that rests on ratings.

    Args:
        weights: Weights of the formula.
        preference: The corrected weights.
        misfit: What they do not express.
        influence: What one source can have changed of the corrected weights.
        prior_strength: Voices that weigh as much as the formula.
    """

    def __init__(
        self,
        weights: Weights,
        preference: Preference,
        misfit: Misfit,
        influence: Influence,
        prior_strength: float,
    ) -> None:
        self.weights = weights
        self.preference = preference
        self.misfit = misfit
        self._prior_strength = prior_strength
        self._influence = influence

    def adjusted(self, facts: Sequence[QoeFacts]) -> list[QoeEstimate]:
        """Return the belief on every entry, in the order given."""
        if not facts:
            return []
        columns = FactColumns.of(facts)
        aspects = columns.aspects(self.weights)
        qoe = self.preference.qoe(aspects)
        slopes = self.preference.slopes(aspects, qoe)
        found = self.misfit.found(columns.features())
        shape = _SHAPE_SIGMA**2 * self._prior_strength / (self._prior_strength + found.voices)
        sigma = np.sqrt(VOICE_SIGMA**2 * self.preference.leverage(slopes) + shape)
        mean = np.clip(qoe + found.correction, 0.0, 1.0)
        return [
            QoeEstimate(
                float(mean[i]),
                float(sigma[i]),
                float(found.voices[i]),
                LearntSway(
                    self._influence,
                    slopes[i],
                    int(found.cell[i]),
                    float(found.influence[i]),
                    float(shape[i]),
                ),
            )
            for i in range(len(facts))
        ]

    def means(self, columns: FactColumns) -> FloatArray:
        """Return the expected QoE alone, the cheapest way for many."""
        qoe = self.preference.qoe(columns.aspects(self.weights))
        return np.clip(qoe + self.misfit.correction(columns.features()), 0.0, 1.0)


def learn_opinion(rated: Sequence[Rated], weights: Weights, prior_strength: float) -> LearntOpinion | None:
    """Return what the ratings tell; None when there are none, the formula then holds as it is.

    Args:
        rated: What users said, one entry per node and variant.
        weights: Weights of the formula.
        prior_strength: Voices that weigh as much as the formula.
    """
    heard = sorted((each for each in rated if each.voices > 0), key=_order)
    if not heard:
        return None
    columns = FactColumns.of([each.facts for each in heard])
    aspects = columns.aspects(weights)
    scores = np.array([each.score for each in heard])
    shares = _voice_shares(heard)
    voices = np.maximum(np.array([each.voices for each in heard]) * shares, _LEAST_VOICES)
    preference = fit_preference(aspects, scores, voices, prior_strength)
    features = np.stack(columns.features(), axis=1)
    expected = preference.qoe(aspects)
    unlevelled = scores / preference.level
    misfit = learn_misfit(
        [
            GroupRatings(features[rows], expected[rows], unlevelled[rows], voices[rows])
            for rows in _groups(heard)
        ],
        prior_strength,
    )
    nodes = [each.node for each in heard]
    total = float(voices.sum()) + prior_strength
    influence = Influence(preference, aspects, nodes, np.minimum(shares, voices), total)
    return LearntOpinion(weights, preference, misfit, influence, prior_strength)


def _order(rated: Rated) -> tuple[str, float, float, float, float, float]:
    """Return a key that makes the order of nodes and variants irrelevant."""
    facts = rated.facts
    return (rated.node, facts.accuracy, facts.latency_s, facts.memory_share, rated.score, rated.voices)


def _voice_shares(heard: Sequence[Rated]) -> FloatArray:
    """Return what part of the voices of each entry counts.

    A node has no more than its share. On it the variants of which most users speak come first, until a source that
    speaks of each of them has its share: a liar cannot make up for one voice by speaking of many variants.
    """
    voices: dict[str, float] = defaultdict(float)
    of_one_source: dict[str, float] = defaultdict(float)
    shares = np.zeros(len(heard))
    for index in sorted(range(len(heard)), key=lambda index: -heard[index].voices):
        node, own = heard[index].node, min(1.0, heard[index].voices)
        shares[index] = min(1.0, max(0.0, _SOURCE_VOICES - of_one_source[node]) / own)
        of_one_source[node] += own
        voices[node] += shares[index] * heard[index].voices
    node_shares = [min(1.0, NODE_VOICES / voices[each.node]) for each in heard]
    return np.asarray(shares * node_shares)


def _groups(heard: Sequence[Rated]) -> list[IntArray]:
    """Return the rows of each group of nodes that has any; a node's group depends on its name alone."""
    groups = np.array([_digest(each.node) % GROUPS for each in heard])
    return [np.flatnonzero(groups == group) for group in range(GROUPS) if (groups == group).any()]


def _digest(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest())
