"""Where users' ratings stay away from the formula, whatever its weights: learnt by LightGBM, robust against liars.

The nodes are parted into three groups, a model is trained on each, and the middle one of their three answers counts.
Trees change their shape with a single row, so that no bound holds for one model; but a source sits on one node, and
moves the middle answer at most to the next. Nothing is corrected before two groups of nodes ask for it.

All models are made of few small trees and constant between thresholds, so that the middle is a table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import lightgbm
import numpy as np

from fleetfit_operator.predict.ensemble import Ensemble, FloatArray, IntArray, Lattice

Features = tuple[FloatArray, FloatArray, FloatArray, FloatArray]
"""Accuracy share, latency over target, energy share and memory share; they broadcast."""

GROUPS: Final = 3
_MONOTONE: Final = [1, -1, 1, 1]
_LARGEST_CORRECTION = 0.2
_TREES = 8
_STRENGTH = 16.0  # a shape takes as many times the voices that weights take
_TRAINING: Final[dict[str, Any]] = {
    "objective": "regression",
    "learning_rate": 0.3,
    "num_leaves": 4,
    "min_data_in_leaf": 1,
    "min_sum_hessian_in_leaf": 4.0,  # voices
    "min_data_in_bin": 1,
    "max_bin": 31,
    "monotone_constraints": _MONOTONE,
    "boost_from_average": False,
    "feature_pre_filter": False,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "seed": 0,
    "verbosity": -1,
}


@dataclass(frozen=True, slots=True)
class GroupRatings:
    """What the nodes of one group say.

    Attributes:
        features: Rated variants on their nodes (rows x features).
        expected: QoE by the formula as all ratings correct it.
        scores: Ratings without the raters' common level.
        voices: Weights.
    """

    features: FloatArray
    expected: FloatArray
    scores: FloatArray
    voices: FloatArray


@dataclass(frozen=True, slots=True)
class Found:
    """What is known where it was asked.

    Attributes:
        cell: Number of the cell of the lattice.
        correction: To be added to the QoE.
        influence: How far one source could have moved the correction.
        voices: Weight of the ratings nearby.
    """

    cell: IntArray
    correction: FloatArray
    influence: FloatArray
    voices: FloatArray


class Misfit:
    """The middle answer of the groups.

    Args:
        ensembles: A model per group that has ratings, at most three.
    """

    def __init__(self, ensembles: Sequence[Ensemble]) -> None:
        self._lattice = Lattice.of(ensembles)
        rows = self._lattice.representatives()
        answers = np.zeros((GROUPS, len(rows)))
        for index, ensemble in enumerate(ensembles):
            answers[index] = np.clip(ensemble.values(rows), -_LARGEST_CORRECTION, _LARGEST_CORRECTION)
        low, self._middle, high = np.sort(answers, axis=0)
        self._influence = np.maximum(high - self._middle, self._middle - low)
        self._voices = sum((ensemble.weights(rows) for ensemble in ensembles), np.zeros(len(rows)))

    def correction(self, features: Features) -> FloatArray:
        """Return what is to be added to the QoE by the formula."""
        correction: FloatArray = self._middle[self._lattice.cell(features)]
        return correction

    def found(self, features: Features) -> Found:
        """Return the same with what is known of it; features are one-dimensional."""
        cell = np.broadcast_to(self._lattice.cell(features), features[0].shape)
        return Found(cell, self._middle[cell], self._influence[cell], self._voices[cell])


def learn_misfit(groups: Sequence[GroupRatings], prior_strength: float) -> Misfit:
    """Return where the groups' ratings stay away from the formula.

    Args:
        groups: At most three groups of nodes that share no node.
        prior_strength: Voices that weigh as much as the formula.
    """
    return Misfit([Ensemble(train_group(group, prior_strength)) for group in groups])


def train_group(group: GroupRatings, prior_strength: float) -> lightgbm.Booster:
    """Return the trees of one group."""
    parameters = {**_TRAINING, "lambda_l2": _STRENGTH * prior_strength}
    ratings = lightgbm.Dataset(
        group.features,
        group.scores,
        weight=group.voices,
        init_score=group.expected,
        params=parameters,
        free_raw_data=False,
    )
    return lightgbm.train(parameters, ratings, num_boost_round=_TREES)
