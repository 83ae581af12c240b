"""The runtime's metrics: all names, all labels, and the collector that makes them of plain counts at scrape time."""

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from fleetfit_runtime.engine.model_table import ModelTable
from fleetfit_runtime.engine.served_model import ServedModel
from fleetfit_runtime.telemetry.counts import Histogram
from fleetfit_runtime.telemetry.gauges import Gauges
from fleetfit_runtime.telemetry.request_counts import ModelSeries, RequestCounts, RunSeries

INFERENCE_DURATION: Final = "fleetfit_runtime_inference_duration_seconds"
QUEUE_DURATION: Final = "fleetfit_runtime_queue_duration_seconds"
BATCH_SIZE: Final = "fleetfit_runtime_batch_size"
REQUEST_DURATION: Final = "fleetfit_runtime_request_duration_seconds"
REQUESTS: Final = "fleetfit_runtime_requests"
REQUEST_FAILURES: Final = "fleetfit_runtime_request_failures"
WAITING: Final = "fleetfit_runtime_waiting_requests"
MODEL_LOAD: Final = "fleetfit_runtime_model_load_seconds"
MODEL_INFO: Final = "fleetfit_runtime_model_info"
MODEL_NODES: Final = "fleetfit_runtime_model_graph_nodes"
MODEL_LATENCY: Final = "fleetfit_runtime_model_latency_seconds"
MODEL_MEMORY: Final = "fleetfit_runtime_model_memory_bytes"
BUILD_INFO: Final = "fleetfit_runtime_build_info"

_RUN_LABELS: Final = ("model", "variant", "provider")


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
        counted = list(self._counts.models())
        yield from _request_metrics(counted)
        yield from _run_metrics(counted)
        yield from self._load_metrics()
        yield from _model_metrics(list(self._models))
        for name, (text, value) in self._gauges.by_name.items():
            yield GaugeMetricFamily(name, text, value=float(value()))
        build = GaugeMetricFamily(BUILD_INFO, "Version of the runtime; always 1.", labels=list(self._build))
        build.add_metric(list(self._build.values()), 1.0)
        yield build

    def _load_metrics(self) -> Iterator[Metric]:
        load = GaugeMetricFamily(MODEL_LOAD, "Duration of the last load with warm-up.", labels=["model"])
        for model, seconds in list(self._counts.load_s.items()):
            load.add_metric([model], seconds)
        yield load


def _request_metrics(counted: list[tuple[str, ModelSeries]]) -> Iterator[Metric]:
    requests = HistogramMetricFamily(
        REQUEST_DURATION, "Time from a parsed infer request to its answer.", labels=["model"]
    )
    codes = CounterMetricFamily(REQUESTS, "Infer requests by HTTP status.", labels=["model", "code"])
    failures = CounterMetricFamily(
        REQUEST_FAILURES, "Infer requests without outputs, by reason.", labels=["model", "reason"]
    )
    for name, model in counted:
        requests.add_metric([name], model.requests.cumulative(), model.requests.sum)
        for code, count in list(model.codes.items()):
            codes.add_metric([name, str(code)], float(count))
        for reason, count in list(model.failures.items()):
            failures.add_metric([name, reason], float(count))
    yield requests
    yield codes
    yield failures


_HISTOGRAMS: Final[tuple[tuple[str, str, Callable[[RunSeries], Histogram]], ...]] = (
    (INFERENCE_DURATION, "Time in the model.", lambda runs: runs.inference),
    (QUEUE_DURATION, "Time from a parsed infer request to the begin of its run.", lambda runs: runs.queue),
    (BATCH_SIZE, "Items that ran together.", lambda runs: runs.batch),
)


def _run_metrics(counted: list[tuple[str, ModelSeries]]) -> Iterator[Metric]:
    for metric_name, text, histogram_of in _HISTOGRAMS:
        metric = HistogramMetricFamily(metric_name, text, labels=list(_RUN_LABELS))
        for name, model in counted:
            for key, runs in list(model.runs.items()):
                histogram = histogram_of(runs)
                metric.add_metric([name, *key], histogram.cumulative(), histogram.sum)
        yield metric


def _model_metrics(models: list[ServedModel]) -> Iterator[Metric]:
    info = GaugeMetricFamily(MODEL_INFO, "What serves a model; always 1.", labels=[*_RUN_LABELS, "fallback"])
    waiting = GaugeMetricFamily(WAITING, "Requests that wait or run.", labels=["model"])
    memory = GaugeMetricFamily(
        MODEL_MEMORY, "Memory that loading a model took; absent when unknown.", labels=["model", "variant"]
    )
    nodes = GaugeMetricFamily(
        MODEL_NODES, "Nodes of the optimised graph by the provider that runs them.", labels=list(_RUN_LABELS)
    )
    latency = GaugeMetricFamily(
        MODEL_LATENCY,
        "Time of one inference as reported for predictions: by the runtime itself (WarmUp), of requests (Live).",
        labels=["model", "variant", "source", "quantile"],
    )
    for served in models:
        fallback = str(served.model.proof.fallback).lower()
        info.add_metric([served.name, served.variant, served.provider, fallback], 1.0)
        waiting.add_metric([served.name], float(served.waiting))
        if served.memory_bytes:
            memory.add_metric([served.name, served.variant], float(served.memory_bytes))
        for provider, count in served.model.proof.graph_nodes.items():
            nodes.add_metric([served.name, served.variant, provider], float(count))
        for measured in (served.warm_up, served.latency.measured()):
            if measured is not None:
                labels = [served.name, served.variant, measured.source.value]
                latency.add_metric([*labels, "0.5"], measured.latency_p50_seconds)
                latency.add_metric([*labels, "0.95"], measured.latency_p95_seconds)
    yield from (info, waiting, memory, nodes, latency)


def metrics_page(registry: CollectorRegistry, accept: bytes | None = None) -> tuple[bytes, str]:
    """Return the metrics page and its content type: OpenMetrics, which has exemplars, for those who ask for it.

    Args:
        registry: the metrics.
        accept: the header `Accept` of the request.
    """
    encode, content_type = choose_encoder("" if accept is None else accept.decode("latin-1"))
    return encode(registry), content_type
