"""Triton's own clients, over HTTP and gRPC, unchanged."""

import queue
import time
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
from conftest import Served
from tritonclient.utils import InferenceServerException

CLIENTS = [tritonclient.http, tritonclient.grpc]


@pytest.fixture(params=CLIENTS, ids=["http", "grpc"])
def library(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def client(library: Any, served: Served) -> Any:
    return library.InferenceServerClient(served.http if library is tritonclient.http else served.grpc)


def tensor(library: Any, name: str, data: Any, datatype: str) -> Any:
    made = library.InferInput(name, list(data.shape), datatype)
    made.set_data_from_numpy(data)
    return made


def field(document: Any, name: str) -> Any:
    return document[name] if isinstance(document, dict) else getattr(document, name)


def test_server_and_model_are_described(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert field(client.get_server_metadata(), "name") == "fleetfit-runtime"
    metadata = client.get_model_metadata("digits")
    assert field(metadata, "platform") == "onnx_onnxv1"
    (given,) = field(metadata, "inputs")
    assert (field(given, "name"), field(given, "datatype")) == ("x", "FP32")
    assert [int(size) for size in field(given, "shape")] == [-1, 3]


@pytest.mark.parametrize("rows", [1, 5, 20_000])
def test_infer(client: Any, library: Any, rows: int) -> None:
    x = np.arange(3 * rows, dtype=np.float32).reshape(rows, 3)
    answer = client.infer("digits", [tensor(library, "x", x, "FP32")], request_id="r7")
    assert (answer.as_numpy("y") == 2 * x).all()
    assert field(answer.get_response(), "id") == "r7"
    assert field(answer.get_response(), "model_version") == "fp32"


DATA = [
    ("words", "BYTES", np.array(["a", "", "snow \N{SNOWMAN}"], dtype=object)),
    ("halves", "FP16", np.array([0.5, -2.0], np.float16)),
    ("longs", "INT64", np.array([-(2**63), 2**63 - 1], np.int64)),
    ("flags", "BOOL", np.array([True, False, True])),
]


@pytest.mark.parametrize(("model", "datatype", "data"), DATA, ids=[row[1] for row in DATA])
def test_datatypes(client: Any, library: Any, model: str, datatype: str, data: Any) -> None:
    got = client.infer(model, [tensor(library, "x", data, datatype)]).as_numpy("y")
    if datatype == "BYTES":
        assert [item.decode() for item in got] == data.tolist()
    else:
        assert got.dtype == data.dtype
        assert got.tolist() == data.tolist()


def test_bfloat16(client: Any, library: Any) -> None:
    data = np.array([1.0, -2.5], ml_dtypes.bfloat16)
    assert client.infer("brains", [tensor(library, "x", data, "BF16")]).as_numpy("y").tolist() == [1.0, -2.5]


def test_json_tensors_over_http(served: Served) -> None:
    client = tritonclient.http.InferenceServerClient(served.http)
    x = tritonclient.http.InferInput("x", [1, 3], "FP32")
    x.set_data_from_numpy(np.array([[1, 2, 3]], np.float32), binary_data=False)
    y = tritonclient.http.InferRequestedOutput("y", binary_data=False)
    assert client.infer("digits", [x], outputs=[y]).as_numpy("y").tolist() == [[2, 4, 6]]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compression(client: Any, library: Any, algorithm: str) -> None:
    x = np.ones((2000, 3), np.float32)
    given = [tensor(library, "x", x, "FP32")]
    if library is tritonclient.http:
        answer = client.infer(
            "digits",
            given,
            request_compression_algorithm=algorithm,
            response_compression_algorithm=algorithm,
        )
    else:
        answer = client.infer("digits", given, compression_algorithm=algorithm)
    assert (answer.as_numpy("y") == 2).all()


def test_chosen_output_of_several(client: Any, library: Any) -> None:
    ones, twos = np.ones((2, 2), np.float32), np.full((2, 2), 2, np.float32)
    given = [tensor(library, "a", ones, "FP32"), tensor(library, "b", twos, "FP32")]
    answer = client.infer("pair", given, outputs=[library.InferRequestedOutput("difference")])
    assert answer.as_numpy("difference").tolist() == [[-1, -1], [-1, -1]]
    assert answer.as_numpy("sum") is None


def test_errors(client: Any, library: Any) -> None:
    x = tensor(library, "x", np.ones((1, 4), np.float32), "FP32")
    with pytest.raises(InferenceServerException, match="the model wants"):
        client.infer("digits", [x])
    with pytest.raises(InferenceServerException, match="no model 'other'"):
        client.infer("other", [x])


def test_asynchronous_calls(client: Any, library: Any) -> None:
    inputs = [tensor(library, "x", np.full((1, 3), number, np.float32), "FP32") for number in range(8)]
    if library is tritonclient.http:
        waiting = [client.async_infer("digits", [each]) for each in inputs]
        answers = [each.get_result() for each in waiting]
        assert [each.as_numpy("y")[0, 0] for each in answers] == [2 * number for number in range(8)]
        return
    done: queue.Queue[Any] = queue.Queue()
    for each in inputs:
        client.async_infer("digits", [each], callback=lambda result, error: done.put(error or result))
    firsts = sorted(done.get(timeout=20).as_numpy("y")[0, 0] for _ in inputs)
    assert firsts == [2 * number for number in range(8)]


async def test_asyncio_client_with_a_deadline(served: Served) -> None:
    async with tritonclient.grpc.aio.InferenceServerClient(served.grpc) as client:
        x = tensor(tritonclient.grpc, "x", np.ones((1, 3), np.float32), "FP32")
        answer = await client.infer("digits", [x], client_timeout=20.0, timeout=20_000_000)
        assert answer.as_numpy("y").tolist() == [[2, 2, 2]]


def test_statistics(client: Any, library: Any) -> None:
    client.infer("flags", [tensor(library, "x", np.array([True]), "BOOL")])
    (found,) = field(client.get_inference_statistics("flags"), "model_stats")
    assert field(found, "name") == "flags"
    assert int(field(found, "inference_count")) >= 1
    success = field(field(found, "inference_stats"), "success")
    assert int(field(success, "count")) >= 1


def test_repository(client: Any) -> None:
    index = client.get_model_repository_index()
    entries = index if isinstance(index, list) else list(index.models)
    assert {field(each, "name"): field(each, "state") for each in entries}["digits"] == "READY"
    client.unload_model("spare")
    assert not client.is_model_ready("spare")
    client.load_model("spare")
    end_s = time.monotonic() + 20
    while not client.is_model_ready("spare"):
        assert time.monotonic() < end_s
        time.sleep(0.02)  # the client can only ask
