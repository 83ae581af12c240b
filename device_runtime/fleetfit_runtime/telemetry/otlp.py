"""Finished requests as OpenTelemetry's spans, in the JSON form of its protocol (OTLP). Pure.

Names follow OpenTelemetry's semantic conventions for HTTP and RPC servers. Each request is a server span with one span
for the time in which it waited and one for its run below it.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from fleetfit_runtime.serve.grpc.status import grpc_status
from fleetfit_runtime.telemetry.spans import FinishedRequest, RunTimes

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.37.0"
_SCOPE: Final = "fleetfit_runtime"
_INTERNAL: Final = 1
_SERVER: Final = 2
_ERROR: Final = 2
# Bits of a span's flags: it is sampled, it is known whether its parent is remote, and it is.
_SAMPLED: Final = 0x101
_REMOTE_PARENT: Final = 0x200
_NS_PER_S: Final = 1e9
_LONGEST_PATH: Final = 256
_ROUTE: Final = "/v2/models/{model}/infer"
_CANCELLED: Final = "CANCELLED"

Attributes = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class SpanForm:
    """What all spans of a process share.

    Args:
        resource: attributes of the process.
        version: version of the runtime.
        rng: makes the ids of spans.
    """

    resource: Attributes
    version: str
    rng: random.Random

    def body(self, requests: Iterable[FinishedRequest], wall_s: float, clock_s: float) -> bytes:
        """Return the body of an export.

        Args:
            requests: what is exported.
            wall_s: the wall clock now, in seconds since 1970.
            clock_s: the clock of the requests' times now.
        """
        offset_s = wall_s - clock_s
        spans = [span for request in requests for span in self._spans(request, offset_s)]
        scope = {"scope": {"name": _SCOPE, "version": self.version}, "spans": spans, "schemaUrl": SCHEMA_URL}
        resource = {
            "resource": {"attributes": _attributes(self.resource)},
            "scopeSpans": [scope],
            "schemaUrl": SCHEMA_URL,
        }
        return orjson.dumps({"resourceSpans": [resource]})

    def _spans(self, request: FinishedRequest, offset_s: float) -> list[dict[str, Any]]:
        name, attributes = _called(request)
        times_s = (request.begun_s + offset_s, request.ended_s + offset_s)
        server = self._span(request, name, _SERVER, times_s, attributes)
        if request.parent_id:
            server["parentSpanId"] = request.parent_id
            server["flags"] |= _REMOTE_PARENT
        if request.outcome.status >= 500:
            server["status"] = {"code": _ERROR, "message": request.outcome.reason}
        spans = [server]
        run = request.run
        if run is not None and run.run_s:
            run_attributes = _run_attributes(request, run)
            begun_s, ended_s = run.begun_s + offset_s, run.begun_s + run.run_s + offset_s
            spans += [
                self._span(request, "queue", _INTERNAL, (times_s[0], begun_s), {}),
                self._span(request, "inference", _INTERNAL, (begun_s, ended_s), run_attributes),
            ]
            for span in spans[1:]:
                span["parentSpanId"] = server["spanId"]
        return spans

    def _span(
        self,
        request: FinishedRequest,
        name: str,
        kind: int,
        times_s: tuple[float, float],
        attributes: Attributes,
    ) -> dict[str, Any]:
        begin_ns, end_ns = (round(time_s * _NS_PER_S) for time_s in times_s)
        return {
            "traceId": request.trace_id,
            "spanId": f"{self.rng.getrandbits(64) or 1:016x}",
            "flags": _SAMPLED,
            "name": name,
            "kind": kind,
            "startTimeUnixNano": str(begin_ns),
            "endTimeUnixNano": str(max(begin_ns, end_ns)),
            "attributes": _attributes(attributes),
        }


def _called(request: FinishedRequest) -> tuple[str, dict[str, str | int]]:
    """Return name and attributes of the server span."""
    attributes: dict[str, str | int] = {}
    if request.peer:
        attributes["client.address"] = request.peer
    name = f"{request.method} {_ROUTE}" if request.method else request.path.removeprefix("/")
    if request.method:
        attributes |= {
            "http.request.method": request.method,
            "http.route": _ROUTE,
            "url.scheme": "http",
            "url.path": request.path.partition("?")[0][:_LONGEST_PATH],
        }
        if request.outcome.status:
            attributes["http.response.status_code"] = request.outcome.status
        outcome = str(request.outcome.status)
    else:
        outcome = _rpc_outcome(request.outcome.status)
        attributes |= {"rpc.system.name": "grpc", "rpc.method": name, "rpc.response.status_code": outcome}
    if request.outcome.status >= 500:  # what is the client's fault is no error of a server
        attributes["error.type"] = outcome
    if request.outcome.reason:
        attributes["fleetfit.failure"] = request.outcome.reason
    if request.outcome.model:
        attributes["fleetfit.model"] = request.outcome.model
    return name, attributes


def _rpc_outcome(status: int) -> str:
    if status == 200:
        return "OK"
    return grpc_status(status).name if status else _CANCELLED


def _run_attributes(request: FinishedRequest, run: RunTimes) -> Attributes:
    return {
        "fleetfit.model": request.outcome.model,
        "fleetfit.variant": run.variant,
        "fleetfit.provider": run.provider,
        "fleetfit.batch.items": run.items,
    }


def _attributes(attributes: Attributes) -> Sequence[dict[str, Any]]:
    # Whole numbers are strings in OTLP's JSON, as in that of protobuf.
    return [
        {
            "key": key,
            "value": {"stringValue": value} if isinstance(value, str) else {"intValue": str(value)},
        }
        for key, value in attributes.items()
    ]
