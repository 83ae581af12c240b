"""Conformance to the Open Inference Protocol V2 over gRPC, by gRPC's own client over real sockets."""

import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
from fleetfit_api.model_status import ModelPhase
from onnx import ModelProto, TensorProto
from runtime_grpc import MESSAGES, GrpcNode, fails, grpc_node, infer_request, input_tensor, raw_request
from runtime_models import assignment, identity_model, saved, scale_model, slow_model, two_input_model
from runtime_node import MakeNode, Node, no_collector, requests_alive

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:grpc")


@pytest.fixture
async def served(node: Node) -> AsyncIterator[GrpcNode]:
    async with grpc_node(node) as made:
        yield made


async def serve(node: Node, directory: Path, model: ModelProto, **over: object) -> None:
    node.assign(assignment(saved(directory, "model", model), **over))
    await node.until_phase(ModelPhase.READY)


async def test_calls_about_the_server_and_the_model(served: GrpcNode, tmp_path: Path) -> None:
    assert (await served.call("ServerLive")).live
    await serve(served.node, tmp_path, scale_model(2.0), variant="int8")
    assert (await served.call("ServerReady")).ready
    server = await served.call("ServerMetadata")
    assert (server.name, server.version) == ("fleetfit-runtime", "test")
    ready = MESSAGES("inference.ModelReadyRequest")
    assert (await served.call("ModelReady", ready(name="digits"))).ready
    assert (await served.call("ModelReady", ready(name="digits", version="int8"))).ready
    metadata = await served.call("ModelMetadata", MESSAGES("inference.ModelMetadataRequest")(name="digits"))
    assert (metadata.name, list(metadata.versions), metadata.platform) == (
        "digits",
        ["int8"],
        "onnx_onnxv1",
    )
    assert [(each.name, each.datatype, list(each.shape)) for each in metadata.inputs] == [
        ("x", "FP32", [-1, 3])
    ]
    assert [(each.name, each.datatype, list(each.shape)) for each in metadata.outputs] == [
        ("y", "FP32", [-1, 3])
    ]
    assert metadata.properties["provider"] == "CPUExecutionProvider"


async def test_raw_contents_with_id_and_parameters(served: GrpcNode, tmp_path: Path) -> None:
    await serve(served.node, tmp_path, scale_model(2.0), variant="int8")
    answer = await served.infer(raw_request([1, 2, 3], id="42", model_version="int8"))
    assert (answer.model_name, answer.model_version, answer.id) == ("digits", "int8", "42")
    assert answer.parameters["provider"].string_param == "CPUExecutionProvider"
    (output,) = answer.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("y", "FP32", [1, 3])
    assert not output.HasField("contents")
    assert np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [2, 4, 6]


TYPED = [
    (TensorProto.BOOL, "BOOL", "bool_contents", [True, False]),
    (TensorProto.UINT8, "UINT8", "uint_contents", [0, 255]),
    (TensorProto.UINT16, "UINT16", "uint_contents", [0, 65535]),
    (TensorProto.UINT32, "UINT32", "uint_contents", [0, 2**32 - 1]),
    (TensorProto.UINT64, "UINT64", "uint64_contents", [0, 2**64 - 1]),
    (TensorProto.INT8, "INT8", "int_contents", [-128, 127]),
    (TensorProto.INT16, "INT16", "int_contents", [-32768, 32767]),
    (TensorProto.INT32, "INT32", "int_contents", [-(2**31), 2**31 - 1]),
    (TensorProto.INT64, "INT64", "int64_contents", [-(2**63), 2**63 - 1]),
    (TensorProto.FLOAT, "FP32", "fp32_contents", [-0.5, float("inf")]),
    (TensorProto.DOUBLE, "FP64", "fp64_contents", [0.1, -1e300]),
    (TensorProto.STRING, "BYTES", "bytes_contents", [b"", "\N{SNOWMAN}".encode()]),
]


@pytest.mark.parametrize(("onnx_type", "datatype", "field", "values"), TYPED, ids=[row[1] for row in TYPED])
async def test_typed_contents_come_back_typed(
    served: GrpcNode, tmp_path: Path, onnx_type: int, datatype: str, field: str, values: list[Any]
) -> None:
    await serve(served.node, tmp_path, identity_model(onnx_type))
    answer = await served.infer(infer_request(inputs=[input_tensor(datatype, [2], {field: values})]))
    assert not answer.raw_output_contents
    assert answer.outputs[0].datatype == datatype
    assert list(getattr(answer.outputs[0].contents, field)) == values


RAW = [
    (TensorProto.BOOL, "BOOL", b"\x01\x00"),
    (TensorProto.INT16, "INT16", struct.pack("<2h", -2, 3)),
    (TensorProto.UINT64, "UINT64", struct.pack("<2Q", 0, 2**64 - 1)),
    (TensorProto.BFLOAT16, "BF16", b"\x80\x3f\x00\xc0"),
    (TensorProto.FLOAT16, "FP16", struct.pack("<2e", 0.5, -2.0)),
    (TensorProto.DOUBLE, "FP64", struct.pack("<2d", 0.1, -1e300)),
    (TensorProto.STRING, "BYTES", b"\x00\x00\x00\x00\x03\x00\x00\x00abc"),
]


@pytest.mark.parametrize(("onnx_type", "datatype", "data"), RAW, ids=[row[1] for row in RAW])
async def test_raw_contents_come_back_raw(
    served: GrpcNode, tmp_path: Path, onnx_type: int, datatype: str, data: bytes
) -> None:
    await serve(served.node, tmp_path, identity_model(onnx_type))
    answer = await served.infer(
        infer_request(inputs=[input_tensor(datatype, [2])], raw_input_contents=[data])
    )
    assert list(answer.raw_output_contents) == [data]


async def test_the_same_message_with_other_values_shapes_and_sizes(served: GrpcNode, tmp_path: Path) -> None:
    await serve(served.node, tmp_path, scale_model(2.0))
    for values in ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]):
        answer = await served.call("ModelInfer", raw_request(values))
        assert np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [2 * x for x in values]
        assert (answer.model_version, list(answer.outputs[0].shape)) == ("fp32", [1, 3])
    cut_short = infer_request(inputs=[input_tensor("FP32", [1, 3])], raw_input_contents=[b"1234"])
    code, message = await fails(served.call("ModelInfer", cut_short))
    assert (code, "needs 12" in message) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    await serve(served.node, tmp_path, scale_model(5.0), variant="int8")
    answer = await served.call("ModelInfer", raw_request([1.0, 2.0, 3.0]))
    found = np.frombuffer(answer.raw_output_contents[0], np.float32).tolist()
    assert (answer.model_version, found) == ("int8", [5.0, 10.0, 15.0])


async def test_several_inputs_and_chosen_outputs(served: GrpcNode, tmp_path: Path) -> None:
    await serve(served.node, tmp_path, two_input_model())
    inputs = [
        input_tensor("FP32", [2, 2], {"fp32_contents": [1, 2, 3, 4]}, name="b"),
        input_tensor("FP32", [2, 2], {"fp32_contents": [5, 6, 7, 8]}, name="a"),
    ]
    wanted = MESSAGES("inference.ModelInferRequest.InferRequestedOutputTensor")
    answer = await served.infer(infer_request(inputs=inputs, outputs=[wanted(name="difference")]))
    assert [output.name for output in answer.outputs] == ["difference"]
    assert list(answer.outputs[0].contents.fp32_contents) == [4, 4, 4, 4]
    everything = await served.infer(infer_request(inputs=inputs))
    assert [output.name for output in everything.outputs] == ["sum", "difference"]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"inputs": []}, "at least one tensor"),
    ({"inputs": [input_tensor("FP32", [1, 3], name="z")]}, "no input 'z'"),
    ({"inputs": [input_tensor("FP64", [1, 3])]}, "datatype FP32"),
    ({"inputs": [input_tensor("FP32", [1, 4])]}, "the model wants"),
    ({"inputs": [input_tensor("FP32", [-1, 3])]}, "whole numbers"),
    ({"inputs": [input_tensor("FP32", [1, 3])]}, "has 0 elements"),
    ({"inputs": [input_tensor("FP32", [1, 3], {"fp64_contents": [1, 2, 3]})]}, "list of another type"),
    ({"inputs": [input_tensor("FP32", [1, 3])], "raw_input_contents": [b"1234"]}, "needs 12"),
    ({"inputs": [input_tensor("FP32", [1, 3])], "raw_input_contents": [b"", b""]}, "2 entries for 1 inputs"),
    (
        {
            "inputs": [input_tensor("FP32", [1, 3], {"fp32_contents": [1, 2, 3]})],
            "raw_input_contents": [bytes(12)],
        },
        "beside raw_input_contents",
    ),
    (
        {
            "inputs": [input_tensor("FP32", [1, 3]), input_tensor("FP32", [1, 3])],
            "raw_input_contents": [bytes(12)] * 2,
        },
        "given twice",
    ),
    (
        {
            "inputs": [input_tensor("FP32", [1, 3])],
            "raw_input_contents": [bytes(12)],
            "outputs": [MESSAGES("inference.ModelInferRequest.InferRequestedOutputTensor")(name="q")],
        },
        "no output 'q'",
    ),
]


@pytest.mark.parametrize(("fields", "says"), WRONG, ids=[row[1].replace(" ", "-") for row in WRONG])
async def test_wrong_requests(served: GrpcNode, tmp_path: Path, fields: dict[str, Any], says: str) -> None:
    await serve(served.node, tmp_path, scale_model(2.0))
    code, details = await fails(served.infer(infer_request(**fields)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert says in details


async def test_errors_of_calls(served: GrpcNode, tmp_path: Path) -> None:
    code, details = await fails(served.infer(raw_request([1, 2, 3], model="\N{SNOWMAN}%")))
    assert (code, details) == (grpc.StatusCode.NOT_FOUND, "there is no model '\N{SNOWMAN}%' on this node")
    await serve(served.node, tmp_path, scale_model(2.0))
    code, _ = await fails(served.infer(raw_request([1, 2, 3], model_version="other")))
    assert code is grpc.StatusCode.NOT_FOUND
    code, _ = await fails(served.infer(b"\xff\xff\xff"))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    code, _ = await fails(served.call("ServerLost", b"", answer="inference.ServerLiveResponse"))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    load = MESSAGES("inference.RepositoryModelLoadRequest")(model_name="digits")
    code, _ = await fails(served.call("RepositoryModelLoad", load))
    assert code is grpc.StatusCode.PERMISSION_DENIED


async def test_statistics_and_index(served: GrpcNode, tmp_path: Path) -> None:
    await serve(served.node, tmp_path, scale_model(2.0), variant="int8")
    for _ in range(3):
        await served.infer(raw_request([1, 2, 3]))
    await fails(served.infer(raw_request([1, 2])))
    (found,) = (await served.call("ModelStatistics")).model_stats
    stats = found.inference_stats
    assert (found.name, found.version, found.inference_count, found.execution_count) == (
        "digits",
        "int8",
        3,
        3,
    )
    assert (stats.success.count, stats.fail.count, stats.compute_infer.count) == (3, 1, 3)
    assert 0 < stats.compute_infer.ns < stats.success.ns
    (index,) = (await served.call("RepositoryIndex")).models
    assert (index.name, index.version, index.state) == ("digits", "int8", "READY")


async def test_loading_and_unloading_by_clients_where_it_is_enabled(node: Node, tmp_path: Path) -> None:
    async with grpc_node(node, model_control=True) as served:
        await serve(node, tmp_path, scale_model(2.0))
        unload = MESSAGES("inference.RepositoryModelUnloadRequest")
        load = MESSAGES("inference.RepositoryModelLoadRequest")
        await served.call("RepositoryModelUnload", unload(model_name="digits"))
        assert (await fails(served.infer(raw_request([1, 2, 3]))))[0] is grpc.StatusCode.UNAVAILABLE
        (index,) = (await served.call("RepositoryIndex")).models
        assert index.state == "UNAVAILABLE"
        assert index.reason
        # KServe's client puts the model's name where Triton's puts the repository's.
        await served.call("RepositoryModelLoad", load(repository_name="digits"))
        await node.until(lambda: node.table.get("digits") is not None)
        assert (await served.infer(raw_request([1, 2, 3]))).model_name == "digits"
        assert (await fails(served.call("RepositoryModelLoad", load(model_name="other"))))[
            0
        ] is grpc.StatusCode.NOT_FOUND


async def test_calls_that_wait_together_run_as_one_batch(served: GrpcNode, tmp_path: Path) -> None:
    await serve(served.node, tmp_path, slow_model(2.0))
    answers = await asyncio.gather(*(served.infer(raw_request([n, 0, 0])) for n in range(6)))
    firsts = [np.frombuffer(answer.raw_output_contents[0], np.float32)[0] for answer in answers]
    assert firsts == [0, 2, 4, 6, 8, 10]


async def test_a_large_message_both_ways(served: GrpcNode, tmp_path: Path) -> None:
    await serve(served.node, tmp_path, scale_model(2.0))
    values = np.arange(3 * 80_000, dtype=np.float32)
    request = infer_request(inputs=[input_tensor("FP32", [80_000, 3])], raw_input_contents=[values.tobytes()])
    answers = await asyncio.gather(*(served.infer(request) for _ in range(4)))
    for answer in answers:
        assert (np.frombuffer(answer.raw_output_contents[0], np.float32) == 2 * values).all()


async def test_a_message_too_large(served: GrpcNode, tmp_path: Path) -> None:
    await serve(served.node, tmp_path, scale_model(2.0))
    code, details = await fails(served.infer(bytes((4 << 20) + 1)))
    assert (code, details) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "the message is larger than 4194304 bytes",
    )
    assert (await served.infer(raw_request([1, 2, 3]))).model_name == "digits"


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_compressed_messages(served: GrpcNode, tmp_path: Path, compression: grpc.Compression) -> None:
    await serve(served.node, tmp_path, scale_model(2.0))
    rows = 1000
    request = infer_request(inputs=[input_tensor("FP32", [rows, 3])], raw_input_contents=[bytes(12 * rows)])
    answer = await served.infer(request, compression=compression)
    assert answer.raw_output_contents[0] == bytes(12 * rows)


async def until_lane_has(node: Node, jobs: int) -> None:
    model = node.table.get("digits")
    assert model is not None
    async with asyncio.timeout(20):
        while model.lane.waiting < jobs:  # noqa: ASYNC110 - the lane tells nobody; this only gives way to the loop
            await asyncio.sleep(0)


async def test_a_deadline_that_passes_and_a_call_that_is_cancelled_do_not_run(
    served: GrpcNode, tmp_path: Path
) -> None:
    await serve(served.node, tmp_path, slow_model(2.0, repeats=60))
    first = asyncio.ensure_future(served.infer(raw_request([1, 2, 3])))
    dropped = asyncio.ensure_future(served.infer(raw_request([1, 2, 3])))
    await until_lane_has(served.node, 2)
    dropped.cancel()
    late = served.infer(raw_request([1, 2, 3]), timeout=0.02)
    assert (await fails(late))[0] is grpc.StatusCode.DEADLINE_EXCEEDED
    assert (await first).model_name == "digits"
    await served.infer(raw_request([1, 2, 3]))
    statistics = await served.call("ModelStatistics")
    assert statistics.model_stats[0].execution_count == 2


async def test_a_full_queue_refuses_at_once(make_node: MakeNode, tmp_path: Path) -> None:
    async with grpc_node(await make_node(max_waiting=1)) as served:
        await serve(served.node, tmp_path, slow_model(2.0))
        outcomes = await asyncio.gather(
            *(served.infer(raw_request([1, 2, 3])) for _ in range(4)), return_exceptions=True
        )
        refused = [each for each in outcomes if isinstance(each, grpc.aio.AioRpcError)]
        assert len(refused) in range(1, 4)
        for error in refused:
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert ("grpc-retry-pushback-ms", "1000") in tuple(error.trailing_metadata())


async def test_health_of_the_server_and_of_each_model(served: GrpcNode, tmp_path: Path) -> None:
    async def check(name: str) -> int:
        request = MESSAGES("grpc.health.v1.HealthCheckRequest")(service=name)
        answer = await served.call(
            "/grpc.health.v1.Health/Check", request, answer="grpc.health.v1.HealthCheckResponse"
        )
        return int(answer.status)

    assert (await fails(check("digits")))[0] is grpc.StatusCode.NOT_FOUND
    path = saved(tmp_path, "model", scale_model(2.0))
    watch = served.channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=MESSAGES("grpc.health.v1.HealthCheckRequest").SerializeToString,
        response_deserializer=MESSAGES("grpc.health.v1.HealthCheckResponse").FromString,
    )(MESSAGES("grpc.health.v1.HealthCheckRequest")(service="digits"))
    assert (await watch.read()).status == 3
    served.node.assign(assignment(path))
    await served.node.until_phase(ModelPhase.READY)
    assert [await check(name) for name in ("", "inference.GRPCInferenceService", "digits")] == [1, 1, 1]
    while (await watch.read()).status != 1:
        pass
    watch.cancel()
    listed = await served.call(
        "/grpc.health.v1.Health/List",
        MESSAGES("grpc.health.v1.HealthListRequest")(),
        answer="grpc.health.v1.HealthListResponse",
    )
    assert {name: each.status for name, each in listed.statuses.items()} == {
        "": 1,
        "inference.GRPCInferenceService": 1,
        "digits": 1,
    }


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection(served: GrpcNode, version: str) -> None:
    package = f"grpc.reflection.{version}"
    request = MESSAGES(f"{package}.ServerReflectionRequest")
    call = served.channel.stream_stream(
        f"/{package}.ServerReflection/ServerReflectionInfo",
        request_serializer=request.SerializeToString,
        response_deserializer=MESSAGES(f"{package}.ServerReflectionResponse").FromString,
    )()
    questions = [
        request(list_services=""),
        request(file_containing_symbol="inference.GRPCInferenceService"),
        request(file_containing_symbol="inference.ModelInferRequest.InferInputTensor"),
        request(file_by_filename="no.proto"),
    ]
    answers = []
    for question in questions:
        await call.write(question)
        answers.append(await call.read())
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    services = {each.name for each in answers[0].list_services_response.service}
    assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} < services
    assert answers[1].file_descriptor_response.file_descriptor_proto
    assert (
        answers[1].file_descriptor_response.file_descriptor_proto
        == answers[2].file_descriptor_response.file_descriptor_proto
    )
    assert answers[3].error_response.error_code == 5
    assert answers[1].original_request == questions[1]


async def test_draining_answers_what_is_asked(served: GrpcNode, tmp_path: Path) -> None:
    await serve(served.node, tmp_path, slow_model(2.0))
    running = asyncio.ensure_future(served.infer(raw_request([1, 2, 3])))
    await until_lane_has(served.node, 1)
    served.server.announce_end()
    assert await served.server.drain(10.0)
    assert (await running).model_name == "digits"
    assert served.server.connection_count == 0


async def test_a_call_and_its_message_are_gone_once_it_is_answered(served: GrpcNode, tmp_path: Path) -> None:
    await serve(served.node, tmp_path, scale_model(2.0))
    with no_collector():
        for _ in range(3):
            await served.infer(raw_request([1, 2, 3]))
        assert (await fails(served.infer(raw_request([1, 2]))))[0] is grpc.StatusCode.INVALID_ARGUMENT
        assert requests_alive() == []
