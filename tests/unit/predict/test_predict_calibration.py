"""Measurements draw predictions towards them by as much as they rest on."""

import hashlib

from fleetfit_api.node_inference import Evidence, MeasuredVariant
from fleetfit_operator.fleet.choice import LatencyPrediction
from fleetfit_operator.predict.calibration import calibrate
from hypothesis import given
from hypothesis import strategies as st

PREDICTIONS = {
    "small": LatencyPrediction(0.01, Evidence.REFERENCE_RUN),
    "large": LatencyPrediction(0.04, Evidence.REFERENCE_RUN),
}


def measured(name: str, p95_s: float, samples: int) -> MeasuredVariant:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return MeasuredVariant(variant=name, sha256=digest, latency_p95_seconds=p95_s, samples=samples)


def test_many_runs_outweigh_the_prediction() -> None:
    result = calibrate(PREDICTIONS, [measured("small", 0.03, 5000)])

    assert 0.029 < result["small"].latency_p95_s < 0.03
    assert result["small"].evidence is Evidence.MEASURED


def test_variants_that_were_not_measured_stay_as_predicted() -> None:
    assert calibrate(PREDICTIONS, [measured("small", 0.03, 5000)])["large"] == PREDICTIONS["large"]


def test_few_runs_count_for_less_than_many() -> None:
    few = calibrate(PREDICTIONS, [measured("small", 0.03, 10)])["small"]
    many = calibrate(PREDICTIONS, [measured("small", 0.03, 100)])["small"]

    assert PREDICTIONS["small"].latency_p95_s < few.latency_p95_s < many.latency_p95_s


def test_a_measurement_without_samples_changes_nothing() -> None:
    useless = [measured("small", 0.03, 0), measured("large", 0.0, 10)]
    assert calibrate(PREDICTIONS, useless) == PREDICTIONS


@given(st.floats(1e-6, 1e3), st.integers(1, 10**9))
def test_the_result_lies_between_prediction_and_measurement(p95_s: float, samples: int) -> None:
    result = calibrate(PREDICTIONS, [measured("small", p95_s, samples)])["small"].latency_p95_s

    low, high = sorted([p95_s, PREDICTIONS["small"].latency_p95_s])
    assert low * (1 - 1e-9) <= result <= high * (1 + 1e-9)
