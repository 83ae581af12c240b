"""gRPC's own client against a node's runtime in this process; its messages are made from the committed descriptors."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
from fleetfit_runtime.serve.grpc.call import BodyBudget, CallRules
from fleetfit_runtime.serve.grpc.services import GrpcParts, grpc_dispatcher
from fleetfit_runtime.serve.http2.connection import Http2Limits
from fleetfit_runtime.serve.http2.server import Http2Server
from fleetfit_runtime.serve.service import ServiceTerms
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from runtime_node import Node

MAX_MESSAGE_BYTES = 4 << 20


class Messages:
    """The classes of the committed descriptors, in a pool of their own."""

    def __init__(self) -> None:
        content = files("fleetfit_runtime.serve.grpc") / "descriptors.binpb"
        file_set = descriptor_pb2.FileDescriptorSet.FromString(content.read_bytes())
        self._pool = descriptor_pool.DescriptorPool()
        for file in file_set.file:
            self._pool.Add(file)

    def __call__(self, name: str) -> Any:
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(name))


MESSAGES = Messages()


@dataclass
class GrpcNode:
    """A node with its gRPC server and a client."""

    node: Node
    server: Http2Server
    channel: grpc.aio.Channel

    async def call(self, method: str, request: Any = None, **over: Any) -> Any:
        """Call a unary method such as ModelInfer, or /package.Service/Method."""
        path = method if method.startswith("/") else f"/inference.GRPCInferenceService/{method}"
        name = path.rpartition("/")[2]
        answer = MESSAGES(over.pop("answer", f"inference.{name}Response"))
        if request is None:
            request = MESSAGES(f"inference.{name}Request")()
        stub = self.channel.unary_unary(
            path,
            request_serializer=lambda sent: sent if isinstance(sent, bytes) else sent.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return await stub(request, timeout=over.pop("timeout", 20.0), **over)

    async def infer(self, request: Any, **over: Any) -> Any:
        return await self.call("ModelInfer", request, **over)


@asynccontextmanager
async def grpc_node(
    node: Node,
    limits: Http2Limits | None = None,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    options: list[tuple[str, Any]] | None = None,
    model_control: bool = False,
) -> AsyncIterator[GrpcNode]:
    terms = ServiceTerms("test", max_message_bytes, model_control)
    parts = GrpcParts(node.table, node.agent, node.desk, node.counts, terms)
    rules = CallRules(max_message_bytes, BodyBudget(4 * max_message_bytes), asyncio.get_running_loop())
    server = Http2Server(grpc_dispatcher(parts, rules).open, limits or Http2Limits(), 64)
    await server.start("127.0.0.1", 0)
    channel = grpc.aio.insecure_channel(
        f"127.0.0.1:{server.port}", options=[("grpc.max_receive_message_length", -1), *(options or [])]
    )
    try:
        yield GrpcNode(node, server, channel)
    finally:
        await channel.close()
        await server.drain(5.0)


def infer_request(model: str = "digits", **over: Any) -> Any:
    return MESSAGES("inference.ModelInferRequest")(model_name=model, **over)


def input_tensor(datatype: str, shape: list[int], contents: Any = None, name: str = "x") -> Any:
    tensor = MESSAGES("inference.ModelInferRequest.InferInputTensor")(
        name=name, datatype=datatype, shape=shape
    )
    if contents is not None:
        tensor.contents.CopyFrom(MESSAGES("inference.InferTensorContents")(**contents))
    return tensor


def raw_request(values: list[float], **over: Any) -> Any:
    data = np.array(values, np.float32)
    return infer_request(
        inputs=[input_tensor("FP32", [1, len(values)])], raw_input_contents=[data.tobytes()], **over
    )


async def fails(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""
