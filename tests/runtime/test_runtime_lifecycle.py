"""What a node does with assignments: serve, swap, refuse, keep the old, forget."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web
from fleetfit_api.model_status import ModelPhase
from fleetfit_api.reasons import Reason
from fleetfit_runtime.store.disk_budget import FREE_RESERVE_BYTES
from runtime_models import (
    assignment,
    failing_model,
    saved,
    scale_model,
    slow_model,
    unknown_operator_model,
)
from runtime_node import MakeNode, Node


async def test_assigned_model_answers_with_its_variant_as_version(node: Node, tmp_path: Path) -> None:
    node.assign(assignment(saved(tmp_path, "a", scale_model(2.0)), variant="int8"))
    await node.until_phase(ModelPhase.READY)
    status, answer = await node.infer([1.0, 2.0, 3.0])
    assert status == 200
    assert answer["model_version"] == "int8"
    assert answer["outputs"] == [{"name": "y", "shape": [1, 3], "datatype": "FP32", "data": [2.0, 4.0, 6.0]}]
    assert node.keeper.served is not None
    assert node.keeper.served.provider == "CPUExecutionProvider"
    assert node.keeper.served.measured.samples >= 5


async def test_swap_under_load_answers_every_request_with_a_whole_variant(node: Node, tmp_path: Path) -> None:
    first = assignment(saved(tmp_path, "a", scale_model(2.0)), "two")
    second = assignment(saved(tmp_path, "b", slow_model(3.0, size=200)), "three")
    node.assign(first)
    await node.until_phase(ModelPhase.READY)
    done = asyncio.Event()
    answers: list[tuple[int, object, object]] = []

    async def client() -> None:
        while not done.is_set():
            status, answer = await node.infer([1.0, 1.0, 1.0])
            outputs = answer.get("outputs")
            value = outputs[0]["data"][0] if isinstance(outputs, list) else answer
            answers.append((status, answer.get("model_version"), value))

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(client())
        for wanted in (second, first) * 3:
            node.assign(wanted)
            await node.until_phase(ModelPhase.READY, wanted.variant)
        done.set()
    assert {*answers} == {(200, "two", 2.0), (200, "three", 3.0)}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"this is no model", Reason.CORRUPT_MODEL),
        (scale_model(2.0).SerializeToString()[:-20], Reason.CORRUPT_MODEL),
        (b"", Reason.CORRUPT_MODEL),
        (unknown_operator_model().SerializeToString(), Reason.UNSUPPORTED_OPERATOR),
        (failing_model().SerializeToString(), Reason.WARM_UP_FAILED),
    ],
    ids=["garbage", "truncated", "empty", "unknown-operator", "first-run-fails"],
)
async def test_bad_variant_fails_with_a_reason_and_the_old_one_goes_on(
    node: Node, tmp_path: Path, content: bytes, reason: Reason
) -> None:
    node.assign(assignment(saved(tmp_path, "good", scale_model(2.0)), "good"))
    await node.until_phase(ModelPhase.READY)
    bad = assignment(saved(tmp_path, "bad", content or b"\x00"), "bad")
    node.assign(bad)
    await node.until_phase(ModelPhase.FAILED)
    assert node.keeper.reason == reason
    assert node.keeper.message
    status, answer = await node.infer([1.0, 1.0, 1.0])
    assert (status, answer["model_version"]) == (200, "good")


@pytest.mark.parametrize(
    ("over", "reason"),
    [
        ({"sha256": "0" * 64}, Reason.DIGEST_MISMATCH),
        ({"size_bytes": 1}, Reason.SIZE_MISMATCH),
        ({"size_bytes": 10_000_000}, Reason.SIZE_MISMATCH),
        ({"uri": "file:///nowhere/model.onnx"}, Reason.FILE_NOT_FOUND),
        ({"uri": "ftp://host/model.onnx"}, Reason.UNSUPPORTED_URI),
        ({"uri": "file://host/model.onnx"}, Reason.UNSUPPORTED_URI),
    ],
    ids=["digest", "too-long", "too-short", "missing", "scheme", "file-host"],
)
async def test_file_that_is_not_the_declared_one_fails_for_good(
    node: Node, tmp_path: Path, over: dict[str, object], reason: Reason
) -> None:
    node.assign(assignment(saved(tmp_path, "a", scale_model(2.0)), **over))
    await node.until_phase(ModelPhase.FAILED)
    assert node.keeper.reason == reason
    assert list((tmp_path / "store" / "partial").iterdir()) == []
    assert (await node.infer([1.0, 1.0, 1.0]))[0] == 503
    assert node.agent.readiness().ready


async def test_failed_assignment_is_tried_again_when_it_is_assigned_anew(node: Node, tmp_path: Path) -> None:
    path = tmp_path / "late.onnx"
    source = saved(tmp_path, "a", scale_model(2.0))
    wanted = assignment(source, uri=path.as_uri(), assigned_at="2026-01-01T00:00:00Z")
    node.assign(wanted)
    await node.until_phase(ModelPhase.FAILED)
    path.write_bytes(source.read_bytes())
    node.assign(wanted)
    assert node.keeper.phase is ModelPhase.FAILED
    node.assign(assignment(source, uri=path.as_uri(), assigned_at="2026-01-01T00:01:00Z"))
    await node.until_phase(ModelPhase.READY)


async def test_full_disk_is_said_and_heals_when_there_is_room(make_node: MakeNode, tmp_path: Path) -> None:
    free = [1000]
    node = await make_node(free_bytes=lambda _path: free[0])
    wanted = assignment(saved(tmp_path, "a", scale_model(2.0)))
    node.assign(wanted)
    await node.until(lambda: node.keeper.reason == Reason.DISK_FULL)
    assert node.keeper.phase is ModelPhase.DOWNLOADING
    assert f"lacks {wanted.size_bytes + FREE_RESERVE_BYTES - 1000} bytes" in node.keeper.message
    free[0] = 1 << 40
    await node.until_phase(ModelPhase.READY)


async def test_unreachable_source_is_said_does_not_block_readiness_and_heals(
    node: Node, tmp_path: Path, unused_tcp_port: int
) -> None:
    content = scale_model(2.0).SerializeToString()
    url = f"http://127.0.0.1:{unused_tcp_port}/model.onnx"
    node.assign(assignment(saved(tmp_path, "a", content), uri=url))
    await node.until(lambda: node.keeper.reason == Reason.UNREACHABLE_SOURCE)
    assert node.agent.readiness().ready

    async def serve(_request: web.Request) -> web.Response:
        return web.Response(body=content)

    application = web.Application()
    application.router.add_get("/model.onnx", serve)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
        await node.until_phase(ModelPhase.READY)
    finally:
        await runner.cleanup()


async def test_removed_assignment_stops_answering_and_its_file_goes(node: Node, tmp_path: Path) -> None:
    wanted = assignment(saved(tmp_path, "a", scale_model(2.0)))
    node.assign(wanted)
    await node.until_phase(ModelPhase.READY)
    node.assign()
    await node.until(lambda: len(node.table) == 0)
    assert (await node.infer([1.0, 1.0, 1.0]))[0] == 404
    await node.until(lambda: not node.store.has(wanted.sha256))


async def test_two_deployments_share_one_file(node: Node, tmp_path: Path) -> None:
    path = saved(tmp_path, "a", scale_model(2.0))
    node.assign(
        assignment(path, deployment="one", model_name="one"),
        assignment(path, deployment="two", model_name="two"),
    )
    await node.until(lambda: all(keeper.phase is ModelPhase.READY for keeper in node.agent.keepers()))
    assert node.store.size_bytes() == path.stat().st_size
    assert {(await node.infer([1.0, 1.0, 1.0], name))[0] for name in ("one", "two")} == {200}


async def test_second_deployment_with_a_taken_name_is_refused(node: Node, tmp_path: Path) -> None:
    path = saved(tmp_path, "a", scale_model(2.0))
    node.assign(assignment(path, deployment="one"), assignment(path, deployment="two"))
    await node.until(lambda: all(keeper.settled for keeper in node.agent.keepers()))
    first, second = node.agent.keepers()
    assert (first.phase, second.phase) == (ModelPhase.READY, ModelPhase.FAILED)
    assert second.reason == Reason.MODEL_NAME_CONFLICT


async def test_change_that_is_taken_back_leaves_what_serves(node: Node, tmp_path: Path) -> None:
    first = assignment(saved(tmp_path, "a", scale_model(2.0)), "two")
    node.assign(first)
    await node.until_phase(ModelPhase.READY)
    before = node.table.get("digits")
    node.assign(assignment(saved(tmp_path, "b", scale_model(3.0)), "three"))
    node.assign(first)
    assert node.keeper.phase is ModelPhase.READY
    assert node.table.get("digits") is before


async def test_provider_that_is_not_there_is_a_fallback_with_a_reason(
    make_node: MakeNode, tmp_path: Path
) -> None:
    node = await make_node(providers=("CUDAExecutionProvider", "CPUExecutionProvider"))
    node.assign(assignment(saved(tmp_path, "a", scale_model(2.0))))
    await node.until_phase(ModelPhase.READY)
    assert node.keeper.served is not None
    proof = node.keeper.served.model.proof
    assert (proof.provider, proof.fallback) == ("CPUExecutionProvider", True)
    assert "CUDAExecutionProvider is not part of this ONNX Runtime build (available: " in proof.message


async def test_spec_of_an_outdated_leader_is_refused(node: Node, tmp_path: Path) -> None:
    node.assign(assignment(saved(tmp_path, "a", scale_model(2.0)), "two"), epoch=7)
    await node.until_phase(ModelPhase.READY)
    node.assign(epoch=6)
    assert node.agent.stale_epoch == 6
    assert (await node.infer([1.0, 1.0, 1.0]))[0] == 200
    node.assign(epoch=6, uid="made-anew")
    assert node.agent.stale_epoch is None
    await node.until(lambda: len(node.table) == 0)


async def test_readiness_waits_for_the_first_models_only(node: Node, tmp_path: Path) -> None:
    assert not node.agent.readiness().ready
    node.assign(assignment(saved(tmp_path, "a", scale_model(2.0))))
    assert not node.agent.readiness().ready
    async with node.client.get(node.url("/v2/health/ready")) as response:
        assert response.status == 503
        assert (await response.json())["ready"] is False
    await node.until_phase(ModelPhase.READY)
    assert node.agent.readiness().ready
    node.assign(assignment(saved(tmp_path, "b", slow_model(3.0)), "three"))
    assert node.agent.readiness().ready
