"""The learnt part of the prediction: LightGBM on what the physical baseline cannot know.

It predicts the logarithm of (measured / baseline) from the graph and the node's fingerprint, and is held within
what was seen in training, so that strange input gives a sober answer.
"""

import math
from collections.abc import Sequence
from typing import Final

import lightgbm
import numpy as np
from fleetfit_api.suite import GraphFeatures, Precision

from fleetfit_operator.predict.cost_terms import TERM_NAMES, FloatArray
from fleetfit_operator.predict.node_costs import NodeCosts

_PRECISIONS = (Precision.FP32, Precision.FP16, Precision.INT8, Precision.BF16, Precision.INT4)

FEATURE_NAMES: Final = (
    "log_baseline",
    "log_macs",
    "log_activation_bytes",
    "log_weight_bytes",
    "log_operators",
    "log_depth",
    "log_light_operators",
    "macs_per_operator",
    "bytes_per_operator",
    "macs_per_activation_byte",
    "precision",
    *(f"share_{name}" for name in TERM_NAMES),
    "speed",
    "stop_ratio",
    "threads",
)


def correction_rows(
    graphs: Sequence[tuple[GraphFeatures, Precision]],
    terms: FloatArray,
    node: NodeCosts,
    baseline_s: FloatArray,
) -> FloatArray:
    """Return one row of features per graph, in the order of FEATURE_NAMES."""
    described = np.array(
        [_graph_row(features, precision) for features, precision in graphs], dtype=np.float64
    ).reshape(len(graphs), 10)
    of_node = np.tile([node.speed, np.log(node.stop_ratio), float(node.threads)], (len(graphs), 1))
    return np.hstack([np.log(baseline_s)[:, None], described, node.shares(terms), of_node])


def _graph_row(features: GraphFeatures, precision: Precision) -> list[float]:
    macs, operators = features.multiply_accumulates, features.operator_count
    light = sum(operator.count for operator in features.operators if operator.multiply_accumulates == 0)
    return [
        math.log1p(macs),
        math.log1p(features.activation_bytes),
        math.log1p(features.weight_bytes),
        math.log(operators),
        math.log(features.depth),
        math.log1p(light),
        math.log1p(macs / operators),
        math.log1p(features.activation_bytes / operators),
        math.log1p(macs / max(1, features.activation_bytes)),
        float(_PRECISIONS.index(precision)),
    ]


class Correction:
    """A trained model with the range that its answers are held to.

    Args:
        booster: The model.
        limit: Largest absolute logarithm that it may answer.
    """

    def __init__(self, booster: lightgbm.Booster, limit: float) -> None:
        self._booster = booster
        self._limit = limit

    def log_ratio(self, rows: FloatArray) -> FloatArray:
        """Return the logarithm of measured over baseline, row by row."""
        # One thread: the rows are few, and the sum of the trees is then the same everywhere.
        ratios = np.asarray(self._booster.predict(rows, num_threads=1), dtype=np.float64)
        return np.clip(ratios, -self._limit, self._limit)
