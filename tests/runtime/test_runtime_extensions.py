"""Beyond the core of the protocol: compressed bodies, deadlines, statistics, the repository, BF16, batches."""

import asyncio
import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from fleetfit_api.model_status import ModelPhase
from fleetfit_runtime.engine.served_model import ServedModel
from onnx import ModelProto, TensorProto
from runtime_models import assignment, identity_model, saved, scale_model
from runtime_node import MakeNode, Node

INFER = "/v2/models/digits/infer"


async def serve(node: Node, directory: Path, model: ModelProto, **over: object) -> None:
    node.assign(assignment(saved(directory, "model", model), **over))
    await node.until_phase(ModelPhase.READY)


async def call(
    node: Node, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    verb = "GET" if body is None else "POST"
    url = node.url(path)
    skip = () if "Accept-Encoding" in named else ("Accept-Encoding",)
    async with node.client.request(verb, url, data=body, headers=named, skip_auto_headers=skip) as response:
        return response.status, dict(response.headers), await response.read()


def hold(served: ServedModel, gate: asyncio.Event) -> "asyncio.Future[object]":
    """Keep a model's thread busy until the gate opens, so that requests have to wait."""
    loop = asyncio.get_running_loop()
    return served.lane.submit(lambda: asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(10))


def document(x: list[float], **over: object) -> bytes:
    tensor = {"name": "x", "shape": [1, len(x)], "datatype": "FP32", "data": x}
    return orjson.dumps({"inputs": [tensor], **over})


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_compressed_bodies_both_ways(node: Node, tmp_path: Path, coding: str) -> None:
    await serve(node, tmp_path, scale_model(2.0, width=900))
    pack = gzip.compress if coding == "gzip" else zlib.compress
    x = [float(index) for index in range(900)]
    status, headers, body = await call(
        node, INFER, pack(document(x)), Content_Encoding=coding, Accept_Encoding=coding
    )
    assert status == 200, body
    assert headers["Content-Encoding"] == coding
    assert orjson.loads(body)["outputs"][0]["data"] == [2 * each for each in x]  # aiohttp has inflated it
    status, headers, _ = await call(node, INFER, document(x))
    assert status == 200
    assert "Content-Encoding" not in headers


async def test_a_body_is_inflated_no_further_than_the_limit(node: Node, tmp_path: Path) -> None:
    await serve(node, tmp_path, scale_model(2.0))
    bomb = gzip.compress(b" " * (65 << 20))
    status, _, body = await call(node, INFER, bomb, Content_Encoding="gzip")
    assert status == 413, body
    assert (await call(node, INFER, b"x", Content_Encoding="br"))[0] == 415
    assert (await call(node, INFER, b"x", Content_Encoding="gzip"))[0] == 400
    assert (await node.infer([1.0, 2.0, 3.0]))[0] == 200


@pytest.mark.parametrize("by_header", [True, False], ids=["header", "parameter"])
async def test_a_request_whose_time_is_up_does_not_run(node: Node, tmp_path: Path, by_header: bool) -> None:
    await serve(node, tmp_path, scale_model(2.0))
    served = node.keeper.served
    assert served is not None
    gate = asyncio.Event()
    held = hold(served, gate)
    if by_header:
        late = call(node, INFER, document([1.0, 1.0, 1.0]), fleetfit_timeout_ms="1")
    else:
        late = call(node, INFER, document([1.0, 1.0, 1.0], parameters={"timeout": 1000}))
    answer = asyncio.create_task(late)
    while served.lane.waiting < 2:  # noqa: ASYNC110 - the lane has no event
        await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.003, gate.set)
    status, _, body = await answer
    assert status == 504, body
    await held
    assert served.counts.items == 0


@pytest.mark.parametrize(
    ("headers", "over"),
    [
        ({"fleetfit_timeout_ms": "soon"}, {}),
        ({"fleetfit_timeout_ms": "0"}, {}),
        ({}, {"parameters": {"timeout": -1}}),
    ],
)
async def test_a_wrong_deadline_is_refused(
    node: Node, tmp_path: Path, headers: dict[str, str], over: dict[str, object]
) -> None:
    await serve(node, tmp_path, scale_model(2.0))
    assert (await call(node, INFER, document([1.0, 2.0, 3.0], **over), **headers))[0] == 400


async def test_a_request_whose_client_has_gone_does_not_run(node: Node, tmp_path: Path) -> None:
    await serve(node, tmp_path, scale_model(2.0))
    served = node.keeper.served
    assert served is not None
    gate = asyncio.Event()
    held = hold(served, gate)
    _, writer = await asyncio.open_connection("127.0.0.1", node.server.port)
    body = document([1.0, 1.0, 1.0])
    writer.write(b"POST %b HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (INFER.encode(), len(body)) + body)
    while served.lane.waiting < 2:  # noqa: ASYNC110 - the lane has no event
        await asyncio.sleep(0)
    writer.transport.abort()
    while node.server.connection_count:  # noqa: ASYNC110 - nor has the server
        await asyncio.sleep(0)
    gate.set()
    await held
    assert (await node.infer([1.0, 1.0, 1.0]))[0] == 200
    assert served.counts.items == 1


async def test_statistics_in_tritons_form(node: Node, tmp_path: Path) -> None:
    await serve(node, tmp_path, scale_model(2.0), variant="int8")
    for _ in range(3):
        await node.infer([1.0, 2.0, 3.0])
    await call(node, INFER, b"{}")
    _, _, one = await call(node, "/v2/models/digits/versions/int8/stats")
    _, _, every = await call(node, "/v2/models/stats")
    assert one == every
    (stats,) = orjson.loads(one)["model_stats"]
    assert (stats["name"], stats["version"], stats["inference_count"], stats["execution_count"]) == (
        ("digits", "int8", 3, 3)
    )
    assert stats["inference_stats"]["success"]["count"] == 3
    assert stats["inference_stats"]["fail"]["count"] == 1
    assert stats["inference_stats"]["success"]["ns"] >= stats["inference_stats"]["compute_infer"]["ns"] > 0
    assert [batch["batch_size"] for batch in stats["batch_stats"]] == [1]
    assert stats["last_inference"] > 0
    assert (await call(node, "/v2/models/other/stats"))[0] == 404


async def test_repository_unloads_and_loads_an_assigned_model(node: Node, tmp_path: Path) -> None:
    await serve(node, tmp_path, scale_model(2.0))

    async def index(body: bytes = b"") -> Any:
        status, _, answer = await call(node, "/v2/repository/index", body)
        assert status == 200
        return orjson.loads(answer)

    ready = {"name": "digits", "version": "fp32", "state": "READY", "reason": ""}
    assert await index() == await index(b'{"ready":true}') == [ready]
    status, _, body = await call(node, "/v2/repository/models/digits/unload", b"")
    assert (status, orjson.loads(body)) == (200, {"name": "digits", "unload": True})
    assert (await node.infer([1.0, 2.0, 3.0]))[0] == 503
    assert (await index())[0]["state"] == "UNAVAILABLE"
    assert await index(b'{"ready":true}') == []
    status, _, body = await call(node, "/v2/repository/models/digits/load", b"{}")
    assert (status, orjson.loads(body)) == (200, {"name": "digits", "load": True})
    await node.until_phase(ModelPhase.READY)
    assert (await node.infer([1.0, 2.0, 3.0]))[0] == 200
    assert (await call(node, "/v2/repository/models/other/load", b""))[0] == 404
    assert (await call(node, "/v2/repository/index", b"[]"))[0] == 400


async def test_repository_is_closed_unless_it_is_opened(make_node: MakeNode, tmp_path: Path) -> None:
    node = await make_node(model_control=False)
    await serve(node, tmp_path, scale_model(2.0))
    assert (await call(node, "/v2/repository/models/digits/unload", b""))[0] == 403
    assert (await call(node, "/v2/repository/index", b""))[0] == 200
    assert (await node.infer([1.0, 2.0, 3.0]))[0] == 200


async def test_bfloat16_travels_as_bytes(node: Node, tmp_path: Path) -> None:
    await serve(node, tmp_path, identity_model(TensorProto.BFLOAT16))
    raw = np.array([0x3F80, 0xC000], "<u2").tobytes()
    tensor = {"name": "x", "shape": [2], "datatype": "BF16", "parameters": {"binary_data_size": 4}}
    head = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    length = {"Inference_Header_Content_Length": str(len(head))}
    status, headers, body = await call(node, INFER, head + raw, **length)
    assert status == 200, body
    assert body[int(headers["Inference-Header-Content-Length"]) :] == raw
    head = orjson.dumps({"inputs": [tensor]})
    status, _, body = await call(node, INFER, head + raw, Inference_Header_Content_Length=str(len(head)))
    assert status == 400
    assert "BF16" in orjson.loads(body)["error"]
    head = orjson.dumps({"inputs": [{"name": "x", "shape": [2], "datatype": "BF16", "data": [1, 2]}]})
    assert (await call(node, INFER, head))[0] == 400


async def test_requests_with_a_known_header_get_their_own_values(node: Node, tmp_path: Path) -> None:
    await serve(node, tmp_path, scale_model(2.0, width=3))
    tensor = {"name": "x", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": 12}}
    outputs = [{"name": "y", "parameters": {"binary_data": True}}]
    head = orjson.dumps({"inputs": [tensor], "outputs": outputs})

    async def ask(value: float) -> list[float]:
        raw = np.full(3, value, np.float32).tobytes()
        status, headers, body = await call(
            node, INFER, head + raw, Inference_Header_Content_Length=str(len(head))
        )
        assert status == 200, body
        values: list[float] = np.frombuffer(
            body[int(headers["Inference-Header-Content-Length"]) :], "<f4"
        ).tolist()
        return values

    answers = await asyncio.gather(*(ask(float(value)) for value in range(40)))
    assert answers == [[2.0 * value] * 3 for value in range(40)]
    node.assign(assignment(saved(tmp_path, "other", scale_model(5.0)), "other"))
    await node.until_phase(ModelPhase.READY, "other")
    assert await ask(1.0) == [5.0] * 3
    short = await call(node, INFER, head + b"1234", Inference_Header_Content_Length=str(len(head)))
    assert short[0] == 400
