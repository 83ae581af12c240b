"""The operator's metrics about predictions: what was predicted and what was timed, so that anyone can plot the error.

Labels are bounded: per deployment, class and variant, never per node.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fleetfit_api.prediction import Evidence
from prometheus_client import CollectorRegistry, Gauge

from fleetfit_operator.fleet.node_condition import Condition
from fleetfit_operator.fleet.prediction_errors import Quantiles, VariantError
from fleetfit_operator.fleet.snapshot import DeploymentKey

_PLACE: Final = ("namespace", "deployment", "variant", "hardware_class")


@dataclass(frozen=True, slots=True)
class DeploymentPredictions:
    """What there is to show of one deployment.

    Attributes:
        errors: Predictions and timings by class and variant.
        drifting: Those of them that are told to users, as (class, variant).
        evidence: Nodes by what the prediction of their variant rests on.
        slowed: Nodes by what slows them now.
    """

    errors: Sequence[VariantError]
    drifting: frozenset[tuple[str, str]]
    evidence: Mapping[Evidence, int]
    slowed: Mapping[Condition, int]


class PredictionMetrics:
    """Gauges about predictions.

    Args:
        registry: Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.predicted_s = Gauge(
            "fleetfit_predicted_latency_seconds",
            "Latency that the predictor expects, before measurements correct it; median over the nodes of the class.",
            [*_PLACE, "quantile"],
            registry=registry,
        )
        self.measured_s = Gauge(
            "fleetfit_measured_latency_seconds",
            "Latency that runtimes timed, back to back; median over the nodes of the class that timed it.",
            [*_PLACE, "quantile"],
            registry=registry,
        )
        self.measured_nodes = Gauge(
            "fleetfit_measured_nodes", "Nodes that have timed the variant.", _PLACE, registry=registry
        )
        self.error_ratio = Gauge(
            "fleetfit_prediction_error_ratio",
            "Factor, 1 or more, that half of the measured p95 latencies are within of the predicted ones.",
            _PLACE,
            registry=registry,
        )
        self.error_sigmas = Gauge(
            "fleetfit_prediction_error_sigmas",
            "Mean logarithm of measured over predicted p95, in standard deviations that the predictor claims.",
            _PLACE,
            registry=registry,
        )
        self.drift = Gauge(
            "fleetfit_prediction_drift",
            "1 where the variant does not run as predicted or no longer as it did, else 0.",
            _PLACE,
            registry=registry,
        )
        self.drifted_nodes = Gauge(
            "fleetfit_prediction_drifted_nodes",
            "Nodes whose own timings of the variant have changed for good.",
            _PLACE,
            registry=registry,
        )
        self.evidence_nodes = Gauge(
            "fleetfit_prediction_evidence_nodes",
            "Nodes by what the prediction of their variant rests on.",
            ["namespace", "deployment", "evidence"],
            registry=registry,
        )
        self.slowed_nodes = Gauge(
            "fleetfit_slowed_nodes",
            "Nodes by what slows them or their requests now: heat, other work, the battery, queueing.",
            ["namespace", "deployment", "condition"],
            registry=registry,
        )

    def show(self, deployments: Iterable[tuple[DeploymentKey, DeploymentPredictions]]) -> None:
        """Show the predictions as they are now; what is gone disappears."""
        for gauge in vars(self).values():
            gauge.clear()
        for key, shown in deployments:
            for evidence in Evidence:
                nodes = shown.evidence.get(evidence, 0)
                self.evidence_nodes.labels(key.namespace, key.name, evidence).set(nodes)
            for condition in Condition:
                nodes = shown.slowed.get(condition, 0)
                self.slowed_nodes.labels(key.namespace, key.name, condition).set(nodes)
            for error in shown.errors:
                self._show_error(key, error, (error.hardware_class, error.variant) in shown.drifting)

    def _show_error(self, key: DeploymentKey, error: VariantError, is_drifting: bool) -> None:
        place = (key.namespace, key.name, error.variant, error.hardware_class or "none")
        _show_quantiles(self.predicted_s, place, error.predicted)
        if error.measured is None:
            return
        _show_quantiles(self.measured_s, place, error.measured)
        self.measured_nodes.labels(*place).set(error.measured_nodes)
        self.error_ratio.labels(*place).set(error.error_ratio)
        self.error_sigmas.labels(*place).set(error.sigmas)
        self.drift.labels(*place).set(is_drifting)
        self.drifted_nodes.labels(*place).set(error.drifted_nodes)


def _show_quantiles(gauge: Gauge, place: tuple[str, ...], latency: Quantiles) -> None:
    gauge.labels(*place, "0.95").set(latency.p95_s)
    if latency.p50_s > 0:
        gauge.labels(*place, "0.5").set(latency.p50_s)
