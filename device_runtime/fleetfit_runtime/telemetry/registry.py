"""Registers all collectors of the runtime."""

from prometheus_client import CollectorRegistry

from fleetfit_runtime.telemetry.metrics import RuntimeCollector
from fleetfit_runtime.telemetry.metrics_page import MetricSources
from fleetfit_runtime.telemetry.node_metrics import NodeCollector
from fleetfit_runtime.telemetry.rating_metrics import RatingCollector


def runtime_registry(sources: MetricSources | None) -> CollectorRegistry:
    """Return a registry with what the sources tell; an empty one without."""
    registry = CollectorRegistry()
    if sources is None:
        return registry
    registry.register(RuntimeCollector(sources.counts, sources.models, sources.gauges, dict(sources.build)))
    registry.register(NodeCollector(sources.reading))
    registry.register(RatingCollector(sources.desk, sources.models))
    if sources.spans is not None:
        # Only here, since it needs a client of HTTP.
        from fleetfit_runtime.telemetry.span_metrics import SpanCollector

        registry.register(SpanCollector(sources.spans.recorder, sources.spans))
    return registry
