"""The metrics of the operator with their names and labels, registered with the registry that is given.

Those about predictions are in `prediction_metrics`.

Labels are bounded: no label has a value per node.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from fleetfit_api.deployment import InferenceDeploymentStatus
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from fleetfit_operator import __version__
from fleetfit_operator.fleet.snapshot import DeploymentKey
from fleetfit_operator.telemetry.model_metrics import ModelMetrics
from fleetfit_operator.telemetry.prediction_metrics import PredictionMetrics

NODE_STATES: Final = ("matched", "assigned", "updated", "ready", "serving", "failed", "absent")


class WithoutCreationTimes(Collector):
    """What a registry holds, less the `_created` series that would double the number of counters.

    The library's own switch is a variable of the whole process.

    Args:
        registry: What is shown.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics; the registry makes new ones at each call, so that they may be changed."""
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class Metrics:
    """The operator's metrics.

    Args:
        registry: Where they are registered; one per process or test.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.reconciles = Counter(
            "fleetfit_reconcile", "Passes over the fleet by outcome.", ["outcome"], registry=registry
        )
        self.reconcile_duration_s = Histogram(
            "fleetfit_reconcile_duration_seconds",
            "Time of one pass over the fleet.",
            registry=registry,
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
        )
        self.plan_duration_s = Histogram(
            "fleetfit_plan_duration_seconds",
            "Time of the part of a pass that only computes.",
            registry=registry,
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
        )
        self.queue_depth = Gauge("fleetfit_queue_depth", "Keys that wait for a pass.", registry=registry)
        self.queue_age_s = Gauge(
            "fleetfit_queue_age_seconds", "Age of the oldest key that waits.", registry=registry
        )
        self.api_requests = Counter(
            "fleetfit_api_requests",
            "Requests to the API server by verb and HTTP status; code 0 stands for no answer.",
            ["verb", "code"],
            registry=registry,
        )
        self.watch_age_s = Gauge(
            "fleetfit_watch_last_event_age_seconds",
            "Time since the last sign of life of a watch.",
            ["kind"],
            registry=registry,
        )
        self.watch_restarts = Counter(
            "fleetfit_watch_restarts", "Ends of watches by reason.", ["kind", "reason"], registry=registry
        )
        self.cache_objects = Gauge(
            "fleetfit_cache_objects", "Objects in the local copy.", ["kind"], registry=registry
        )
        self.loop_lag_s = Gauge(
            "fleetfit_event_loop_lag_seconds", "Delay of a timer of the event loop.", registry=registry
        )
        self.leader = Gauge(
            "fleetfit_leader", "1 while this replica acts, 0 while it is on standby.", registry=registry
        )
        self.nodes = Gauge(
            "fleetfit_nodes", "Nodes by hardware class.", ["hardware_class"], registry=registry
        )
        self.deployment_nodes = Gauge(
            "fleetfit_deployment_nodes",
            "Nodes of a deployment by state; a node can be in several.",
            ["namespace", "name", "state"],
            registry=registry,
        )
        self.variant_nodes = Gauge(
            "fleetfit_deployment_variant_nodes",
            "Nodes of a deployment that serve a variant.",
            ["namespace", "name", "variant"],
            registry=registry,
        )
        self.writes = Counter(
            "fleetfit_writes", "Objects written by kind and outcome.", ["kind", "outcome"], registry=registry
        )
        self.predictions = PredictionMetrics(registry)
        self.model = ModelMetrics(registry)
        build = Gauge("fleetfit_build_info", "Version of the operator.", ["version"], registry=registry)
        build.labels(__version__).set(1)

    def observe_request(self, verb: str, status: int) -> None:
        """Count one answer of the API server."""
        self.api_requests.labels(verb, str(status)).inc()

    def show_fleet(
        self,
        class_sizes: Mapping[str, int],
        statuses: Iterable[tuple[DeploymentKey, InferenceDeploymentStatus]],
    ) -> None:
        """Show the fleet as it is now; what is gone disappears."""
        for gauge in (self.nodes, self.deployment_nodes, self.variant_nodes):
            gauge.clear()
        for name, size in class_sizes.items():
            self.nodes.labels(name or "none").set(size)
        for key, status in statuses:
            for state in NODE_STATES:
                self.deployment_nodes.labels(key.namespace, key.name, state).set(getattr(status.nodes, state))
            for variant in status.variants:
                self.variant_nodes.labels(key.namespace, key.name, variant.name).set(variant.ready)
