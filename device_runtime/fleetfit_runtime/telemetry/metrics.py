"""The runtime's metrics: all names, all labels, and the collector that makes them of plain counts at scrape time."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from fleetfit_runtime.engine.model_table import ModelTable
from fleetfit_runtime.engine.served_model import ServedModel
from fleetfit_runtime.telemetry.counts import Histogram

INFERENCE_DURATION: Final = "fleetfit_runtime_inference_duration_seconds"
REQUEST_DURATION: Final = "fleetfit_runtime_request_duration_seconds"
REQUESTS: Final = "fleetfit_runtime_requests"
MODEL_LOAD: Final = "fleetfit_runtime_model_load_seconds"
MODEL_INFO: Final = "fleetfit_runtime_model_info"
STORE_BYTES: Final = "fleetfit_runtime_store_bytes"
STORE_FREE_BYTES: Final = "fleetfit_runtime_store_free_bytes"
READY: Final = "fleetfit_runtime_ready"
CONNECTIONS: Final = "fleetfit_runtime_open_connections"
BUILD_INFO: Final = "fleetfit_runtime_build_info"

_InferenceKey = tuple[str, str, str]


class RequestCounts:
    """What is counted about requests and loads; the service's observer.

    The labels are bounded: model names come from assignments, of which a node has at most 64, and requests for other
    names are counted under the empty name.
    """

    def __init__(self) -> None:
        self.inferences: dict[_InferenceKey, Histogram] = {}
        self.requests: dict[str, Histogram] = {}
        self.codes: Counter[tuple[str, int]] = Counter()
        self.load_s: dict[str, float] = {}

    def inference(self, model: ServedModel, duration_s: float) -> None:
        """Count an inference."""
        key = (model.name, model.variant, model.provider)
        histogram = self.inferences.get(key)
        if histogram is None:
            histogram = self.inferences[key] = Histogram()
        histogram.observe(duration_s)

    def request(self, model: str, code: int, duration_s: float) -> None:
        """Count an infer request."""
        histogram = self.requests.get(model)
        if histogram is None:
            histogram = self.requests[model] = Histogram()
        histogram.observe(duration_s)
        self.codes[model, code] += 1

    def loaded(self, model: str, duration_s: float) -> None:
        """Note how long the last load of a model took."""
        self.load_s[model] = duration_s

    def forget(self, model: str) -> None:
        """Drop a model that is no longer assigned."""
        self.inferences = {key: value for key, value in self.inferences.items() if key[0] != model}
        self.requests.pop(model, None)
        self.load_s.pop(model, None)
        for key in [key for key in self.codes if key[0] == model]:
            del self.codes[key]


class Gauges:
    """Callables that say how things stand at scrape time.

    Args:
        ready: whether the server is ready.
        connections: open connections.
        store_bytes: bytes in the model store.
        store_free_bytes: free bytes of its file system.
    """

    def __init__(
        self,
        *,
        ready: Callable[[], bool],
        connections: Callable[[], int],
        store_bytes: Callable[[], int],
        store_free_bytes: Callable[[], int],
    ) -> None:
        self.by_name: dict[str, tuple[str, Callable[[], float]]] = {
            READY: ("1 when the server accepts traffic.", ready),
            CONNECTIONS: ("Open connections.", connections),
            STORE_BYTES: ("Bytes of model files on the node.", store_bytes),
            STORE_FREE_BYTES: ("Free bytes of the model store's file system.", store_free_bytes),
        }


class RuntimeCollector(Collector):
    """Turns counts into metrics.

    Args:
        counts: the request counts.
        models: what serves.
        gauges: how things stand.
        build: labels of the build information.
    """

    def __init__(
        self, counts: RequestCounts, models: ModelTable, gauges: Gauges, build: dict[str, str]
    ) -> None:
        self._counts = counts
        self._models = models
        self._gauges = gauges
        self._build = build

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        yield from self._request_metrics()
        yield from self._model_metrics()
        for name, (text, value) in self._gauges.by_name.items():
            yield GaugeMetricFamily(name, text, value=float(value()))
        build = GaugeMetricFamily(BUILD_INFO, "Version of the runtime; always 1.", labels=list(self._build))
        build.add_metric(list(self._build.values()), 1.0)
        yield build

    def _request_metrics(self) -> Iterator[Metric]:
        inference = HistogramMetricFamily(
            INFERENCE_DURATION, "Time in the model.", labels=["model", "variant", "provider"]
        )
        for key, histogram in list(self._counts.inferences.items()):
            inference.add_metric(list(key), histogram.cumulative(), histogram.sum_s)
        yield inference
        request = HistogramMetricFamily(
            REQUEST_DURATION, "Time from a parsed infer request to its answer.", labels=["model"]
        )
        for model, histogram in list(self._counts.requests.items()):
            request.add_metric([model], histogram.cumulative(), histogram.sum_s)
        yield request
        codes = CounterMetricFamily(REQUESTS, "Infer requests by HTTP status.", labels=["model", "code"])
        for (model, code), count in list(self._counts.codes.items()):
            codes.add_metric([model, str(code)], float(count))
        yield codes

    def _model_metrics(self) -> Iterator[Metric]:
        load = GaugeMetricFamily(MODEL_LOAD, "Duration of the last load with warm-up.", labels=["model"])
        for model, seconds in list(self._counts.load_s.items()):
            load.add_metric([model], seconds)
        yield load
        info = GaugeMetricFamily(
            MODEL_INFO,
            "What serves a model; always 1.",
            labels=["model", "variant", "provider", "fallback"],
        )
        for served in self._models:
            fallback = str(served.model.proof.fallback).lower()
            info.add_metric([served.name, served.variant, served.provider, fallback], 1.0)
        yield info


def metrics_page(registry: CollectorRegistry) -> tuple[bytes, str]:
    """Return the text of the metrics page and its content type."""
    return generate_latest(registry), CONTENT_TYPE_LATEST
