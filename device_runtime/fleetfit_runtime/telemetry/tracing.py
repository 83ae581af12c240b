"""Puts traces together: what is recorded, in which form it is sent, where to."""

import random

import aiohttp

from fleetfit_runtime.serve.infer_ledger import RequestObserver
from fleetfit_runtime.settings import Settings
from fleetfit_runtime.telemetry.otlp import SpanForm
from fleetfit_runtime.telemetry.span_export import ExportTarget, SpanExporter
from fleetfit_runtime.telemetry.spans import SpanRecorder

_MS_PER_S = 1000


class Tracing:
    """Traces of a runtime whose settings name a collector.

    Args:
        url: where spans go.
        settings: what the runtime was told.
        version: version of the runtime.
        inner: the observer that is told of all requests besides.
        rng: makes ids, chooses requests, and spreads retries.
    """

    def __init__(
        self, url: str, settings: Settings, version: str, inner: RequestObserver, rng: random.Random
    ) -> None:
        self.recorder = SpanRecorder(inner, settings.trace_ratio, rng)
        self._rng = rng
        self._target = ExportTarget(
            url, settings.otlp_headers, interval_s=settings.trace_interval_ms / _MS_PER_S
        )
        self._form = SpanForm(_resource(settings, version), version, rng)

    def exporter(self, http: aiohttp.ClientSession) -> SpanExporter:
        """Return what sends the spans."""
        return SpanExporter(self.recorder, self._form, http, self._target, self._rng)


def _resource(settings: Settings, version: str) -> dict[str, str]:
    """Return the attributes of this process by OpenTelemetry's conventions; the user's come first."""
    known = {
        "service.name": settings.service_name,
        "service.version": version,
        "service.instance.id": settings.pod_name or settings.node_name,
        "host.name": settings.node_name,
        "k8s.node.name": settings.node_name,
        "k8s.pod.name": settings.pod_name,
        "fleetfit.hardware_class": settings.hardware_class,
    }
    return {name: value for name, value in known.items() if value} | settings.resource_attributes
