"""Blends what a node measured of a variant into what was predicted for it.

The more runs a measurement rests on, the more it counts. A measurement of one variant says nothing of the others
here: tails are often a matter of one threshold (a quota's pause), which other variants need not cross.
"""

from collections.abc import Iterable, Mapping
from math import exp, log
from typing import Final

from fleetfit_api.node_inference import Evidence, Measured, MeasurementSource, ModelStatus

from fleetfit_operator.fleet.choice import LatencyPrediction

# Runs after which measurement and prediction count alike. A 95th percentile rests on one run in twenty.
PRIOR_SAMPLES: Final = 50.0
# A run in warm-up counts for less than a user's request: the node is quieter then than in service.
_SAMPLE_WORTH: Final = {MeasurementSource.WARM_UP: 0.5, MeasurementSource.LIVE: 1.0}


def measured_variants(models: Iterable[ModelStatus]) -> dict[str, Measured]:
    """Return the measured figures in the reports of one suite's models, by the variant that they were measured on."""
    return {
        model.serving_variant: model.measured
        for model in models
        if model.serving_variant and model.measured is not None
    }


def calibrate(
    predictions: Mapping[str, LatencyPrediction], measured: Mapping[str, Measured]
) -> dict[str, LatencyPrediction]:
    """Return the predictions of one node, with those of measured variants drawn towards the measurement.

    The blend is geometric: being wrong by half and by double count alike.
    """
    return {
        variant: _blend(prediction, measured[variant]) if variant in measured else prediction
        for variant, prediction in predictions.items()
    }


def _blend(prediction: LatencyPrediction, measured: Measured) -> LatencyPrediction:
    worth = measured.samples * _SAMPLE_WORTH[measured.source]
    if worth <= 0 or measured.latency_p95_seconds <= 0:
        return prediction
    weight = worth / (worth + PRIOR_SAMPLES)
    latency_p95_s = exp(
        (1 - weight) * log(prediction.latency_p95_s) + weight * log(measured.latency_p95_seconds)
    )
    return LatencyPrediction(latency_p95_s, Evidence.MEASURED)
