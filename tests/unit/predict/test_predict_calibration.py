"""Measurements draw predictions towards them by as much as they rest on."""

from fleetfit_api.node_inference import Evidence, Measured, MeasurementSource, ModelPhase, ModelStatus
from fleetfit_operator.fleet.choice import LatencyPrediction
from fleetfit_operator.predict.calibration import calibrate, measured_variants
from hypothesis import given
from hypothesis import strategies as st

PREDICTIONS = {
    "small": LatencyPrediction(0.01, Evidence.REFERENCE_RUN),
    "large": LatencyPrediction(0.04, Evidence.REFERENCE_RUN),
}


def measured(p95_s: float, samples: int, source: MeasurementSource = MeasurementSource.LIVE) -> Measured:
    return Measured(latency_p50_seconds=p95_s, latency_p95_seconds=p95_s, samples=samples, source=source)


def test_many_requests_outweigh_the_prediction() -> None:
    result = calibrate(PREDICTIONS, {"small": measured(0.03, 5000)})

    assert 0.029 < result["small"].latency_p95_s < 0.03
    assert result["small"].evidence is Evidence.MEASURED


def test_variants_that_were_not_measured_stay_as_predicted() -> None:
    assert calibrate(PREDICTIONS, {"small": measured(0.03, 5000)})["large"] == PREDICTIONS["large"]


def test_a_warm_up_counts_for_less_than_live_requests() -> None:
    live = calibrate(PREDICTIONS, {"small": measured(0.03, 50)})["small"]
    warm_up = calibrate(PREDICTIONS, {"small": measured(0.03, 50, MeasurementSource.WARM_UP)})["small"]

    assert PREDICTIONS["small"].latency_p95_s < warm_up.latency_p95_s < live.latency_p95_s


def test_a_measurement_without_samples_changes_nothing() -> None:
    assert calibrate(PREDICTIONS, {"small": measured(0.03, 0), "large": measured(0.0, 10)}) == PREDICTIONS


@given(st.floats(1e-6, 1e3), st.integers(1, 10**9))
def test_the_result_lies_between_prediction_and_measurement(p95_s: float, samples: int) -> None:
    result = calibrate(PREDICTIONS, {"small": measured(p95_s, samples)})["small"].latency_p95_s

    low, high = sorted([p95_s, PREDICTIONS["small"].latency_p95_s])
    assert low * (1 - 1e-9) <= result <= high * (1 + 1e-9)


def test_figures_belong_to_the_variant_that_serves_not_to_the_assigned_one() -> None:
    report = ModelStatus(
        namespace="shop",
        deployment="digits",
        variant="large",
        phase=ModelPhase.DOWNLOADING,
        serving_variant="small",
        measured=measured(0.02, 100),
    )

    assert measured_variants([report]) == {"small": report.measured}
