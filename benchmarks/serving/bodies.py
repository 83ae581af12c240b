"""Requests of the Open Inference Protocol V2 for a workload, and what a reply says."""

import json
from dataclasses import dataclass
from enum import Enum
from importlib.resources import files
from typing import Any, Final

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_LENGTH_HEADER: Final = "Inference-Header-Content-Length"
Floats = np.ndarray[Any, np.dtype[np.float32]]


class Form(Enum):
    """How tensors travel; the value is how tables call it."""

    JSON = "JSON"
    BINARY = "binary"
    GRPC = "gRPC"


@dataclass(frozen=True, slots=True)
class Request:
    """A request that is sent again and again.

    Attributes:
        path: Path of the infer call.
        headers: Headers besides those of the connection.
        body: Body; over gRPC the message.
        grpc: Whether it goes over gRPC.
    """

    path: str
    headers: dict[str, str]
    body: bytes
    grpc: bool = False

    def http(self) -> bytes:
        """Return it as it goes over a keep-alive connection."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        head = f"POST {self.path} HTTP/1.1\r\nHost: bench\r\n{lines}Content-Length: {len(self.body)}\r\n\r\n"
        return head.encode() + self.body


def json_request(model: str, sample: Floats) -> Request:
    """Return a request with the tensor as JSON numbers."""
    tensor = {
        "name": "input",
        "shape": list(sample.shape),
        "datatype": "FP32",
        "data": sample.ravel().tolist(),
    }
    body = json.dumps({"inputs": [tensor]}).encode()
    return Request(_path(model), {"Content-Type": "application/json"}, body)


def binary_request(model: str, sample: Floats) -> Request:
    """Return a request with the tensor as bytes, which asks for bytes."""
    raw = sample.tobytes()
    document = {
        "inputs": [
            {
                "name": "input",
                "shape": list(sample.shape),
                "datatype": "FP32",
                "parameters": {"binary_data_size": len(raw)},
            }
        ],
        "outputs": [{"name": "output", "parameters": {"binary_data": True}}],
    }
    head = json.dumps(document).encode()
    headers = {"Content-Type": "application/octet-stream", _LENGTH_HEADER: str(len(head))}
    return Request(_path(model), headers, head + raw)


def grpc_request(model: str, sample: Floats) -> Request:
    """Return a ModelInferRequest with the tensor as raw contents."""
    message = _grpc_message("ModelInferRequest")
    message.model_name = model
    message.inputs.add(name="input", datatype="FP32", shape=sample.shape)
    message.raw_input_contents.append(sample.tobytes())
    return Request("", {}, message.SerializeToString(), grpc=True)


def grpc_reply_values(answer: bytes) -> Floats:
    """Return the values of the only output of a ModelInferResponse, raw or typed."""
    message = _grpc_message("ModelInferResponse")
    message.ParseFromString(answer)
    if message.raw_output_contents:
        return np.frombuffer(message.raw_output_contents[0], np.float32)
    return np.asarray(message.outputs[0].contents.fp32_contents, np.float32)


def _grpc_message(name: str) -> Any:
    # Google's own classes, so that what is sent and read does not rest on the runtime's reading of the protocol.
    content = (files("fleetfit_runtime.serve.grpc") / "descriptors.binpb").read_bytes()
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(content).file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"inference.{name}"))()


def reply_values(headers: dict[str, str], body: bytes) -> Floats:
    """Return the values of the only output of a reply, whichever form it has.

    Args:
        headers: Headers of the reply with lower-case names.
        body: Its body.

    Raises:
        ValueError: it is no reply with one FP32 output.
    """
    length = headers.get(_LENGTH_HEADER.lower())
    document = json.loads(body if length is None else body[: int(length)])
    output = document["outputs"][0]
    if "data" in output:
        return np.asarray(output["data"], np.float32).ravel()
    return np.frombuffer(body[int(length or 0) :], np.float32)


def _path(model: str) -> str:
    return f"/v2/models/{model}/infer"
