"""Metrics of traces: what became of the spans of requests. Registered only where there are traces."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from fleetfit_runtime.telemetry.span_export import SpanExporter
from fleetfit_runtime.telemetry.spans import SpanRecorder

TRACED_REQUESTS: Final = "fleetfit_runtime_traced_requests"


class SpanCollector(Collector):
    """Turns counts into metrics.

    Args:
        recorder: what records.
        exporter: what sends.
    """

    def __init__(self, recorder: SpanRecorder, exporter: SpanExporter) -> None:
        self._recorder = recorder
        self._exporter = exporter

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        traced = CounterMetricFamily(
            TRACED_REQUESTS, "Traced requests by what became of their spans.", labels=["outcome"]
        )
        traced.add_metric(["sent"], float(self._exporter.sent))
        traced.add_metric(["lost"], float(self._exporter.lost))
        traced.add_metric(["dropped"], float(self._recorder.dropped))
        yield traced
