"""A pod's phase and conditions by the kubelet's rules, and what a restarted agent makes of them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from localfleet.node.container_state import ContainerRecord, Running, State, Terminated, Waiting
from localfleet.node.pod_status import PodView, pod_status, same_status
from localfleet.node.recovery import recovered_record

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
RUNNING = Running(NOW)
DONE = Terminated(0, "Completed", NOW, NOW)
FAILED = Terminated(1, "Error", NOW, NOW)
CREATING = Waiting("ContainerCreating")
CRASHED = Waiting("CrashLoopBackOff")


def make_pod(policy: str = "Always", init: int = 0, main: int = 1, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "generation": 3},
        "spec": {
            "restartPolicy": policy,
            "initContainers": [{"name": f"i{n}", "image": "x"} for n in range(init)],
            "containers": [{"name": f"m{n}", "image": "x"} for n in range(main)],
        },
        "status": status,
    }


def record(name: str, state: State, *, ready: bool = False, ran: bool = False) -> ContainerRecord:
    started = isinstance(state, Running)
    known = f"localfleet://{name}" if not isinstance(state, Waiting) or ran else ""
    return ContainerRecord(
        name, "x", state, last=FAILED if ran else None, started=started, ready=ready, container_id=known
    )


def view(main: list[State], init: list[State] | None = None, *, ready: bool = False) -> PodView:
    return PodView(
        init=[record(f"i{n}", state) for n, state in enumerate(init or [])],
        main=[
            record(f"m{n}", state, ready=ready and isinstance(state, Running), ran=state is CRASHED)
            for n, state in enumerate(main)
        ],
        started_at=NOW,
        prepared=True,
        host_ip="127.77.1.1",
    )


def conditions(status: dict[str, Any]) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in status["conditions"]}


@pytest.mark.parametrize(
    ("policy", "states", "phase"),
    [
        ("Always", [CREATING], "Pending"),
        ("Always", [RUNNING], "Running"),
        ("Always", [RUNNING, CREATING], "Running"),
        ("Always", [CRASHED], "Running"),
        ("Always", [DONE], "Running"),
        ("OnFailure", [DONE], "Succeeded"),
        ("OnFailure", [DONE, FAILED], "Running"),
        ("OnFailure", [CRASHED, DONE], "Running"),
        ("Never", [DONE, DONE], "Succeeded"),
        ("Never", [DONE, FAILED], "Failed"),
        ("Never", [DONE, RUNNING], "Running"),
    ],
)
def test_the_phase_follows_from_the_containers(policy: str, states: list[State], phase: str) -> None:
    assert pod_status(make_pod(policy, main=len(states)), view(states), NOW)["phase"] == phase


@pytest.mark.parametrize(
    ("policy", "init", "phase", "initialized"),
    [
        ("Always", [RUNNING, CREATING], "Pending", "False"),
        ("Always", [DONE, FAILED], "Pending", "False"),
        ("Never", [DONE, FAILED], "Failed", "False"),
        ("Always", [DONE, DONE], "Pending", "True"),
    ],
)
def test_init_containers_come_first(policy: str, init: list[State], phase: str, initialized: str) -> None:
    status = pod_status(make_pod(policy, init=2), view([CREATING], init), NOW)
    assert status["phase"] == phase
    assert conditions(status)["Initialized"] == initialized


def test_a_pod_is_ready_when_all_its_containers_are() -> None:
    pod = make_pod(main=2)
    assert conditions(pod_status(pod, view([RUNNING, RUNNING], ready=True), NOW))["Ready"] == "True"
    status = pod_status(pod, view([RUNNING, CRASHED], ready=True), NOW)
    ready = next(condition for condition in status["conditions"] if condition["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ContainersNotReady")
    assert ready["message"] == "containers with unready status: [m1]"


def test_a_readiness_gate_must_be_open() -> None:
    pod = make_pod()
    pod["spec"]["readinessGates"] = [{"conditionType": "example.com/gate"}]
    closed = pod_status(pod, view([RUNNING], ready=True), NOW)
    assert conditions(closed) | {"Ready": "False", "ContainersReady": "True"} == conditions(closed)
    pod["status"]["conditions"] = [{"type": "example.com/gate", "status": "True"}]
    opened = conditions(pod_status(pod, view([RUNNING], ready=True), NOW))
    assert opened["Ready"] == opened["example.com/gate"] == "True"


def test_a_condition_keeps_the_time_of_its_last_change() -> None:
    pod = make_pod()
    pod["status"] = pod_status(pod, view([RUNNING], ready=True), NOW)
    later = pod_status(pod, view([CRASHED]), NOW + timedelta(minutes=1))
    times = {condition["type"]: condition["lastTransitionTime"] for condition in later["conditions"]}
    assert times["Initialized"] == "2026-11-23T12:00:00Z"
    assert times["Ready"] == "2026-11-23T12:01:00Z"


def test_a_status_that_the_server_has_is_not_written_again() -> None:
    pod = make_pod()
    status = pod_status(pod, view([RUNNING], ready=True), NOW)
    stored = {**status, "qosClass": "BestEffort", "conditions": status["conditions"][::-1]}
    stored["containerStatuses"] = [
        {name: value for name, value in entry.items() if value != {}} for entry in status["containerStatuses"]
    ]
    assert same_status(status, stored)
    assert not same_status(status, {**stored, "phase": "Pending"})
    not_ready = [{**condition, "status": "False"} for condition in stored["conditions"]]
    assert not same_status(status, {**stored, "conditions": not_ready})


def test_what_ran_before_the_agent_started_counts_as_killed() -> None:
    pod = make_pod()
    running = ContainerRecord(
        "m0", "x", RUNNING, restarts=2, started=True, ready=True, container_id="localfleet://1"
    )
    pod["status"]["containerStatuses"] = [running.as_api()]
    recovered = recovered_record(pod["spec"]["containers"][0], pod, NOW)
    assert isinstance(recovered.state, Terminated)
    assert (recovered.state.exit_code, recovered.state.reason) == (137, "ContainerStatusUnknown")
    assert (recovered.restarts, recovered.ready) == (2, False)


def test_what_had_ended_before_the_agent_started_has_ended() -> None:
    pod = make_pod()
    pod["status"]["containerStatuses"] = [
        ContainerRecord("m0", "x", DONE, last=FAILED, restarts=1, container_id="localfleet://2").as_api()
    ]
    recovered = recovered_record(pod["spec"]["containers"][0], pod, NOW)
    assert (recovered.state, recovered.last, recovered.restarts) == (DONE, FAILED, 1)


def test_a_new_pod_has_not_run() -> None:
    pod = make_pod()
    assert recovered_record(pod["spec"]["containers"][0], pod, NOW) == ContainerRecord("m0", "x", CREATING)
