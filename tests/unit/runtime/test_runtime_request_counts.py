"""What is counted about requests: by what labels, how many series there can be, and how the pages show it."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from fleetfit_runtime.engine.model_table import ModelTable
from fleetfit_runtime.serve.failure_reason import FailureReason, reason_of
from fleetfit_runtime.serve.infer_ledger import Failure
from fleetfit_runtime.telemetry.counts import BATCH_BOUNDS, Histogram
from fleetfit_runtime.telemetry.gauges import Gauges
from fleetfit_runtime.telemetry.metrics import RuntimeCollector, metrics_page
from fleetfit_runtime.telemetry.request_counts import MOST_MODELS, MOST_VARIANTS, RequestCounts
from fleetfit_runtime.telemetry.trace_context import TraceContext, read_trace_context
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SAMPLED = f"00-{TRACE_ID}-b7ad6b7169203331-01".encode()
OPENMETRICS = b"application/openmetrics-text;version=1.0.0,text/plain;q=0.5"


class Model:
    """As much of a served model as is counted by."""

    def __init__(self, name: str = "digits", variant: str = "a", provider: str = "CPU") -> None:
        self.name, self.variant, self.provider = name, variant, provider


def job(model: Model, **over: Any) -> Any:
    asker = SimpleNamespace(trace_parent=over.pop("trace_parent", None))
    times = {"queued_s": 1.0, "begun_s": 1.25, "run_s": 0.5, "items": 1, "together": 1}
    return SimpleNamespace(model=model, asker=asker, **{**times, **over})


def failure(model: str = "digits", status: int = 503, **over: Any) -> Failure:
    asker: Any = SimpleNamespace(trace_parent=None)
    return Failure(model, status, over.pop("reason", reason_of(status)), 0.001, asker, **over)


def page(counts: RequestCounts, accept: bytes | None = None) -> str:
    registry = CollectorRegistry()
    gauges = Gauges(ready=lambda: True, connections=int, store_bytes=int, store_free_bytes=int)
    registry.register(RuntimeCollector(counts, ModelTable(), gauges, {"version": "1"}))
    return metrics_page(registry, accept)[0].decode()


def test_a_request_is_seen_with_its_queue_its_run_and_its_batch() -> None:
    counts, model = RequestCounts(), Model()
    for _ in range(3):
        counts.served(job(model, items=1, together=3), 0.8)
    counts.served(job(model, items=0, together=0), 0.8)
    counts.failed(failure(reason=FailureReason.OVERLOADED))
    counts.failed(failure("", 404))
    counts.failed(failure(status=0, reason=FailureReason.CANCELLED))
    lines = page(counts).splitlines()
    run = 'model="digits",provider="CPU",variant="a"'
    for line in (
        f"fleetfit_runtime_inference_duration_seconds_count{{{run}}} 4.0",
        f"fleetfit_runtime_inference_duration_seconds_sum{{{run}}} 2.0",
        f'fleetfit_runtime_queue_duration_seconds_bucket{{le="0.1",{run}}} 0.0',
        f'fleetfit_runtime_queue_duration_seconds_bucket{{le="0.25",{run}}} 4.0',
        f'fleetfit_runtime_batch_size_bucket{{le="1.0",{run}}} 1.0',
        f'fleetfit_runtime_batch_size_bucket{{le="4.0",{run}}} 2.0',
        f"fleetfit_runtime_batch_size_count{{{run}}} 2.0",
        'fleetfit_runtime_requests_total{code="200",model="digits"} 4.0',
        'fleetfit_runtime_requests_total{code="503",model="digits"} 1.0',
        'fleetfit_runtime_requests_total{code="404",model=""} 1.0',
        'fleetfit_runtime_request_failures_total{model="digits",reason="overloaded"} 1.0',
        'fleetfit_runtime_request_failures_total{model="digits",reason="cancelled"} 1.0',
        'fleetfit_runtime_request_failures_total{model="",reason="not_found"} 1.0',
        'fleetfit_runtime_request_duration_seconds_count{model="digits"} 5.0',
    ):
        assert line in lines, line
    assert not any('code="0"' in line for line in lines)


@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.integers(0, 12), st.sampled_from(["serve", "fail", "forget"])),
        max_size=600,
    )
)
def test_whatever_is_assigned_and_asked_the_series_are_bounded(steps: list[tuple[int, int, str]]) -> None:
    counts = RequestCounts()
    for name, variant, what in steps:
        if what == "serve":
            counts.served(job(Model(f"m{name}", f"v{variant}")), 0.1)
        elif what == "fail":
            counts.failed(failure(f"m{name}"))
        else:
            counts.forget(f"m{name}")
    models = dict(counts.models())
    assert len(models) <= MOST_MODELS
    assert all(len(model.runs) <= MOST_VARIANTS for model in models.values())


def test_the_latest_variants_and_models_are_kept() -> None:
    counts = RequestCounts()
    for number in range(3 * MOST_VARIANTS):
        counts.served(job(Model(variant=f"v{number}")), 0.1)
    runs = dict(counts.models())["digits"].runs
    assert [variant for variant, _ in runs] == [f"v{number}" for number in range(3 * MOST_VARIANTS)][
        -MOST_VARIANTS:
    ]
    for number in range(2 * MOST_MODELS):
        counts.failed(failure(f"m{number}"))
    assert [name for name, _ in counts.models()] == [f"m{number}" for number in range(2 * MOST_MODELS)][
        -MOST_MODELS:
    ]


def test_a_model_that_is_asked_again_counts_on_and_one_that_is_dropped_begins_anew() -> None:
    counts, one, other = RequestCounts(), Model(), Model("words")
    for model in (one, other, one):
        counts.served(job(model), 0.1)
    assert dict(counts.models())["digits"].codes[200] == 2
    counts.forget("digits")
    counts.served(job(one), 0.1)
    assert dict(counts.models())["digits"].codes[200] == 1


def test_counts_do_not_keep_a_model_in_memory() -> None:
    import gc
    import weakref

    counts, model = RequestCounts(), Model()
    counts.served(job(model), 0.1)
    kept = weakref.ref(model)
    del model
    gc.collect()
    assert kept() is None


@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=16), max_size=20))
def test_a_batch_counts_once_however_many_requests_ran_in_it(batches: list[list[int]]) -> None:
    histogram = Histogram(BATCH_BOUNDS)
    for batch in batches:
        for items in batch:
            histogram.observe_share(sum(batch), items / sum(batch))
    buckets = dict(bucket[:2] for bucket in histogram.cumulative())
    assert buckets["+Inf"] == len(batches)
    assert buckets["4.0"] == sum(sum(batch) <= 4 for batch in batches)
    assert histogram.sum == pytest.approx(sum(sum(batch) for batch in batches))


def exemplars(families: list[Metric]) -> dict[str, str]:
    return {
        sample.name: sample.exemplar.labels["trace_id"]
        for family in families
        for sample in family.samples
        if sample.exemplar is not None
    }


def test_exemplars_are_off_unless_asked_for_and_only_of_sampled_traces() -> None:
    cases = (
        (False, SAMPLED, False),
        (True, SAMPLED, True),
        (True, None, False),
        (True, SAMPLED[:-1] + b"0", False),
        (True, SAMPLED[:-1] + b"2", False),
        (True, b"no trace at all", False),
    )
    for on, header, shown in cases:
        counts = RequestCounts(exemplars=on, now_s=lambda: 1700000000.5)
        counts.served(job(Model(), trace_parent=header), 0.3)
        found = exemplars(list(read_openmetrics(page(counts, OPENMETRICS))))
        expected = (
            "fleetfit_runtime_request_duration_seconds_bucket",
            "fleetfit_runtime_inference_duration_seconds_bucket",
        )
        assert found == (dict.fromkeys(expected, TRACE_ID) if shown else {})
        # The older form has no exemplars and stays readable.
        assert TRACE_ID not in page(counts)
        assert list(read_text(page(counts)))


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "text/plain"),
        (b"*/*", "text/plain"),
        (b"text/html;q=0.9", "text/plain"),
        (OPENMETRICS, "application/openmetrics-text"),
        (b"\xff\xfe,,;;q=x", "text/plain"),
    ],
)
def test_the_page_comes_in_the_form_that_is_asked_for(accept: bytes | None, content_type: str) -> None:
    text, shown = metrics_page(CollectorRegistry(), accept)
    assert shown.startswith(content_type)
    assert text.endswith(b"# EOF\n") is (content_type != "text/plain")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (SAMPLED, TraceContext(TRACE_ID, "b7ad6b7169203331", True)),
        (SAMPLED[:-2] + b"02", TraceContext(TRACE_ID, "b7ad6b7169203331", False)),
        (b"cc" + SAMPLED[2:] + b"-what-the-future-brings", TraceContext(TRACE_ID, "b7ad6b7169203331", True)),
        (None, None),
        (b"", None),
        (SAMPLED + b"-x", None),
        (b"ff" + SAMPLED[2:], None),
        (SAMPLED.upper(), None),
        (SAMPLED.replace(TRACE_ID.encode(), b"0" * 32), None),
        (SAMPLED.replace(b"b7ad6b7169203331", b"0" * 16), None),
        (SAMPLED[:-3], None),
    ],
)
def test_trace_context(header: bytes | None, expected: TraceContext | None) -> None:
    assert read_trace_context(header) == expected


@given(st.binary(max_size=80))
def test_any_trace_context_is_borne(header: bytes) -> None:
    read = read_trace_context(header)
    assert read is None or replace(read) == read


@pytest.mark.parametrize("status", [400, 403, 404, 408, 413, 429, 500, 501, 503, 504])
def test_every_status_has_a_reason(status: int) -> None:
    assert reason_of(status) in FailureReason
