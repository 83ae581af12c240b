"""How unlike the nodes of one hardware class are: estimated from what they timed, drawn to an assumption.

Part of the statistics of `calibration`, without names of nodes and without predictions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Of the predictor's variance this share is taken for differences between nodes of a class, and of that this share for
# what all variants of a node have in common, until the class has measured them. Nodes of one class are mostly one
# board, so most of an error is common to them; and tails are often a matter of one threshold (a quota's pause) that
# other variants need not cross, so what one variant tells of another is little.
WITHIN_CLASS_SHARE: Final = 0.25
NODE_SHARE: Final = 0.4
# How much data counts as much as these assumptions: degrees of freedom, and pairs of variants on one node.
_ASSUMED_FREEDOM: Final = 4.0
_ASSUMED_PAIRS: Final = 10.0
_LARGEST_NODE_SHARE: Final = 0.8
# Nodes are never taken for more alike than 2 %, nor for more unlike than a factor of 2 (one standard deviation).
_BETWEEN_BOUNDS: Final = (0.02**2, 0.69**2)


@dataclass(frozen=True, slots=True, eq=False)
class VariantTimings:
    """What the nodes of a class timed of one variant, a row per node.

    Attributes:
        nodes: Positions of the nodes, each once.
        errors: Log errors of p95 and p50.
        noise: Variances of the measured p95's logarithm.
        prior: Variance that the predictor claims for its log error of this variant, above 0.
    """

    nodes: Sequence[int]
    errors: FloatArray
    noise: FloatArray
    prior: float


@dataclass(frozen=True, slots=True)
class Spread:
    """How unlike the nodes of a class are.

    Attributes:
        node: Variance of what all variants of a node have in common.
        rest: Variance of what is left, one value per node and variant.
    """

    node: float
    rest: float

    @property
    def between(self) -> float:
        """Variance of a variant's log error between the nodes of the class."""
        return self.node + self.rest


def estimated_spread(timings: Sequence[VariantTimings]) -> Spread:
    """Return how unlike the nodes of a class are, from what they timed: at least one timing of one variant."""
    between = _between(timings)
    share = _node_share(timings, between)
    return Spread(share * between, (1.0 - share) * between)


def _between(timings: Sequence[VariantTimings]) -> float:
    """Return the variance between nodes: DerSimonian and Laird's moments over all variants, drawn to what is assumed.

    For one variant with weights w = 1/noise the statistic Q = sum w (e - mean)^2 has the expectation
    (n - 1) + C x variance, C = sum w - sum w^2 / sum w.
    """
    assumed = WITHIN_CLASS_SHARE * float(np.mean([each.prior for each in timings]))
    excess = scale = freedom = 0.0
    for each in timings:
        if len(each.nodes) < 2:
            continue
        weights, errors = 1.0 / each.noise, each.errors[:, 0]
        total = weights.sum()
        excess += float(weights @ (errors - weights @ errors / total) ** 2) - (len(errors) - 1)
        scale += float(total - (weights @ weights) / total)
        freedom += len(errors) - 1
    found = max(0.0, excess / scale) if scale > 0 else 0.0
    between = (_ASSUMED_FREEDOM * assumed + freedom * found) / (_ASSUMED_FREEDOM + freedom)
    return float(np.clip(between, *_BETWEEN_BOUNDS))


def _node_share(timings: Sequence[VariantTimings], between: float) -> float:
    """Return the share of `between` that a node's variants have in common, from nodes that timed several.

    The mean product of two variants' distances from their means on one node estimates the common variance.
    """
    sums: dict[int, float] = {}
    squares: dict[int, float] = {}
    counts: dict[int, int] = {}
    for each in timings:
        if len(each.nodes) < 2:
            continue
        errors = each.errors[:, 0]
        # Less the mean of the others: a mean that holds the node itself would hide a part of its distance.
        distances = (errors - errors.mean()) * sqrt(len(errors) / (len(errors) - 1))
        for node, distance in zip(each.nodes, distances.tolist(), strict=True):
            sums[node] = sums.get(node, 0.0) + distance
            squares[node] = squares.get(node, 0.0) + distance * distance
            counts[node] = counts.get(node, 0) + 1
    pairs = sum(count * (count - 1) / 2 for count in counts.values())
    products = sum((sums[node] ** 2 - squares[node]) / 2 for node in sums)
    share = (_ASSUMED_PAIRS * NODE_SHARE + products / between) / (_ASSUMED_PAIRS + pairs)
    return float(np.clip(share, 0.0, _LARGEST_NODE_SHARE))
