import asyncio
from datetime import UTC, datetime
from typing import Any, cast

from fleetfit_api import ModelSuite
from fleetfit_kube import ApiClient
from fleetfit_kube.errors import Conflict, NotFound, TooManyRequests
from fleetfit_operator.apply.events import EventRecorder, Happening
from fleetfit_operator.apply.writes import Write, execute_writes

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


async def test_concurrency_is_bounded_and_used() -> None:
    running, most = 0, 0

    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    result = await execute_writes([Write("K", str(n), work) for n in range(50)], 4)
    assert (result.done, result.complete, most) == (50, True, 4)


async def test_one_failure_does_not_hold_up_the_others() -> None:
    outcomes: list[tuple[str, str]] = []

    async def fine() -> None:
        return None

    async def gone() -> None:
        raise NotFound(404, "NotFound", "gone")

    async def broken() -> None:
        raise Conflict(409, "Conflict", "no")

    writes = [Write("A", "a", broken), Write("B", "b", gone), Write("C", "c", fine)]
    result = await execute_writes(writes, 2, lambda kind, outcome: outcomes.append((kind, outcome)))
    assert (result.done, result.complete) == (1, False)
    assert sorted(outcomes) == [("A", "error"), ("B", "gone"), ("C", "done")]


async def test_an_overloaded_server_is_left_alone() -> None:
    asked = 0

    async def refused() -> None:
        nonlocal asked
        asked += 1
        raise TooManyRequests(429, "TooManyRequests", "slow down")

    result = await execute_writes([Write("A", str(n), refused) for n in range(100)], 3)
    assert not result.complete
    assert asked <= 3


class EventLog:
    """Takes the events that are created."""

    def __init__(self) -> None:
        self.created: list[dict[str, Any]] = []

    async def create(self, _resource: object, body: dict[str, Any]) -> None:
        self.created.append(body)


def happening(message: str = "two nodes", *, warning: bool = False) -> Happening:
    suite = ModelSuite.model_validate(
        {
            "metadata": {"name": "digits", "namespace": "apps", "uid": "u-1"},
            "spec": {
                "storageUri": "https://models.example",
                "variants": [
                    {
                        "name": "a",
                        "uri": "a.onnx",
                        "sha256": "a" * 64,
                        "sizeBytes": 1,
                        "precision": "fp32",
                        "accuracy": 1,
                    }
                ],
            },
        }
    )
    return Happening(suite, "Assigned", message, warning)


async def test_the_same_event_is_told_once_in_ten_minutes() -> None:
    log, now_s = EventLog(), [0.0]
    recorder = EventRecorder(cast(ApiClient, log), "operator-0", lambda: now_s[0], lambda: NOW)
    for _ in range(3):
        await execute_writes(recorder.writes([happening()]), 1)
    await execute_writes(recorder.writes([happening("three nodes", warning=True)]), 1)
    assert [(event["message"], event["type"]) for event in log.created] == [
        ("two nodes", "Normal"),
        ("three nodes", "Warning"),
    ]
    now_s[0] = 601.0
    await execute_writes(recorder.writes([happening()]), 1)
    assert len(log.created) == 3


async def test_an_event_names_its_object_and_lives_beside_it() -> None:
    log = EventLog()
    recorder = EventRecorder(cast(ApiClient, log), "operator-0", lambda: 0.0, lambda: NOW)
    await execute_writes(recorder.writes([happening()]), 1)
    event = log.created[0]
    assert event["metadata"]["namespace"] == "apps"
    assert event["involvedObject"] == {
        "apiVersion": "fleetfit.io/v1alpha1",
        "kind": "ModelSuite",
        "name": "digits",
        "namespace": "apps",
        "uid": "u-1",
    }
    assert event["lastTimestamp"] == "2026-01-02T03:04:05Z"
