"""Blends what a node timed of a variant into what was predicted for it.

The more runs a figure rests on, the more it counts. What was timed of one variant says nothing of the others here:
tails are often a matter of one threshold (a quota's pause), which other variants need not cross.
"""

from collections.abc import Iterable, Mapping
from math import exp, log
from typing import Final

from fleetfit_api.node_inference import Evidence, MeasuredVariant

from fleetfit_operator.fleet.choice import LatencyPrediction

# Runs after which measurement and prediction count alike. A 95th percentile rests on one run in twenty.
PRIOR_SAMPLES: Final = 20.0


def calibrate(
    predictions: Mapping[str, LatencyPrediction], measured: Iterable[MeasuredVariant]
) -> dict[str, LatencyPrediction]:
    """Return the predictions of one node, with those of measured variants drawn towards the measurement.

    The blend is geometric: being wrong by half and by double count alike.
    """
    by_name = {each.variant: each for each in measured}
    return {
        variant: _blend(prediction, by_name[variant]) if variant in by_name else prediction
        for variant, prediction in predictions.items()
    }


def _blend(prediction: LatencyPrediction, measured: MeasuredVariant) -> LatencyPrediction:
    if measured.samples <= 0 or measured.latency_p95_seconds <= 0:
        return prediction
    weight = measured.samples / (measured.samples + PRIOR_SAMPLES)
    latency_p95_s = exp(
        (1 - weight) * log(prediction.latency_p95_s) + weight * log(measured.latency_p95_seconds)
    )
    return LatencyPrediction(latency_p95_s, Evidence.MEASURED)
