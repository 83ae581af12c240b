"""Conformance to the Open Inference Protocol V2 over real sockets: JSON, binary tensors, errors."""

import asyncio
import struct
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from fleetfit_api.model_status import ModelPhase
from onnx import ModelProto, TensorProto
from runtime_models import assignment, identity_model, saved, scale_model, slow_model, two_input_model
from runtime_node import Node


async def serve(node: Node, directory: Path, model: ModelProto, **over: object) -> None:
    node.assign(assignment(saved(directory, "model", model), **over))
    await node.until_phase(ModelPhase.READY)


async def call(
    node: Node, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, method: str = ""
) -> tuple[int, dict[str, str], bytes]:
    verb = method or ("GET" if body is None else "POST")
    async with node.client.request(verb, node.url(path), data=body, headers=headers) as response:
        return response.status, dict(response.headers), await response.read()


async def infer(node: Node, document: object, path: str = "/v2/models/digits/infer") -> tuple[int, Any]:
    status, headers, body = await call(node, path, orjson.dumps(document))
    assert headers["Content-Type"] == "application/json"
    return status, orjson.loads(body)


def tensor(data: object, shape: list[int] | None = None, **over: object) -> dict[str, object]:
    return {"name": "x", "shape": shape or [1, 3], "datatype": "FP32", "data": data, **over}


async def test_calls_about_the_server_and_the_model(node: Node, tmp_path: Path) -> None:
    await serve(node, tmp_path, scale_model(2.0), variant="int8")
    answers = {}
    for path in (
        "/v2",
        "/v2/",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models",
        "/v2/models/digits",
        "/v2/models/digits/versions/int8",
        "/v2/models/digits/ready",
        "/v2/models/digits/versions/int8/ready?x=1",
    ):
        status, headers, body = await call(node, path)
        assert (status, headers["Content-Type"]) == (200, "application/json"), path
        answers[path] = orjson.loads(body)
    assert answers["/v2"] == answers["/v2/"]
    assert answers["/v2"]["extensions"] == [
        "binary_tensor_data",
        "statistics",
        "fleetfit_ratings",
        "model_repository",
    ]
    assert answers["/v2/health/live"] == {"live": True}
    assert answers["/v2/health/ready"] == {"ready": True}
    assert answers["/v2/models"] == {"models": ["digits"]}
    metadata = answers["/v2/models/digits"]
    assert metadata == answers["/v2/models/digits/versions/int8"]
    assert metadata["platform"] == "onnx_onnxv1"
    assert metadata["versions"] == ["int8"]
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]
    assert metadata["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}]
    assert answers["/v2/models/digits/ready"] == {"name": "digits", "ready": True}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/other/ready", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("GET", "/v2/models/digits/versions/other", 404),
        ("POST", "/v2/models/digits/versions/other/infer", 404),
        ("GET", "/v2/models/digits/infer", 405),
        ("POST", "/v2", 405),
        ("DELETE", "/v2/models/digits", 405),
        ("PUT", "/v2/models/digits/infer", 405),
    ],
)
async def test_wrong_calls(node: Node, tmp_path: Path, method: str, path: str, status: int) -> None:
    await serve(node, tmp_path, scale_model(2.0))
    got, headers, body = await call(node, path, b"{}", method=method)
    assert (got, headers["Content-Type"]) == (status, "application/json")
    assert isinstance(orjson.loads(body)["error"], str)


async def test_head_has_the_length_and_no_body(node: Node) -> None:
    status, headers, body = await call(node, "/v2/health/live", method="HEAD")
    assert (status, headers["Content-Length"], body) == (200, "13", b"")


@pytest.mark.parametrize(
    "data", [[1, 2, 3], [[1.0, 2.0, 3.0]], [1.0, 2, 3e0]], ids=["flat", "nested", "mixed"]
)
async def test_json_data_flat_or_nested(node: Node, tmp_path: Path, data: object) -> None:
    await serve(node, tmp_path, scale_model(2.0))
    status, answer = await infer(node, {"id": "42", "inputs": [tensor(data)]})
    assert status == 200
    assert answer["id"] == "42"
    assert answer["model_name"] == "digits"
    assert answer["parameters"] == {"provider": "CPUExecutionProvider"}
    assert answer["outputs"][0]["data"] == [2.0, 4.0, 6.0]


async def test_version_in_the_path(node: Node, tmp_path: Path) -> None:
    await serve(node, tmp_path, scale_model(2.0), variant="int8")
    path = "/v2/models/digits/versions/int8/infer"
    status, answer = await infer(node, {"inputs": [tensor([1, 2, 3])]}, path)
    assert (status, answer["model_version"]) == (200, "int8")


async def test_model_name_may_be_percent_encoded(node: Node, tmp_path: Path) -> None:
    await serve(node, tmp_path, scale_model(2.0), model_name="a b/c")
    status, answer = await infer(node, {"inputs": [tensor([1, 2, 3])]}, "/v2/models/a%20b%2Fc/infer")
    assert (status, answer["model_name"]) == (200, "a b/c")


JSON_TYPES = [
    (TensorProto.BOOL, "BOOL", [True, False]),
    (TensorProto.UINT8, "UINT8", [0, 255]),
    (TensorProto.UINT16, "UINT16", [0, 65535]),
    (TensorProto.UINT32, "UINT32", [0, 2**32 - 1]),
    (TensorProto.UINT64, "UINT64", [0, 2**64 - 1]),
    (TensorProto.INT8, "INT8", [-128, 127]),
    (TensorProto.INT16, "INT16", [-32768, 32767]),
    (TensorProto.INT32, "INT32", [-(2**31), 2**31 - 1]),
    (TensorProto.INT64, "INT64", [-(2**63), 2**63 - 1]),
    (TensorProto.FLOAT16, "FP16", [0.5, -2.0]),
    (TensorProto.FLOAT, "FP32", [0.1, 3.0e38]),
    (TensorProto.DOUBLE, "FP64", [0.1, 1e300]),
    (TensorProto.STRING, "BYTES", ["a", "日本"]),
]


@pytest.mark.parametrize(("onnx_type", "datatype", "data"), JSON_TYPES, ids=[t[1] for t in JSON_TYPES])
async def test_every_datatype_goes_there_and_back(
    node: Node, tmp_path: Path, onnx_type: int, datatype: str, data: list[Any]
) -> None:
    await serve(node, tmp_path, identity_model(onnx_type))
    status, answer = await infer(
        node, {"inputs": [{"name": "x", "shape": [2], "datatype": datatype, "data": data}]}
    )
    assert status == 200, answer
    assert answer["outputs"] == [{"name": "y", "shape": [2], "datatype": datatype, "data": data}]
    if datatype == "BYTES":
        raw = b"".join(struct.pack("<I", len(item.encode())) + item.encode() for item in data)
    else:
        codes = {"BOOL": "?", "FP16": "f2", "FP32": "f4", "FP64": "f8"}
        bits = "".join(filter(str.isdigit, datatype))
        code = codes.get(datatype) or f"{'u' if datatype[0] == 'U' else 'i'}{int(bits or 8) // 8}"
        raw = np.array(data, code).tobytes()
    head = orjson.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "shape": [2],
                    "datatype": datatype,
                    "parameters": {"binary_data_size": len(raw)},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    )
    status, headers, body = await call(
        node,
        "/v2/models/digits/infer",
        head + raw,
        {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"},
    )
    assert status == 200, body
    assert headers["Content-Type"] == "application/octet-stream"
    length = int(headers["Inference-Header-Content-Length"])
    described = orjson.loads(body[:length])["outputs"][0]
    assert described["parameters"] == {"binary_data_size": len(raw)}
    assert "data" not in described
    assert body[length:] == raw


async def test_binary_and_json_tensors_in_one_request(node: Node, tmp_path: Path) -> None:
    await serve(node, tmp_path, two_input_model())
    raw = np.array([[1, 2], [3, 4]], np.float32).tobytes()
    head = orjson.dumps(
        {
            "inputs": [
                {"name": "a", "shape": [2, 2], "datatype": "FP32", "parameters": {"binary_data_size": 16}},
                {"name": "b", "shape": [2, 2], "datatype": "FP32", "data": [1, 1, 1, 1]},
            ],
            "outputs": [
                {"name": "difference", "parameters": {"binary_data": True}},
                {"name": "sum"},
            ],
        }
    )
    status, headers, body = await call(
        node, "/v2/models/digits/infer", head + raw, {"Inference-Header-Content-Length": str(len(head))}
    )
    assert status == 200, body
    length = int(headers["Inference-Header-Content-Length"])
    difference, total = orjson.loads(body[:length])["outputs"]
    assert (difference["name"], total["name"]) == ("difference", "sum")
    assert total["data"] == [2.0, 3.0, 4.0, 5.0]
    assert np.frombuffer(body[length:], np.float32).tolist() == [0.0, 1.0, 2.0, 3.0]


async def test_only_asked_outputs_come_back(node: Node, tmp_path: Path) -> None:
    await serve(node, tmp_path, two_input_model())
    ones = {"shape": [2, 2], "datatype": "FP32", "data": [[1, 1], [1, 1]]}
    inputs = [{"name": "a", **ones}, {"name": "b", **ones}]
    _, answer = await infer(node, {"inputs": inputs, "outputs": [{"name": "sum"}]})
    assert [output["name"] for output in answer["outputs"]] == ["sum"]
    _, answer = await infer(node, {"inputs": inputs})
    assert [output["name"] for output in answer["outputs"]] == ["sum", "difference"]


GOOD = {"inputs": [tensor([1, 2, 3])]}
BAD_BODIES = {
    "not-json": b"{",
    "not-utf8": b'{"id": "\xff"}',
    "array": b"[]",
    "no-inputs": b"{}",
    "inputs-no-array": b'{"inputs": {}}',
    "empty-inputs": b'{"inputs": []}',
    "input-no-object": b'{"inputs": [1]}',
    "no-name": {"inputs": [{"shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]},
    "unknown-input": {"inputs": [tensor([1, 2, 3], name="z")]},
    "twice": {"inputs": [tensor([1, 2, 3]), tensor([1, 2, 3])]},
    "no-data": {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32"}]},
    "data-no-array": {"inputs": [tensor(5)]},
    "too-few": {"inputs": [tensor([1, 2])]},
    "too-many": {"inputs": [tensor([1, 2, 3, 4])]},
    "ragged": {"inputs": [tensor([[1, 2], [3]])]},
    "wrong-nesting": {"inputs": [tensor([[1], [2], [3]])]},
    "strings": {"inputs": [tensor(["1", "2", "3"])]},
    "null": {"inputs": [tensor([1, None, 3])]},
    "objects": {"inputs": [tensor([1, {}, 3])]},
    "booleans": {"inputs": [tensor([True, False, True])]},
    "too-large-number": {"inputs": [tensor([1e300, 2, 3])]},
    "wrong-datatype": {"inputs": [tensor([1, 2, 3], datatype="INT32")]},
    "unknown-datatype": {"inputs": [tensor([1, 2, 3], datatype="FLOAT")]},
    "wrong-rank": {"inputs": [tensor([1, 2, 3], [3])]},
    "wrong-dimension": {"inputs": [tensor([1, 2], [1, 2])]},
    "negative-dimension": {"inputs": [tensor([1, 2, 3], [-1, 3])]},
    "fractional-dimension": {"inputs": [tensor([1, 2, 3], [1.0, 3])]},  # type: ignore[list-item]  # that is the fault
    "boolean-dimension": {"inputs": [tensor([1, 2, 3], [True, 3])]},
    "huge-dimension": {"inputs": [tensor([1, 2, 3], [2**62, 3])]},
    "id-no-string": {**GOOD, "id": 5},
    "parameters-no-object": {**GOOD, "parameters": []},
    "flag-no-bool": {**GOOD, "parameters": {"binary_data_output": 1}},
    "unknown-output": {**GOOD, "outputs": [{"name": "z"}]},
    "outputs-no-array": {**GOOD, "outputs": {}},
    "output-no-object": {**GOOD, "outputs": [1]},
    "binary-without-bytes": {"inputs": [tensor([1], parameters={"binary_data_size": 12})]},
    "binary-size-negative": {
        "inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": -1}}]
    },
}


@pytest.mark.parametrize("case", list(BAD_BODIES))
async def test_bad_request_gets_a_sentence_and_harms_nobody(node: Node, tmp_path: Path, case: str) -> None:
    await serve(node, tmp_path, scale_model(2.0))
    body = BAD_BODIES[case]
    text = body if isinstance(body, bytes) else orjson.dumps(body)
    status, _, answer = await call(node, "/v2/models/digits/infer", text)
    assert status == 400, answer
    assert len(orjson.loads(answer)["error"]) > 10
    assert (await node.infer([1.0, 2.0, 3.0]))[0] == 200
    ((_, counted),) = [each for each in node.counts.models() if each[0] == "digits"]
    assert (counted.codes[400], counted.failures["invalid"]) == (1, 1)


@pytest.mark.parametrize(
    ("header", "raw"),
    [("abc", b""), ("-1", b""), ("99999", b""), ("9" * 30, b""), ("exact", b"extra"), ("exact", b"0123")],
)
async def test_bad_binary_framing(node: Node, tmp_path: Path, header: str, raw: bytes) -> None:
    await serve(node, tmp_path, scale_model(2.0))
    size = {"binary_data_size": 4} if raw == b"0123" else None
    head = orjson.dumps(
        {"inputs": [tensor([1, 2, 3]) if size is None else {**tensor(0), "parameters": size}]}
    )
    length = str(len(head)) if header == "exact" else header
    status, _, body = await call(
        node, "/v2/models/digits/infer", head + raw, {"Inference-Header-Content-Length": length}
    )
    assert status == 400, body


async def test_slow_model_leaves_health_responsive_and_its_queue_is_bounded(
    make_node: Any, tmp_path: Path
) -> None:
    node: Node = await make_node(max_waiting=4)
    await serve(node, tmp_path, slow_model(2.0, size=400, repeats=12))
    assert node.keeper.served is not None
    assert not node.keeper.served.inline
    calls = [asyncio.create_task(node.infer([1.0, 1.0, 1.0])) for _ in range(12)]
    status, _, _ = await call(node, "/v2/health/live")
    assert status == 200
    assert not all(task.done() for task in calls)
    statuses = sorted([status for status, _ in await asyncio.gather(*calls)])
    assert statuses == [200] * 4 + [503] * 8
