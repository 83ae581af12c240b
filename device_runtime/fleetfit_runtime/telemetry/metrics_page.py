"""The metrics page, put together once the node serves.

Its library takes some hundredths of a second to import, and nobody scrapes a node that is not up yet.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetfit_runtime.engine.model_table import ModelTable
from fleetfit_runtime.probe.node_probe import NodeReading
from fleetfit_runtime.ratings.desk import RatingDesk
from fleetfit_runtime.telemetry.gauges import Gauges
from fleetfit_runtime.telemetry.request_counts import RequestCounts

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from fleetfit_runtime.telemetry.span_export import SpanExporter


@dataclass(frozen=True, slots=True)
class MetricSources:
    """What the metrics are made of.

    Attributes:
        counts: the request counts.
        models: what serves.
        gauges: how things stand.
        build: labels of the build information.
        reading: state of the node as it was last seen.
        desk: the ratings.
        spans: what sends traces; None where there are none.
    """

    counts: RequestCounts
    models: ModelTable
    gauges: Gauges
    build: Mapping[str, str]
    reading: Callable[[], NodeReading]
    desk: RatingDesk
    spans: "SpanExporter | None" = None


class MetricsPage:
    """Makes the page.

    Args:
        sources: what it shows; None for an empty page.
    """

    def __init__(self, sources: MetricSources | None) -> None:
        self._sources = sources
        self._registry: CollectorRegistry | None = None

    def prepare(self) -> None:
        """Put the page together, so that the first scrape need not; best called in a thread, since it imports."""
        from fleetfit_runtime.telemetry.registry import runtime_registry

        self._registry = runtime_registry(self._sources)

    def render(self, accept: bytes | None) -> tuple[bytes, str]:
        """Return the page and its content type for a request's header `Accept`."""
        if self._registry is None:
            self.prepare()
        from fleetfit_runtime.telemetry.metrics import metrics_page

        if self._registry is None:
            raise RuntimeError("the metrics page was not put together")
        return metrics_page(self._registry, accept)
