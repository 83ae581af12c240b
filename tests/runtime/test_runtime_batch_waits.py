"""`serving.batching` on a node: who runs together, who waits, and that a change of it loads nothing anew."""

import asyncio
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from fleetfit_api.batching import Batching
from fleetfit_api.model_status import ModelPhase
from fleetfit_api.node_inference import Assignment
from fleetfit_runtime.engine.batch_proof import BatchRule
from fleetfit_runtime.engine.engine import Engine
from fleetfit_runtime.engine.served_model import ServedModel
from runtime_models import assignment, saved, scale_model
from runtime_node import MakeNode, Node

INFER = "/v2/models/digits/infer"
LONG_MS = 1000.0


@pytest.fixture(autouse=True)
def proven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every model have been seen to gain by batches of up to eight, which small ones show by luck only."""
    loaded = Engine.load

    async def load(self: Engine, order: Any, replaced_ticket: int = 0) -> ServedModel:
        served = await loaded(self, order, replaced_ticket)
        served._proven = BatchRule(8, 8)
        return served

    monkeypatch.setattr(Engine, "load", load)


def wanted(directory: Path, name: str = "two", **batching: Any) -> Assignment:
    path = directory / f"{name}.onnx"
    path = path if path.exists() else saved(directory, name, scale_model({"two": 2.0, "five": 5.0}[name]))
    return assignment(path, name, batching=Batching(**batching))


async def serve(node: Node, directory: Path, **batching: Any) -> ServedModel:
    node.assign(wanted(directory, **batching))
    await node.until_phase(ModelPhase.READY)
    assert node.keeper.served is not None
    return node.keeper.served


async def ask(node: Node, value: float, **headers: str) -> tuple[int, Any]:
    tensor = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [value] * 3}
    body = orjson.dumps({"inputs": [tensor]})
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    async with node.client.post(node.url(INFER), data=body, headers=named) as answer:
        return answer.status, await answer.json()


async def answers(node: Node, *values: float) -> list[Any]:
    found = await asyncio.gather(*(ask(node, value) for value in values))
    assert {status for status, _ in found} == {200}
    return [body["outputs"][0]["data"][0] for _, body in found]


async def batch_sizes(node: Node) -> dict[int, int]:
    """Return how often batches of each size ran, as the node's statistics have it."""
    async with node.client.get(node.url("/v2/models/digits/stats")) as answer:
        (stats,) = (await answer.json())["model_stats"]
    return {each["batch_size"]: each["compute_infer"]["count"] for each in stats["batch_stats"]}


async def test_requests_of_clients_that_come_apart_run_as_one_batch(node: Node, tmp_path: Path) -> None:
    await serve(node, tmp_path, max_items=4, max_wait_milliseconds=LONG_MS)
    values = [float(number) for number in range(12)]
    assert await answers(node, *values) == [2 * value for value in values]
    assert await batch_sizes(node) == {4: 3}


async def test_without_a_wait_a_lonely_request_is_answered_at_once(node: Node, tmp_path: Path) -> None:
    await serve(node, tmp_path)
    assert await answers(node, 1.0) == [2.0]
    assert await batch_sizes(node) == {1: 1}


async def test_a_lonely_request_waits_no_longer_than_it_is_told(node: Node, tmp_path: Path) -> None:
    await serve(node, tmp_path, max_wait_milliseconds=50.0)
    begun_s = time.perf_counter()
    assert await answers(node, 1.0) == [2.0]
    assert time.perf_counter() - begun_s >= 0.05
    # With less time than the wait it does not wait at all.
    assert (await ask(node, 1.0, fleetfit_timeout_ms="40"))[0] == 200
    assert await batch_sizes(node) == {1: 2}


async def test_batching_that_is_off_runs_every_request_alone(node: Node, tmp_path: Path) -> None:
    await serve(node, tmp_path, enabled=False)
    assert sorted(await answers(node, *map(float, range(9)))) == [2.0 * number for number in range(9)]
    assert await batch_sizes(node) == {1: 9}


async def test_a_change_of_batching_alone_loads_nothing_and_fails_nothing(node: Node, tmp_path: Path) -> None:
    served = await serve(node, tmp_path)
    before = asyncio.gather(*(ask(node, 1.0) for _ in range(20)))
    await asyncio.sleep(0)
    node.assign(wanted(tmp_path, max_items=2, max_wait_milliseconds=80.0))
    assert {status for status, _ in await before} == {200}
    assert (node.keeper.served, node.keeper.phase) == (served, ModelPhase.READY)
    assert served.batches == BatchRule(2, 2)
    begun_s = time.perf_counter()
    await answers(node, 1.0)
    assert time.perf_counter() - begun_s >= 0.08
    node.assign(wanted(tmp_path))
    assert served.batches == BatchRule(8, 8)
    assert await answers(node, 1.0) == [2.0]
    assert node.keeper.served is served


async def test_a_change_that_comes_while_a_model_is_loaded_holds_for_it(node: Node, tmp_path: Path) -> None:
    node.assign(wanted(tmp_path))
    node.assign(wanted(tmp_path, max_items=3))
    await node.until_phase(ModelPhase.READY)
    assert node.keeper.served is not None
    assert node.keeper.served.batches == BatchRule(3, 3)


async def test_another_variant_and_one_after_a_restart_run_as_the_deployment_has_it(
    make_node: MakeNode, tmp_path: Path
) -> None:
    node = await make_node()
    await serve(node, tmp_path, max_items=2)
    node.assign(wanted(tmp_path, "five", max_items=2))
    await node.until_phase(ModelPhase.READY, "five")
    assert node.keeper.served is not None
    assert node.keeper.served.batches == BatchRule(2, 2)
    await node.until_remembered("five")
    await node.stop()
    again = await make_node()
    again.agent.resume()
    await again.until_phase(ModelPhase.READY)
    assert again.keeper.served is not None
    assert again.keeper.served.batches == BatchRule(2, 2)
