"""Energy is power times time, and nothing where no power is known."""

from fleetfit_api.prediction import Evidence
from fleetfit_operator.fleet.choice import LatencyPrediction
from fleetfit_operator.predict.energy import with_energy

PREDICTIONS = {
    "a": LatencyPrediction(0.02, Evidence.REFERENCE_RUN, latency_p50_s=0.01),
    "b": LatencyPrediction(0.04, Evidence.REFERENCE_RUN),
}


def test_energy_is_power_times_the_median_or_what_is_known() -> None:
    joules = {name: each.energy_j for name, each in with_energy(PREDICTIONS, 5.0).items()}

    assert joules == {"a": 0.05, "b": 0.2}


def test_without_power_there_is_no_energy() -> None:
    assert with_energy(PREDICTIONS, None) == PREDICTIONS
    assert with_energy(PREDICTIONS, 0.0) == PREDICTIONS
