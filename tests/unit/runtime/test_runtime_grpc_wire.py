"""Protocol buffers by hand, against Google's own library."""

import sys
from pathlib import Path

import numpy as np
import pytest
from fleetfit_runtime.serve.errors import RequestError
from fleetfit_runtime.serve.grpc.descriptors import DESCRIPTOR_FILE, load_descriptors
from fleetfit_runtime.serve.grpc.infer_request import read_infer_message
from fleetfit_runtime.serve.grpc.packed_integers import pack_integers, unpack_integers
from fleetfit_runtime.serve.grpc.status import error_trailers
from fleetfit_runtime.serve.grpc.wire import WireError, read_fields, varint
from fleetfit_runtime.serve.http2.hpack import HeaderDecoder
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[3]


def infer_request_class() -> type:
    pool = descriptor_pool.DescriptorPool()
    content = (ROOT / "device_runtime/fleetfit_runtime/serve/grpc" / DESCRIPTOR_FILE).read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(content).file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelInferRequest"))


REQUEST = infer_request_class()

integers = st.lists(st.integers(0, (1 << 64) - 1) | st.integers(0, 300))


@given(integers)
def test_packed_integers(values: list[int]) -> None:
    packed = b"".join(map(varint, values))
    assert pack_integers(np.array(values, np.uint64)) == packed
    assert unpack_integers(memoryview(packed)).tolist() == values


def test_packed_integers_across_pieces() -> None:
    values = np.arange(70_000, dtype=np.uint64) * np.uint64(987_654_321)
    assert (unpack_integers(memoryview(pack_integers(values))) == values).all()


@pytest.mark.parametrize("data", [b"\x80", b"\x80" * 11 + b"\x01", b"\x01\xff"])
def test_integers_that_do_not_end_or_are_too_long(data: bytes) -> None:
    with pytest.raises(WireError):
        unpack_integers(memoryview(data))


parameters = st.dictionaries(
    st.text(max_size=5),
    st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.text() | st.floats(allow_nan=False),
)


@given(st.text(), st.text(), parameters, st.lists(st.integers(-1, 1 << 40), max_size=4), st.binary())
def test_a_request_says_what_google_wrote(
    name: str, request_id: str, given_parameters: dict[str, object], shape: list[int], raw: bytes
) -> None:
    request = REQUEST(model_name=name, id=request_id, raw_input_contents=[raw])
    request.inputs.add(name="x", datatype="FP32", shape=shape)
    request.outputs.add(name="y")
    kinds = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}
    for key, value in given_parameters.items():
        setattr(request.parameters[key], kinds[type(value)], value)
    read = read_infer_message(memoryview(request.SerializeToString()))
    assert (read.model_name, read.id, read.outputs) == (name, request_id, ["y"])
    assert read.parameters == given_parameters
    assert [(each.name, each.datatype, each.shape) for each in read.inputs] == [("x", "FP32", shape)]
    assert [bytes(each) for each in read.raw] == [raw]


@given(st.binary())
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        read_infer_message(memoryview(data))
    except WireError:
        return
    REQUEST.FromString(
        b""
    )  # what is read may still be more lenient than Google about UTF-8 in unknown fields


def test_millions_of_small_fields_are_refused() -> None:
    with pytest.raises(WireError, match="too many"):
        list(read_fields(memoryview(b"\x08\x01" * 5000), 4096))


def test_a_message_of_an_error_is_percent_encoded() -> None:
    trailers = dict(HeaderDecoder(1 << 16).decode(error_trailers(RequestError(404, "no 'ä%'\n"))))
    assert trailers[b"grpc-status"] == b"5"
    assert trailers[b"grpc-message"] == b"no '%C3%A4%25'%0A"


def test_the_committed_descriptors_are_fresh() -> None:
    sys.path.insert(0, str(ROOT / "device_runtime"))
    try:
        import compile_protos
    finally:
        sys.path.pop(0)
    assert compile_protos.main(["--check"]) == 0, "run `python device_runtime/compile_protos.py`"


def test_symbols_and_services_of_the_descriptors() -> None:
    descriptors = load_descriptors()
    assert descriptors.file_of["inference.GRPCInferenceService.ModelInfer"] == "open_inference.proto"
    assert descriptors.file_of["grpc.health.v1.HealthCheckResponse.ServingStatus"].endswith("health.proto")
    assert "inference.GRPCInferenceService" in descriptors.services
