"""Predicted and measured are both metrics, with labels that no number of nodes can multiply."""

from collections.abc import Sequence

from fleetfit_api.prediction import Evidence
from fleetfit_operator.fleet.node_condition import Condition
from fleetfit_operator.fleet.prediction_errors import Quantiles, VariantError
from fleetfit_operator.fleet.snapshot import DeploymentKey
from fleetfit_operator.telemetry.prediction_metrics import DeploymentPredictions, PredictionMetrics
from prometheus_client import CollectorRegistry

KEY = DeploymentKey("shop", "digits")
PLACE = {"namespace": "shop", "deployment": "digits", "variant": "small", "hardware_class": "pi"}


def shown(*errors: VariantError, drifting: Sequence[tuple[str, str]] = ()) -> CollectorRegistry:
    registry = CollectorRegistry()
    metrics = PredictionMetrics(registry)
    stale = VariantError("gone", "gone", Quantiles(1, 1), Quantiles(1, 1))
    for each in ((stale,), errors):
        predictions = DeploymentPredictions(
            each, frozenset(drifting), {Evidence.MEASURED: 3}, {Condition.THROTTLED: 2}
        )
        metrics.show([(KEY, predictions)])
    return registry


def test_predicted_and_measured_stand_side_by_side() -> None:
    error = VariantError(
        "pi", "small", Quantiles(0.008, 0.01), Quantiles(0.016, 0.02), 4, 2.0, 1.9, 3.5, drifted_nodes=1
    )
    registry = shown(error, drifting=[("pi", "small")])

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, {**PLACE, **labels})

    assert value("fleetfit_predicted_latency_seconds", quantile="0.95") == 0.01
    assert value("fleetfit_predicted_latency_seconds", quantile="0.5") == 0.008
    assert value("fleetfit_measured_latency_seconds", quantile="0.95") == 0.02
    assert value("fleetfit_prediction_error_ratio") == 2.0
    assert value("fleetfit_prediction_error_sigmas") == 3.5
    assert value("fleetfit_prediction_drift") == 1.0
    assert value("fleetfit_prediction_drifted_nodes") == 1.0
    assert value("fleetfit_measured_nodes") == 4.0


def test_what_is_unknown_is_absent_and_what_is_gone_disappears() -> None:
    registry = shown(VariantError("pi", "small", Quantiles(0.0, 0.01)))
    names = {(s.name, s.labels.get("quantile")) for m in registry.collect() for s in m.samples}
    assert ("fleetfit_predicted_latency_seconds", "0.95") in names
    assert ("fleetfit_predicted_latency_seconds", "0.5") not in names
    assert not {name for name, _ in names if "measured_latency" in name or "error" in name}
    assert not [s for m in registry.collect() for s in m.samples if "gone" in s.labels.values()]


def test_every_kind_of_evidence_and_condition_is_there_from_the_start() -> None:
    registry = shown()
    place = {"namespace": "shop", "deployment": "digits"}
    counts = {
        each: registry.get_sample_value("fleetfit_prediction_evidence_nodes", {**place, "evidence": each})
        for each in Evidence
    }
    assert counts == {each: 3.0 if each is Evidence.MEASURED else 0.0 for each in Evidence}
    slowed = {**place, "condition": "Throttled"}
    assert registry.get_sample_value("fleetfit_slowed_nodes", slowed) == 2.0


def test_no_label_is_a_node() -> None:
    registry = shown(VariantError("pi", "small", Quantiles(0.008, 0.01), Quantiles(0.01, 0.02)))
    labels = {label for m in registry.collect() for s in m.samples for label in s.labels}
    assert labels <= {*PLACE, "quantile", "evidence", "condition"}
