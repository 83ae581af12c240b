"""The reference set runs for real, on the kernels that it is meant to time."""

import hashlib
import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import onnx
import onnxruntime as ort
import pytest
from fleetfit_api.suite import GraphFeatures
from fleetfit_operator.predict.graph_features import graph_features
from fleetfit_runtime.probe.networks import (
    REFERENCE_NETWORKS,
    REFERENCE_SET_DIR,
    SET_VERSION,
    network_bytes,
)
from fleetfit_runtime.probe.reference import run_reference_set
from fleetfit_runtime.probe.reference_passes import Clocks, ReferenceBudget
from fleetfit_runtime.probe.reference_timing import RoundLength, TimedWork, quiet_timing

CPU = "CPUExecutionProvider"
SHORT = ReferenceBudget(RoundLength(0.002, 0.002), min_rounds=2, target_s=0.1)


def reference_features() -> dict[str, dict[str, object]]:
    path = files("fleetfit_operator.predict") / "model" / "reference_set.json"
    content = json.loads(path.read_text())
    assert content["setVersion"] == SET_VERSION
    return {network["name"]: network for network in content["networks"]}


def test_every_network_is_timed_on_the_processor() -> None:
    (run,) = run_reference_set([CPU, CPU], 1, budget=SHORT)

    assert run.provider == CPU
    assert run.set_version == SET_VERSION
    assert run.intra_op_threads == 1
    assert [time.name for time in run.times] == list(REFERENCE_NETWORKS)
    for time in run.times:
        assert 0 < time.latency_p50_seconds <= time.latency_p95_seconds
        assert time.latency_mean_seconds > 0
    by_name = {time.name: time.latency_p50_seconds for time in run.times}
    assert by_name["pooling-int8-6"] > by_name["conv1-fp32-4"]


def test_a_provider_that_is_not_there_has_no_run() -> None:
    assert run_reference_set(["NoSuchExecutionProvider"], 1, budget=SHORT) == []


@pytest.mark.parametrize("name", REFERENCE_NETWORKS)
def test_operator_and_runtime_speak_of_the_same_networks(name: str) -> None:
    known = reference_features()[name]

    assert known["sha256"] == hashlib.sha256(network_bytes(name)).hexdigest()
    assert graph_features(REFERENCE_SET_DIR / f"{name}.onnx") == GraphFeatures.model_validate(
        known["features"]
    )
    assert len(network_bytes(name)) < 3000


@pytest.mark.parametrize(
    ("name", "kernels"),
    [
        ("pooling-int8-6", {"QLinearAveragePool": 1}),
        ("projection-int8-2", {"QLinearMatMul": 4}),
        ("conv5-fp32-2", {"Conv": 4}),
    ],
)
def test_networks_run_on_the_kernels_they_are_named_after(
    name: str, kernels: dict[str, int], tmp_path: Path
) -> None:
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(network_bytes(name), options, providers=[CPU])

    nodes = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]

    assert {kernel: nodes.count(kernel) for kernel in kernels} == kernels
    assert "ConstantOfShape" not in nodes


def test_the_deadline_ends_a_slow_run_after_every_network_was_timed() -> None:
    ticks = iter(range(10**9))

    (run,) = run_reference_set(
        [CPU], 1, Clocks(wall=lambda: float(next(ticks))), ReferenceBudget(min_rounds=50)
    )

    assert len(run.times) == len(REFERENCE_NETWORKS)
    # Every network has at least 5 runs of one second; 50 rounds of that would take 2500 seconds.
    assert next(ticks) < 10 * 60


def clock_of(durations_s: list[float]) -> Iterator[float]:
    now = 0.0
    yield now
    for duration in durations_s:
        now += duration
        yield now


def test_a_round_goes_on_once_the_work_was_stopped() -> None:
    calm, stopped = TimedWork("calm", lambda: None), TimedWork("stopped", lambda: None)
    length = RoundLength(slice_s=0.02, stopped_slice_s=0.2, min_runs=2)
    calm_clock, stopped_clock = clock_of([0.001] * 1000), clock_of(([0.001] * 9 + [0.03]) * 100)

    calm.time_round(lambda: next(calm_clock), length)
    stopped.time_round(lambda: next(stopped_clock), length)

    assert sum(calm.rounds[0]) == pytest.approx(0.02)
    assert sum(stopped.rounds[0]) >= 0.2


def test_a_neighbour_in_half_of_the_rounds_does_not_show() -> None:
    quiet, noisy = [0.001] * 20, [0.004] * 20

    timing = quiet_timing([noisy, quiet, noisy, quiet])

    assert (timing.latency_p50_s, timing.latency_p95_s, timing.latency_mean_s) == pytest.approx([0.001] * 3)
    assert timing.spread > 0.5


def test_the_pauses_of_a_quota_stay_in_the_figures() -> None:
    timing = quiet_timing([([0.001] * 9 + [0.011]) * 4] * 4)

    assert timing.latency_p50_s == pytest.approx(0.001)
    assert timing.latency_p95_s > 0.01
    assert timing.latency_mean_s == pytest.approx(0.002)
    assert timing.spread == 0
