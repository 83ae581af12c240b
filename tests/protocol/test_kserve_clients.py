"""KServe's own SDK clients, over REST and gRPC, unchanged."""

import numpy as np
import pytest
from conftest import Served
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig


def request(model: str, data: np.ndarray, datatype: str, *, binary: bool) -> InferRequest:
    tensor = InferInput(name="x", shape=list(data.shape), datatype=datatype)
    tensor.set_data_from_numpy(data, binary_data=binary)
    return InferRequest(model_name=model, infer_inputs=[tensor], request_id="r9")


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
async def test_rest(served: Served, binary: bool) -> None:
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    base = f"http://{served.http}"
    assert await client.is_server_live(base)
    assert await client.is_server_ready(base)
    assert await client.is_model_ready(base, "digits")
    x = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    answer = await client.infer(base, request("digits", x, "FP32", binary=binary), model_name="digits")
    assert answer.id == "r9"
    assert answer.outputs[0].as_numpy().tolist() == (2 * x).tolist()


@pytest.mark.parametrize("binary", [False, True], ids=["typed", "raw"])
async def test_grpc(served: Served, binary: bool) -> None:
    client = InferenceGRPCClient(url=served.grpc)
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("digits")
    x = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    answer = await client.infer(request("digits", x, "FP32", binary=binary))
    assert (answer.id, answer.model_name) == ("r9", "digits")
    assert answer.outputs[0].as_numpy().tolist() == (2 * x).tolist()
    halves = np.array([0.5, -2.0], np.float16)
    answer = await client.infer(request("halves", halves, "FP16", binary=True))
    assert answer.outputs[0].as_numpy().tolist() == [0.5, -2.0]
    await client.close()
