"""Which requests are traced, that spans are bounded, and what is sent of them."""

import random
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from fleetfit_runtime.serve.failure_reason import FailureReason
from fleetfit_runtime.serve.infer_ledger import Failure
from fleetfit_runtime.telemetry.otlp import SpanForm
from fleetfit_runtime.telemetry.request_counts import NoCounts
from fleetfit_runtime.telemetry.span_export import ExportTarget, SpanExporter
from fleetfit_runtime.telemetry.spans import SpanRecorder
from hypothesis import given
from hypothesis import strategies as st

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def recorder(ratio: float = 1.0, seed: int = 1, most: int = 2048) -> SpanRecorder:
    return SpanRecorder(NoCounts(), ratio, random.Random(seed), lambda: 10.0, most)


def asker(trace_parent: bytes | None = None, method: str = "POST", path: str = "/v2/models/m/infer") -> Any:
    return SimpleNamespace(trace_parent=trace_parent, method=method, path=path, peer="10.0.0.7")


def job(trace_parent: bytes | None = None) -> Any:
    model = SimpleNamespace(name="m", variant="a", provider="CPU")
    times = {"queued_s": 1.0, "begun_s": 1.25, "run_s": 0.5, "items": 1, "together": 4}
    return SimpleNamespace(model=model, asker=asker(trace_parent), **times)


def spans_of(made: SpanRecorder) -> list[dict[str, Any]]:
    form = SpanForm({"service.name": "s"}, "1", random.Random(2))
    (resource,) = orjson.loads(form.body(made.take(1000), 1001.0, 1.0))["resourceSpans"]
    spans: list[dict[str, Any]] = resource["scopeSpans"][0]["spans"]
    return spans


@pytest.mark.parametrize(("ratio", "least", "most"), [(0.0, 0, 0), (0.1, 60, 150), (1.0, 1000, 1000)])
def test_a_share_of_requests_without_a_caller_is_traced(ratio: float, least: int, most: int) -> None:
    made = recorder(ratio)
    for _ in range(1000):
        made.served(job(), 0.8)
    assert least <= len(made) <= most


@given(st.floats(0, 1), st.integers(0, 1000))
def test_services_with_one_ratio_agree_on_a_trace(ratio: float, seed: int) -> None:
    made = recorder(ratio, seed)
    for _ in range(50):
        made.served(job(), 0.8)
    for request in made.take(50):
        assert int(request.trace_id[16:], 16) < round(ratio * 2**64)
        assert len(request.trace_id) == 32
        assert request.parent_id == ""


@pytest.mark.parametrize(
    ("flags", "ratio", "count"), [("01", 0.0, 1), ("00", 1.0, 0)], ids=["traced-caller", "untraced-caller"]
)
def test_a_caller_decides_for_its_requests(flags: str, ratio: float, count: int) -> None:
    made = recorder(ratio)
    made.served(job(f"00-{TRACE_ID}-{SPAN_ID}-{flags}".encode()), 0.8)
    assert len(made) == count
    assert all((each.trace_id, each.parent_id) == (TRACE_ID, SPAN_ID) for each in made.take(2))


def test_spans_that_nobody_takes_are_bounded_and_counted() -> None:
    made = recorder(most=10)
    for _ in range(25):
        made.served(job(), 0.8)
    assert (len(made), made.dropped) == (10, 15)


def test_times_are_those_of_the_wall_clock_and_parts_lie_within_the_whole() -> None:
    made = recorder()
    made.served(job(), 0.9)
    server, queue, inference = spans_of(made)
    assert [int(span["startTimeUnixNano"]) for span in (server, queue, inference)] == [
        1001_000_000_000,
        1001_000_000_000,
        1001_250_000_000,
    ]
    assert [int(span["endTimeUnixNano"]) for span in (server, queue, inference)] == [
        1001_900_000_000,
        1001_250_000_000,
        1001_750_000_000,
    ]
    items = {"key": "fleetfit.batch.items", "value": {"intValue": "4"}}
    assert items in inference["attributes"]


@pytest.mark.parametrize(
    ("status", "reason", "method", "error", "code"),
    [
        (400, FailureReason.INVALID, "POST", None, "400"),
        (503, FailureReason.OVERLOADED, "POST", "503", "503"),
        (0, FailureReason.CANCELLED, "POST", None, None),
        (404, FailureReason.NOT_FOUND, "", None, "NOT_FOUND"),
        (504, FailureReason.DEADLINE, "", "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"),
        (0, FailureReason.CANCELLED, "", None, "CANCELLED"),
    ],
)
def test_only_the_servers_faults_are_errors(
    status: int, reason: FailureReason, method: str, error: str | None, code: str | None
) -> None:
    made = recorder()
    path = "/v2/models/m/infer?a=secret" if method else "/inference.GRPCInferenceService/ModelInfer"
    made.failed(Failure("m", status, reason, 0.5, asker(method=method, path=path)))
    (span,) = spans_of(made)
    told = {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}
    assert told.get("error.type") == error
    assert span.get("status", {}).get("code") == (2 if error else None)
    assert told.get("http.response.status_code", told.get("rpc.response.status_code")) == code
    assert told["fleetfit.failure"] == reason
    assert "secret" not in orjson.dumps(span).decode()


async def test_whatever_a_collector_does_the_exporter_goes_on() -> None:
    class Broken:
        def post(self, *_args: object, **_kwargs: object) -> Any:
            raise ZeroDivisionError("a fault nobody thought of")

    made = recorder()
    made.served(job(), 0.8)
    http: Any = Broken()
    form = SpanForm({}, "1", random.Random(1))
    exporter = SpanExporter(made, form, http, ExportTarget("http://c/v1/traces"), random.Random(1))
    await exporter.flush(5.0)
    assert (exporter.sent, exporter.lost, len(made)) == (0, 1, 0)
