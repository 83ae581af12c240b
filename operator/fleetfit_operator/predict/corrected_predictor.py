"""The shipped predictor with what the fleet has taught on top of it.

The correction shifts median and 95th percentile alike, and leaves the spread as it is: it moves where the truth is
expected, and how far single nodes lie around that is not what it learns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from typing import Final, Protocol

import numpy as np
from fleetfit_api.node_telemetry import ReferenceRun
from fleetfit_api.prediction import Contribution
from fleetfit_api.suite import Variant

from fleetfit_operator.fleet.choice import LatencyPrediction
from fleetfit_operator.predict.fleet_correction import FleetCorrection, correction_rows, node_speed

CONTRIBUTION: Final = "what the fleet taught"
_MOST_CONTRIBUTIONS: Final = 8
# Less than 2 % is nothing to tell users of.
_WORTH_TELLING: Final = 0.02


class ShippedPredictor(Protocol):
    """What is corrected."""

    def predict(
        self, run: ReferenceRun | None, variants: Sequence[Variant]
    ) -> Mapping[str, LatencyPrediction]:
        """Return the expected latency of every variant, by name, on the node that reported the run."""
        ...


@dataclass(frozen=True, slots=True)
class CorrectedPredictor:
    """A predictor and the correction of what it says.

    Attributes:
        shipped: What is corrected.
        correction: By what.
    """

    shipped: ShippedPredictor
    correction: FleetCorrection

    def predict(self, run: ReferenceRun | None, variants: Sequence[Variant]) -> dict[str, LatencyPrediction]:
        """Return the corrected predictions; those of variants without features stay as they are."""
        predicted = dict(self.shipped.predict(run, variants))
        known = [
            (variant.name, variant.features)
            for variant in variants
            if variant.features is not None and predicted[variant.name].latency_p95_s > 0
        ]
        if not known:
            return predicted
        log_latency = np.log([predicted[name].latency_p95_s for name, _ in known])
        rows = correction_rows([features for _, features in known], log_latency, node_speed(run))
        for (name, _), log_ratio in zip(known, self.correction.log_ratio(rows), strict=True):
            predicted[name] = _shifted(predicted[name], float(log_ratio))
        return predicted


def with_correction(shipped: ShippedPredictor, correction: FleetCorrection | None) -> ShippedPredictor:
    """Return the predictor with a correction, or itself without one."""
    return shipped if correction is None else CorrectedPredictor(shipped, correction)


def _shifted(prediction: LatencyPrediction, log_ratio: float) -> LatencyPrediction:
    shifted = prediction.shifted(log_ratio, log_ratio, prediction.log_sigma, prediction.evidence)
    if abs(log_ratio) < _WORTH_TELLING:
        return shifted
    told = (*prediction.contributions, Contribution(feature=CONTRIBUTION, factor=exp(log_ratio)))
    told = tuple(sorted(told, key=lambda each: -abs(log(each.factor))))[:_MOST_CONTRIBUTIONS]
    return replace(shifted, contributions=told)
