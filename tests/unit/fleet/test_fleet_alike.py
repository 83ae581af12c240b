"""A node without a reference run borrows that of nodes with the same hardware, and of no others."""

import math
import random
from dataclasses import replace
from typing import Any

import pytest
from fleetfit_api import NodeInference
from fleetfit_api.names import NodeName
from fleetfit_api.node_inference import NodeHardware
from fleetfit_api.node_telemetry import ReferenceRun, ReferenceTime
from fleetfit_operator.fleet.alike import AlikeRuns
from fleetfit_operator.fleet.snapshot import FleetNode, Node
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fleet_builders import hardware_class

PI_4 = NodeHardware(architecture="arm64", processor="ARM Cortex-A72", cpu_cores=4.0, memory_bytes=2**32)
CPU = "CPUExecutionProvider"


def run(
    *p50_ms: float, provider: str = CPU, version: str = "2", threads: int = 0, **over: Any
) -> ReferenceRun:
    times = [
        ReferenceTime(
            name=f"network-{place}",
            latency_p50_seconds=p50 / 1e3,
            latency_p95_seconds=2 * p50 / 1e3,
            latency_mean_seconds=1.5 * p50 / 1e3,
        )
        for place, p50 in enumerate(p50_ms)
    ]
    values = {"times": times, **over}
    return ReferenceRun(provider=provider, set_version=version, intra_op_threads=threads, **values)


def node(
    name: str, *runs: ReferenceRun, hardware: NodeHardware = PI_4, class_name: str = "pi", **over: Any
) -> FleetNode:
    inference = NodeInference.model_validate(
        {"metadata": {"name": name}, "status": {"referenceRuns": [each.to_json() for each in runs]}}
    )
    return FleetNode(
        Node(NodeName(name)),
        hardware_class(class_name, providers=over.pop("providers", (CPU,))),
        inference,
        hardware=hardware.model_copy(update=over),
    )


def lenders(*runs: ReferenceRun, **over: Any) -> list[FleetNode]:
    return [node(f"lender-{place}", each, **over) for place, each in enumerate(runs)]


def p50_ms(borrowed: ReferenceRun) -> list[float]:
    return [time.latency_p50_seconds * 1e3 for time in borrowed.times]


def test_the_middle_of_the_lenders_runs_network_by_network() -> None:
    borrowed = AlikeRuns(lenders(run(10, 40), run(12, 30), run(30, 20))).run_for(node("new"))
    assert borrowed is not None
    assert borrowed.lenders == 3
    assert (borrowed.run.provider, borrowed.run.set_version) == (CPU, "2")
    assert p50_ms(borrowed.run) == pytest.approx([12, 30])
    assert [time.latency_p95_seconds for time in borrowed.run.times] == pytest.approx([0.024, 0.060])
    assert [time.latency_mean_seconds for time in borrowed.run.times] == pytest.approx([0.018, 0.045])


def test_between_two_lies_their_geometric_mean() -> None:
    borrowed = AlikeRuns(lenders(run(10), run(40))).run_for(node("new"))
    assert borrowed is not None
    assert p50_ms(borrowed.run) == pytest.approx([20])


@pytest.mark.parametrize(
    "other",
    [
        {"processor": "ARM Cortex-A76"},
        {"cpu_cores": 8.0},
        {"architecture": "arm"},
        {"instruction_sets": ["ASIMDDP"]},
        {"board": "raspberrypi-4-model-b"},
        {"accelerator_vendor": "nvidia", "accelerator_product": "NVIDIA-A2"},
        {"compute_capability": "8.7"},
        {"class_name": "arm64-cpu"},
    ],
    ids=lambda over: next(iter(over)),
)
def test_unlike_nodes_lend_nothing(other: dict[str, Any]) -> None:
    assert AlikeRuns(lenders(run(10))).run_for(node("new", **other)) is None


@pytest.mark.parametrize(
    "other", [{"memory_bytes": 2**33}, {"accelerator_count": 2}, {"driver_version": "2"}], ids=str
)
def test_what_does_not_change_the_time_of_an_inference_may_differ(other: dict[str, Any]) -> None:
    assert AlikeRuns(lenders(run(10))).run_for(node("new", **other)) is not None


@pytest.mark.parametrize(("count", "lends"), [(2, False), (3, True)])
def test_where_the_facts_name_no_hardware_several_must_lend(count: int, lends: bool) -> None:
    unknown = NodeHardware(architecture="amd64", cpu_cores=4.0)
    fleet = lenders(*[run(10)] * count, hardware=unknown)
    assert (AlikeRuns(fleet).run_for(node("new", hardware=unknown)) is not None) is lends


def test_how_far_the_lenders_lie_apart_is_told() -> None:
    alone = AlikeRuns(lenders(run(10, 20))).run_for(node("new"))
    alike = AlikeRuns(lenders(run(10, 20), run(10, 20), run(10, 20))).run_for(node("new"))
    apart = AlikeRuns(lenders(run(5, 10), run(10, 20), run(20, 40))).run_for(node("new"))
    assert alone is not None
    assert alike is not None
    assert apart is not None
    assert (alone.log_sigma, alike.log_sigma) == (0.0, 0.0)
    assert apart.log_sigma == pytest.approx(1.4826 * math.log(2))


def test_the_run_on_the_first_provider_of_the_class_counts() -> None:
    providers = ("CUDAExecutionProvider", CPU)
    both = node("both", run(50), run(5, provider="CUDAExecutionProvider"), providers=providers)
    fallback = node("fallback", run(50), providers=providers)
    borrowed = AlikeRuns([both, both, fallback]).run_for(node("new", providers=providers))
    assert borrowed is not None
    assert (borrowed.run.provider, borrowed.lenders) == ("CUDAExecutionProvider", 2)
    assert p50_ms(borrowed.run) == pytest.approx([5])


@pytest.mark.parametrize(
    "odd", [{"version": "1"}, {"threads": 1}, {"throttled": True}], ids=lambda over: next(iter(over))
)
def test_runs_that_were_taken_otherwise_are_not_mixed_in(odd: dict[str, Any]) -> None:
    borrowed = AlikeRuns(lenders(run(10), run(99, **odd), run(10))).run_for(node("new"))
    assert borrowed is not None
    assert borrowed.lenders == 2
    assert p50_ms(borrowed.run) == pytest.approx([10])


def test_slowed_nodes_lend_where_there_are_no_others() -> None:
    assert AlikeRuns(lenders(run(10, throttled=True))).run_for(node("new")) is not None


def test_one_run_without_a_network_takes_it_from_nobody() -> None:
    borrowed = AlikeRuns(lenders(run(10, 20), run(10), run(10, 30))).run_for(node("new"))
    assert borrowed is not None
    assert p50_ms(borrowed.run) == pytest.approx([10, math.sqrt(600)])


def test_means_that_are_unknown_stay_so_and_do_not_spoil_the_others() -> None:
    bare = ReferenceTime(name="network-0", latency_p50_seconds=0.01, latency_p95_seconds=0.02)
    borrowed = AlikeRuns(lenders(run(times=[bare]), run(10))).run_for(node("new"))
    unknown = AlikeRuns(lenders(run(times=[bare]))).run_for(node("new"))
    assert borrowed is not None
    assert unknown is not None
    assert borrowed.run.times[0].latency_mean_seconds == pytest.approx(0.015)
    assert unknown.run.times[0].latency_mean_seconds == 0.0


def test_a_run_without_times_and_a_node_without_a_class_lend_nothing() -> None:
    classless = replace(node("classless", run(10)), hardware_class=None)
    assert AlikeRuns([*lenders(run()), classless]).run_for(node("new")) is None
    assert AlikeRuns([]).run_for(node("new")) is None


_TIMES_MS = st.lists(st.floats(0.01, 1e5), min_size=3, max_size=3)


@given(st.lists(_TIMES_MS, min_size=1, max_size=7), st.randoms(use_true_random=False))
def test_the_order_of_nodes_does_not_matter_and_the_middle_lies_between(
    times_ms: list[list[float]], order: random.Random
) -> None:
    fleet = lenders(*(run(*each) for each in times_ms))
    borrowed = AlikeRuns(fleet).run_for(node("new"))
    order.shuffle(fleet)
    assert AlikeRuns(fleet).run_for(node("new")) == borrowed
    assert borrowed is not None
    for middle, of_network in zip(p50_ms(borrowed.run), zip(*times_ms, strict=True), strict=True):
        assert min(of_network) * (1 - 1e-9) <= middle <= max(of_network) * (1 + 1e-9)


def test_what_alike_nodes_borrow_is_computed_once() -> None:
    index = AlikeRuns(lenders(*[run(10, 20)] * 5))
    assert index.run_for(node("new-0")) is index.run_for(node("new-1"))
