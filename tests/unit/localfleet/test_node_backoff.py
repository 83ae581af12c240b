"""Waits between starts, and thresholds of probes."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfleet.node.backoff import Backoff, BackoffPolicy
from localfleet.node.probe_actions import ProbeResult, port_number
from localfleet.node.probe_loop import ContainerProbes, ProbeVerdict
from localfleet.node.probing import ProbeCounter, ProbeTiming

POLICY = BackoffPolicy(base_s=10, cap_s=300, reset_after_s=600)


def test_waits_double_up_to_the_cap_as_a_kubelets_do() -> None:
    backoff = Backoff(POLICY)
    assert [backoff.next_s(1) for _ in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]


def test_a_long_run_is_forgiven() -> None:
    backoff = Backoff(POLICY)
    for _ in range(5):
        backoff.next_s(1)
    assert [backoff.next_s(600), backoff.next_s(1)] == [0, 10]


@given(st.lists(st.floats(0, 599), max_size=1500))
def test_no_wait_is_longer_than_the_cap_nor_shorter_than_the_one_before(runs: list[float]) -> None:
    backoff = Backoff(POLICY)
    waits = [backoff.next_s(run) for run in runs]
    assert waits == sorted(waits)
    assert all(wait <= 300 for wait in waits)


def test_a_probe_without_numbers_has_the_apis_defaults() -> None:
    assert ProbeTiming.of({}) == ProbeTiming(0, 10, 1, 1, 3)


def test_a_threshold_counts_results_in_a_row() -> None:
    counter = ProbeCounter(ProbeTiming(0, 1, 1, success_threshold=2, failure_threshold=3))
    results = [False, False, True, False, False, False, True, True]
    assert [counter.observe(result) for result in results] == [
        None,
        None,
        None,
        None,
        None,
        False,
        None,
        True,
    ]


def test_a_ports_name_is_looked_up_in_the_container() -> None:
    container = {"name": "main", "ports": [{"name": "http", "containerPort": 8080}]}
    assert port_number("http", container) == 8080
    assert port_number("9090", container) == 9090
    with pytest.raises(LookupError, match="no port named 'grpc'"):
        port_number("grpc", container)


class Script:
    """Answers each kind of probe from a list, the last answer for ever."""

    def __init__(self, **answers: list[bool]) -> None:
        self._answers = answers
        self.states: list[tuple[bool, bool]] = []
        self.failures: list[str] = []
        self.probed: list[str] = []

    async def probe_once(self, probe: dict[str, str]) -> ProbeResult:
        answers = self._answers[probe["which"]]
        self.probed.append(probe["which"])
        return ProbeResult(answers.pop(0) if len(answers) > 1 else answers[0], "no")

    async def run(self, **probes: dict[str, object]) -> ProbeVerdict:
        container = {
            "name": "main",
            **{f"{name}Probe": {"which": name, **probe} for name, probe in probes.items()},
        }
        loop = ContainerProbes(
            container,
            self.probe_once,
            lambda started, ready: self.states.append((started, ready)),
            self.failures.append,
        )
        async with asyncio.timeout(5):
            return await loop.run()


FAST = {"periodSeconds": 0.001}


async def test_a_start_that_takes_too_long_is_ended() -> None:
    script = Script(startup=[False])
    verdict = await script.run(startup={**FAST, "failureThreshold": 4, "terminationGracePeriodSeconds": 7})
    assert verdict == ProbeVerdict("Container main failed startup probe, will be restarted", 7.0)
    assert script.states == []
    assert len(script.failures) == 4


async def test_liveness_waits_for_the_start_and_then_ends_what_is_dead() -> None:
    script = Script(startup=[False, False, True], liveness=[True, True, False])
    verdict = await script.run(
        startup={**FAST, "failureThreshold": 9}, liveness={**FAST, "failureThreshold": 2}
    )
    assert verdict.message == "Container main failed liveness probe, will be restarted"
    assert verdict.grace_s is None
    assert script.probed[:3] == ["startup"] * 3
    assert "liveness" not in script.probed[:3]
    assert script.states == [(True, True)]


async def test_readiness_comes_and_goes_without_a_restart() -> None:
    readiness = [False, True, False, False, False, True]
    script = Script(readiness=readiness, liveness=[True] * 40 + [False])
    await script.run(readiness=FAST, liveness={**FAST, "failureThreshold": 1})
    assert script.states[:4] == [(True, False), (True, True), (True, False), (True, True)]
