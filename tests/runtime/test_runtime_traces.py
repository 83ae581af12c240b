"""Traces of the real process, as a collector receives them: OTLP over HTTP, read by the protocol's own messages."""

import asyncio
import base64
import signal
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
import orjson
from aiohttp import web
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from runtime_grpc import MESSAGES
from runtime_models import saved, scale_model
from runtime_process import line_with, remember, runtime_on_all_ports

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
SAMPLED = f"00-{TRACE_ID}-{PARENT_ID}-01"
UNSAMPLED = f"00-{TRACE_ID}-{PARENT_ID}-00"
BODY = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "50"}


@dataclass
class Collector:
    """A collector that keeps what it gets; it answers with the planned statuses first."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    resources: list[dict[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    planned: list[int] = field(default_factory=list)
    hangs: bool = False
    got: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        content = await request.read()
        self.got.set()
        if self.hangs:
            await asyncio.sleep(60)
        if self.planned:
            return web.Response(status=self.planned.pop(0))
        assert request.content_type == "application/json"
        self.headers.append(dict(request.headers))
        for resource in message(content).resource_spans:
            self.resources.append(
                {each.key: each.value.string_value for each in resource.resource.attributes}
            )
            for scope in resource.scope_spans:
                self.spans += scope.spans
        self.got.set()
        return web.json_response({})

    async def until(self, count: int) -> list[Span]:
        async with asyncio.timeout(20):
            while len(self.spans) < count:
                self.got.clear()
                await self.got.wait()
        return self.spans


def message(content: bytes) -> ExportTraceServiceRequest:
    """Read OTLP's JSON, whose ids are hexadecimal unlike any other JSON of protobuf; unknown names are refused."""

    def with_base64(value: Any) -> Any:
        if isinstance(value, list):
            return [with_base64(each) for each in value]
        if not isinstance(value, dict):
            return value
        return {
            key: base64.b64encode(bytes.fromhex(member)).decode() if key in IDS else with_base64(member)
            for key, member in value.items()
        }

    return json_format.ParseDict(with_base64(orjson.loads(content)), ExportTraceServiceRequest())


IDS = {"traceId", "spanId", "parentSpanId"}


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    made = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", made.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()


def told(span: Span) -> dict[str, str | int]:
    return {
        each.key: each.value.string_value if each.value.HasField("string_value") else each.value.int_value
        for each in span.attributes
    }


async def infer(client: aiohttp.ClientSession, traceparent: str = "", model: str = "digits") -> int:
    headers = {"traceparent": traceparent} if traceparent else {}
    async with client.post(f"/v2/models/{model}/infer?a=b", json=BODY, headers=headers) as response:
        return response.status


async def test_a_request_is_a_server_span_with_its_queue_and_its_run(tmp_path: Path) -> None:
    store = tmp_path / "store"
    remember(store, saved(tmp_path, "a", scale_model(2.0)))
    async with collector() as taker:
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": taker.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-token=a%20secret",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
            **QUICK,
        }
        async with runtime_on_all_ports(store, **settings) as (process, line):
            base = f"http://{line['address']}"
            async with aiohttp.ClientSession(base) as client:
                await line_with(process, "model serves")
                assert await infer(client, SAMPLED) == 200
                assert await infer(client, UNSAMPLED) == 200
                server, queue, inference = await taker.until(3)
                assert await infer(client, SAMPLED, "nothing") == 404
                missing = (await taker.until(4))[3]
            request = MESSAGES("inference.ModelInferRequest")(model_name="digits")
            request.inputs.add(name="x", datatype="FP32", shape=[1, 3])
            request.raw_input_contents.append(struct.pack("<3f", 1, 2, 3))
            channel = grpc.aio.insecure_channel(line["grpc_address"])
            call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            await call(request.SerializeToString(), metadata=[("traceparent", SAMPLED)])
            await channel.close()
            remote = (await taker.until(7))[4]
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    assert (server.trace_id.hex(), server.parent_span_id.hex()) == (TRACE_ID, PARENT_ID)
    assert (server.kind, server.name) == (Span.SPAN_KIND_SERVER, "POST /v2/models/{model}/infer")
    assert told(server) == {
        "client.address": "127.0.0.1",
        "http.request.method": "POST",
        "http.route": "/v2/models/{model}/infer",
        "url.scheme": "http",
        "url.path": "/v2/models/digits/infer",
        "http.response.status_code": 200,
        "fleetfit.model": "digits",
    }
    assert [queue.name, inference.name] == ["queue", "inference"]
    assert {queue.parent_span_id, inference.parent_span_id} == {server.span_id}
    assert server.start_time_unix_nano == queue.start_time_unix_nano
    assert queue.end_time_unix_nano == inference.start_time_unix_nano
    assert inference.start_time_unix_nano < inference.end_time_unix_nano <= server.end_time_unix_nano
    assert told(inference)["fleetfit.variant"] == "fp32"
    assert told(inference)["fleetfit.provider"] == "CPUExecutionProvider"
    assert told(missing)["http.response.status_code"] == 404
    assert told(missing)["fleetfit.failure"] == "not_found"
    assert missing.status.code == Status.STATUS_CODE_UNSET
    assert remote.name == "inference.GRPCInferenceService/ModelInfer"
    assert told(remote)["rpc.system.name"] == "grpc"
    assert told(remote)["rpc.response.status_code"] == "OK"
    assert remote.parent_span_id.hex() == PARENT_ID
    assert taker.headers[0]["x-token"] == "a secret"
    resource = taker.resources[0]
    assert resource["service.name"] == "fleetfit-runtime"
    assert (resource["host.name"], resource["deployment.environment.name"]) == ("n1", "test")


async def test_a_collector_that_fails_is_tried_again_and_one_that_hangs_harms_nobody(tmp_path: Path) -> None:
    store = tmp_path / "store"
    remember(store, saved(tmp_path, "a", scale_model(2.0)))
    async with collector() as taker:
        taker.planned += [503, 429]
        settings = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{taker.url}/v1/traces", **QUICK}
        async with runtime_on_all_ports(store, **settings) as (process, line):
            async with aiohttp.ClientSession(f"http://{line['address']}") as client:
                await line_with(process, "model serves")
                assert await infer(client) == 200
                assert len(await taker.until(3)) == 3
                taker.hangs = True
                taker.got.clear()
                assert await infer(client) == 200
                async with asyncio.timeout(20):
                    await taker.got.wait()
                assert [await infer(client) for _ in range(20)] == [200] * 20
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0


async def test_without_a_collector_nothing_is_traced_and_exemplars_are_off(tmp_path: Path) -> None:
    store = tmp_path / "store"
    remember(store, saved(tmp_path, "a", scale_model(2.0)))
    async with (
        runtime_on_all_ports(store) as (process, line),
        aiohttp.ClientSession(f"http://{line['address']}") as client,
    ):
        await line_with(process, "model serves")
        assert await infer(client, SAMPLED) == 200
        accept = {"Accept": "application/openmetrics-text;version=1.0.0"}
        async with client.get("/metrics", headers=accept) as response:
            page = await response.text()
    assert page.endswith("# EOF\n")
    assert "trace_id" not in page
    assert "fleetfit_runtime_spans" not in page


async def test_without_metrics_the_page_is_empty_and_requests_are_answered(tmp_path: Path) -> None:
    store = tmp_path / "store"
    remember(store, saved(tmp_path, "a", scale_model(2.0)))
    async with (
        runtime_on_all_ports(store, FLEETFIT_METRICS="false") as (process, line),
        aiohttp.ClientSession(f"http://{line['address']}") as client,
    ):
        await line_with(process, "model serves")
        assert await infer(client) == 200
        assert await infer(client, model="nothing") == 404
        async with client.get("/metrics") as response:
            assert (response.status, await response.text()) == (200, "")
