"""Pure parts of the engine: load errors, provider proof, percentiles."""

import pytest
from fleetfit_api.model_status import MeasurementSource
from fleetfit_api.reasons import Reason
from fleetfit_runtime.engine.latency import LatencyWindow, percentile, summarise
from fleetfit_runtime.engine.load_errors import classify_load_error
from fleetfit_runtime.engine.providers import CPU_PROVIDER, prove_provider, usable_chain
from hypothesis import given
from hypothesis import strategies as st

CPU, CUDA, OPENVINO = "CPUExecutionProvider", "CUDAExecutionProvider", "OpenVINOExecutionProvider"


class InvalidProtobuf(Exception):  # noqa: N818 - ONNX Runtime's name
    pass


class Fail(Exception):  # noqa: N818 - ONNX Runtime's name
    pass


class NotImplemented(Exception):  # noqa: N818 - ONNX Runtime's name
    pass


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InvalidProtobuf("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : parsing failed"), Reason.CORRUPT_MODEL),
        (Fail("my.dom:Foo(-1) is not a registered function/op"), Reason.UNSUPPORTED_OPERATOR),
        (Fail("Error No Op registered for X with domain_version of 17"), Reason.UNSUPPORTED_OPERATOR),
        (NotImplemented("Could not find an implementation for Identity(21)"), Reason.UNSUPPORTED_OPERATOR),
        (Fail("Opset 99 is under development"), Reason.UNSUPPORTED_OPERATOR),
        (MemoryError(), Reason.INSUFFICIENT_MEMORY),
        (Fail("std::bad_alloc"), Reason.INSUFFICIENT_MEMORY),
        (Fail("Failed to allocate memory for requested buffer of size 1"), Reason.INSUFFICIENT_MEMORY),
        (Fail("something new"), Reason.INTERNAL_ERROR),
    ],
)
def test_load_error_has_a_reason_and_no_status_prefix(error: Exception, reason: Reason) -> None:
    failure = classify_load_error(error)
    assert failure.reason == reason
    assert "ONNXRuntimeError" not in failure.message


def test_usable_chain_keeps_the_order_and_ends_with_the_processor() -> None:
    assert usable_chain([CUDA, CPU, OPENVINO], [CPU, OPENVINO, CUDA]) == [CUDA, OPENVINO, CPU]
    assert usable_chain([CUDA], [CPU]) == [CPU]


@pytest.mark.parametrize(
    ("available", "session", "nodes", "provider", "fallback", "words"),
    [
        ([CUDA, CPU], [CUDA, CPU], {CUDA: 5, CPU: 1}, CUDA, False, ""),
        ([CUDA, CPU], [CUDA, CPU], {}, CUDA, False, ""),
        ([CUDA, CPU], [CUDA, CPU], {CPU: 6}, CPU, True, "took no operator of this model"),
        (
            [CUDA, CPU],
            [CPU],
            {CPU: 6},
            CPU,
            True,
            "did not start on this node: libcuda.so is missing for CUDA",
        ),
        ([CPU], [CPU], {CPU: 6}, CPU, True, f"not part of this ONNX Runtime build (available: {CPU})"),
    ],
    ids=["proven", "unknown-counts", "registered-but-unused", "did-not-start", "not-built-in"],
)
def test_provider_is_what_runs_the_graph(
    available: list[str], session: list[str], nodes: dict[str, int], provider: str, fallback: bool, words: str
) -> None:
    said = ["libcuda.so is missing for CUDA", "unrelated"]
    proof = prove_provider([CUDA, CPU], available, session, nodes, said)
    assert (proof.provider, proof.fallback) == (provider, fallback)
    assert words in proof.message
    assert "unrelated" not in proof.message


DURATIONS = st.lists(st.floats(1e-6, 100), min_size=1, max_size=200)


@given(DURATIONS)
def test_percentiles_are_values_and_in_order(durations: list[float]) -> None:
    measured = summarise(durations, MeasurementSource.LIVE)
    assert measured.latency_p50_seconds in durations
    assert measured.latency_p50_seconds <= measured.latency_p95_seconds <= max(durations)
    assert measured.samples == len(durations)


def test_nearest_rank() -> None:
    values = [float(value) for value in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.95), percentile(values, 1.0)) == (50.0, 95.0, 100.0)


def test_window_speaks_after_thirty_and_forgets_the_old() -> None:
    window = LatencyWindow(capacity=40)
    for _ in range(29):
        window.record(9.0)
    assert window.measured() is None
    for _ in range(40):
        window.record(1.0)
    measured = window.measured()
    assert measured is not None
    assert (measured.latency_p95_seconds, measured.samples) == (1.0, 40)


def test_part_of_a_graph_that_runs_elsewhere_is_told() -> None:
    chain = ["OpenVINOExecutionProvider", CPU_PROVIDER]
    part = prove_provider(chain, chain, chain, {chain[0]: 17, CPU_PROVIDER: 3}, [])
    assert (part.provider, part.fallback) == (chain[0], False)
    assert part.message == f"{chain[0]} runs 17 of 20 nodes of the graph, 3 on {CPU_PROVIDER}"
    assert prove_provider(chain, chain, chain, {chain[0]: 20}, []).message == ""
