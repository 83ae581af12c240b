"""What a choice by predictions is worth: its true QoE over that of an oracle.

QoE = accuracy / best accuracy * min(1, target / latency)^w, over the 500 networks whose accuracy is known; targets at
the device's 10th, 30th, 50th and 70th percentile of latency, w = 0.5, 1 and 2. Chosen is by expected QoE over the
spread.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from fleetfit_operator.predict.kernel_groups import FloatArray
from fleetfit_operator.select.qoe import QoeTerms, expected_qoe
from fleetfit_training.nasbench201 import NasBench

from benchmarks.predict.public import Outcome

TARGET_PERCENTILES: Final = (10, 30, 50, 70)
LATENCY_WEIGHTS: Final = (0.5, 1.0, 2.0)


def qoe_ratios(data: NasBench, outcome: Outcome) -> Mapping[str, FloatArray]:
    """Return true QoE of the choice over the oracle's, one entry per target and weight, by method."""
    known = np.isfinite(data.accuracy[outcome.rows])
    accuracy, measured_s = data.accuracy[outcome.rows][known], outcome.measured_s[known]
    ratios: dict[str, list[float]] = {}
    for percentile in TARGET_PERCENTILES:
        for weight in LATENCY_WEIGHTS:
            terms = _terms(float(np.percentile(measured_s, percentile)), weight, float(accuracy.max()))
            true = expected_qoe(terms, measured_s, 0.0, accuracy).mean
            for method, log_latency in outcome.log_latency.items():
                latency_s = np.exp(log_latency[known])
                sigma = outcome.log_sigma[known] if method == "fleetfit" else 0.0
                chosen = int(np.argmax(expected_qoe(terms, latency_s, sigma, accuracy).mean))
                ratios.setdefault(method, []).append(float(true[chosen] / true.max()))
            ratios.setdefault("most accurate", []).append(float(true[int(np.argmax(accuracy))] / true.max()))
    return {method: np.array(values) for method, values in ratios.items()}


def _terms(target_s: float, latency_weight: float, best_accuracy: float) -> QoeTerms:
    return QoeTerms(
        accuracy_weight=1.0,
        latency_weight=latency_weight,
        energy_weight=0.0,
        memory_weight=0.0,
        latency_target_s=target_s,
        energy_target_j=None,
        memory_target_bytes=None,
        best_accuracy=best_accuracy,
    )
