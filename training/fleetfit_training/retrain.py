"""Teaches the predictor what its fleet has timed, and promotes only what is proven: `fleetfit retrain`.

Whole nodes are held out, by a hash of their name, so the same ones each time: neither this correction nor the one in
use has ever learnt from them. A new correction is promoted when its mean error on them is smaller than that of what is
in use, by more than chance explains: the differences are paired by node, and their mean must exceed both a Student-t
quantile times its standard error (one-sided, 95 %) and a smallest gain worth a change. A correction in use that the
shipped model alone beats in the same way is withdrawn. Errors are absolute logarithms of measured over predicted p95.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from math import sqrt
from typing import Final

import lightgbm
import numpy as np
from fleetfit_operator.predict.fleet_correction import (
    LARGEST_LIMIT,
    CorrectionFacts,
    FleetCorrection,
)
from scipy.special import stdtrit

from fleetfit_training.fleet_timings import FloatArray, NodeRecord, records_digest

HELD_OUT_SHARE: Final = 0.3
FEWEST_NODES: Final = 8
FEWEST_HELD_OUT: Final = 3
SMALLEST_GAIN: Final = 0.01
"""Least mean improvement of the error's logarithm, 1 %, that is worth another set of choices."""
_CONFIDENCE: Final = 0.95
# Nodes that count as one shared prior of no offset: two nodes move the offset by a third of what they saw.
_PRIOR_NODES: Final = 4.0
_ROUNDS: Final = 60
_TREES: Final = {
    "objective": "huber",
    "alpha": 0.5,
    "boost_from_average": False,
    "learning_rate": 0.1,
    "num_leaves": 7,
    "min_data_in_leaf": 10,
    "min_sum_hessian_in_leaf": 8.0,  # nodes, by the weights
    "lambda_l2": 10.0,  # nodes
    "feature_fraction": 0.5,
    "max_bin": 63,
    "seed": 1,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


class Outcome(StrEnum):
    """What comes of a retraining."""

    TOO_FEW = "TooFewNodes"
    KEPT = "Kept"
    PROMOTED = "Promoted"
    WITHDRAWN = "Withdrawn"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Errors of two ways to predict on the same held-out nodes.

    Attributes:
        gain: Mean over the nodes of the second one's error less the first one's; above 0 the first is better.
        standard_error: Of that mean.
        needed: What the gain must exceed.
    """

    gain: float
    standard_error: float
    needed: float

    @property
    def is_proven(self) -> bool:
        """Whether the first one is better beyond chance and by enough."""
        return self.gain > self.needed


@dataclass(frozen=True, slots=True)
class RetrainReport:
    """What a retraining found.

    Attributes:
        outcome: What comes of it.
        reason: Why, a sentence.
        nodes: Nodes with timings that count.
        held_out_nodes: Those of them that nothing was learnt from.
        timings: Their timings, all together.
        errors: Mean absolute logarithm of the error on held-out nodes, by `shipped`, `in use` and `new`.
        comparison: The new correction against what is in use; None when none was trained.
        correction: The new correction; None when none was trained.
    """

    outcome: Outcome
    reason: str
    nodes: int
    held_out_nodes: int
    timings: int
    errors: dict[str, float]
    comparison: Comparison | None = None
    correction: FleetCorrection | None = None


def is_held_out(node: str) -> bool:
    """Return whether nothing is ever learnt from a node, by its name alone."""
    digest = hashlib.sha256(f"held out {node}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < HELD_OUT_SHARE * 2**64


def retrain(
    records: Sequence[NodeRecord], in_use: FleetCorrection | None, shipped_model: str, today: date
) -> RetrainReport:
    """Train a correction and judge it.

    Args:
        records: What the fleet has timed.
        in_use: The correction that the operator uses now, of the same shipped model; None without one.
        shipped_model: Digest of the shipped model, which the records' errors are of.
        today: The day.
    """
    held_out = [record for record in records if is_held_out(record.node)]
    train = [record for record in records if not is_held_out(record.node)]
    counts = len(records), len(held_out), sum(len(record.log_error) for record in records)
    if len(records) < FEWEST_NODES or len(held_out) < FEWEST_HELD_OUT or not train:
        reason = (
            f"{len(records)} nodes have timings that count, {len(held_out)} of them are held out; "
            f"{FEWEST_NODES} and {FEWEST_HELD_OUT} are needed"
        )
        return RetrainReport(Outcome.TOO_FEW, reason, *counts, errors={})
    shipped = _node_errors(held_out, None)
    offset, limit, booster = _fit(train)
    # The error is filled in once it is known.
    facts = CorrectionFacts(
        shipped_model=shipped_model,
        trained_on=today,
        data_digest=records_digest(train),
        nodes=len(train),
        held_out_nodes=len(held_out),
        error=0.0,
        error_without=float(np.mean(shipped)),
    )
    correction = FleetCorrection(facts, booster, offset, limit)
    new = _node_errors(held_out, correction)
    facts = facts.model_copy(update={"error": float(np.mean(new))})
    current = shipped if in_use is None else _node_errors(held_out, in_use)
    errors = {"shipped": shipped, **({} if in_use is None else {"in use": current}), "new": new}
    means = {name: float(np.mean(each)) for name, each in errors.items()}
    comparison = compare(new, current)
    outcome, reason = _verdict(means, comparison, compare(shipped, current))
    return RetrainReport(outcome, reason, *counts, means, comparison, replace(correction, facts=facts))


def compare(first: FloatArray, second: FloatArray) -> Comparison:
    """Return how much smaller the first errors are than the second ones, node by node."""
    gains = second - first
    standard_error = float(np.std(gains, ddof=1)) / sqrt(len(gains)) if len(gains) > 1 else float("inf")
    quantile = float(stdtrit(max(1, len(gains) - 1), _CONFIDENCE))
    return Comparison(float(np.mean(gains)), standard_error, max(SMALLEST_GAIN, quantile * standard_error))


def _verdict(means: dict[str, float], new: Comparison, shipped: Comparison) -> tuple[Outcome, str]:
    figures = f"{new.gain:+.3f} on held-out nodes, standard error {new.standard_error:.3f}"
    if new.is_proven and means["new"] < means["shipped"]:
        return Outcome.PROMOTED, f"it is better by {figures}"
    if "in use" in means and shipped.is_proven:
        return (
            Outcome.WITHDRAWN,
            f"the shipped model alone is better than the correction in use by {shipped.gain:+.3f}, "
            f"standard error {shipped.standard_error:.3f}",
        )
    return Outcome.KEPT, f"the new one is not proven better: gain {figures}, needed {new.needed:.3f}"


def _node_errors(records: Sequence[NodeRecord], correction: FleetCorrection | None) -> FloatArray:
    """Return the mean absolute logarithm of the error of each node."""
    if correction is None:
        return np.array([np.mean(np.abs(each.log_error)) for each in records])
    return np.array([np.mean(np.abs(each.log_error - correction.log_ratio(each.rows))) for each in records])


def _fit(records: Sequence[NodeRecord]) -> tuple[float, float, lightgbm.Booster]:
    """Return the offset, the limit and the trees; all shrink to nothing where there is little data."""
    rows = np.concatenate([record.rows for record in records])
    log_error = np.concatenate([record.log_error for record in records])
    usual = float(np.median([np.median(record.log_error) for record in records]))
    # Trees begin where a split helps, so an error that all share needs a term of its own.
    offset = usual * len(records) / (len(records) + _PRIOR_NODES)
    limit = min(LARGEST_LIMIT, float(np.quantile(np.abs(log_error), _CONFIDENCE)))
    # A node has one voice: its timings share what is particular to it, and trees would learn that by heart.
    weights = np.concatenate([np.full(len(each.log_error), 1.0 / len(each.log_error)) for each in records])
    data = lightgbm.Dataset(rows, log_error - offset, weight=weights)
    booster = lightgbm.train(_TREES, data, num_boost_round=_ROUNDS)
    return offset, limit, booster
