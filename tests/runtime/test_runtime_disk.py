"""A disk that vanishes, fills up or refuses under a running node: it says so, serves on, and recovers by itself."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fleetfit_api.model_status import ModelPhase
from fleetfit_api.node_telemetry import ReferenceRun
from fleetfit_api.reasons import Reason
from fleetfit_runtime.agent.node_memory import NodeMemory
from fleetfit_runtime.agent.reference_cache import ReferenceCache, ReferenceKey
from fleetfit_runtime.engine.engine import LoadOrder
from fleetfit_runtime.engine.served_model import ServedModel
from fleetfit_runtime.store.blobs import BlobStore
from fleetfit_runtime.store.disk_budget import FREE_RESERVE_BYTES, DiskBudget
from runtime_disk import ROOM_BYTES, remove, replace_blobs_by_file, replace_by_file, small_disk
from runtime_models import assignment, saved, scale_model, slow_model
from runtime_node import MakeNode, Node

Break = Callable[[Path], None]
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk of a given size")


async def eventually(holds: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Wait until the disk is as it should be; nothing tells when it is."""
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110 - a file system has no event to await
            await asyncio.sleep(0.01)


async def answering_variant(node: Node) -> object:
    status, answer = await node.infer([1.0, 1.0, 1.0])
    assert status == 200
    return answer["model_version"]


async def serving(node: Node, directory: Path, variant: str = "two") -> None:
    node.assign(assignment(saved(directory, "a", scale_model(2.0)), variant))
    await node.until_phase(ModelPhase.READY, variant)


async def test_vanished_store_is_made_again_and_takes_the_next_model(node: Node, tmp_path: Path) -> None:
    store = tmp_path / "store"
    await serving(node, tmp_path)
    remove(store)
    assert node.store.free_bytes() > 0
    assert node.store.size_bytes() == 0
    assert await answering_variant(node) == "two"
    wanted = assignment(saved(tmp_path, "b", scale_model(3.0)), "three")
    node.assign(wanted)
    await node.until_phase(ModelPhase.READY, "three")
    assert await answering_variant(node) == "three"
    assert node.store.path(wanted.sha256).is_file()


async def test_vanished_memory_is_written_again_though_nothing_changes(node: Node, tmp_path: Path) -> None:
    memory = NodeMemory(tmp_path / "store" / "node_memory.json")
    await serving(node, tmp_path)
    await eventually(lambda: "default/digits" in memory.read().last_good)
    remove(tmp_path / "store")
    await eventually(lambda: "default/digits" in memory.read().last_good)


@pytest.mark.parametrize("broken", [replace_by_file, replace_blobs_by_file])
async def test_store_that_refuses_is_reported_and_tried_again(
    node: Node, tmp_path: Path, broken: Break, caplog: pytest.LogCaptureFixture
) -> None:
    store = tmp_path / "store"
    await serving(node, tmp_path)
    broken(store)
    node.assign(assignment(saved(tmp_path, "b", scale_model(3.0)), "three"))
    await node.until(lambda: node.keeper.reason == Reason.INTERNAL_ERROR)
    assert node.keeper.phase is ModelPhase.DOWNLOADING, "it is tried again"
    assert "the model store cannot be read or written" in node.keeper.message
    assert node.store.size_bytes() == 0
    assert node.store.free_bytes() >= 0
    assert await answering_variant(node) == "two"
    assert node.agent.readiness().ready
    await eventually(lambda: "model store cannot be tidied" in caplog.text)
    (store if store.is_file() else store / "blobs").unlink()
    await node.until_phase(ModelPhase.READY, "three")
    assert await answering_variant(node) == "three"
    memory = NodeMemory(store / "node_memory.json")
    await eventually(lambda: "three" in {good.variant for good in memory.read().last_good.values()})


async def test_files_that_an_old_memory_names_are_kept_until_it_can_be_replaced(
    node: Node, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    await serving(node, tmp_path)
    (two,) = node.agent.remembered.digests
    await eventually(lambda: "default/digits" in NodeMemory(store / "node_memory.json").read().last_good)
    in_the_way = store / "node_memory.json.tmp"
    in_the_way.mkdir()
    node.assign(assignment(saved(tmp_path, "b", scale_model(3.0)), "three"))
    await node.until_phase(ModelPhase.READY, "three")
    unneeded = node.store.path("0" * 64)
    unneeded.write_bytes(b"")
    await eventually(lambda: not unneeded.exists())
    assert node.store.has(two), "a restart would ask for it"
    in_the_way.rmdir()
    await eventually(lambda: not node.store.has(two))


def test_look_at_a_disk_that_does_not_answer_never_fails(tmp_path: Path) -> None:
    def unanswered(_directory: Path) -> int:
        raise OSError(5, "Input/output error")

    store = BlobStore(
        tmp_path / ("x" * 300), DiskBudget(free_bytes=unanswered)
    )  # a name that every file system refuses
    store.open()
    assert (store.has("0" * 64), store.free_bytes(), store.size_bytes()) == (False, 0, 0)


async def test_model_file_that_vanishes_before_the_load_is_fetched_again(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, lost = node.engine.load, list[str]()

    async def load_what_vanished_once(order: LoadOrder, replaced_ticket: int = 0) -> ServedModel:
        if not lost:
            lost.append(order.variant)
            order.path.unlink()
        return await load(order, replaced_ticket)

    monkeypatch.setattr(node.engine, "load", load_what_vanished_once)
    reported: list[str] = []
    node.assign(assignment(saved(tmp_path, "a", scale_model(2.0)), "two"))
    await node.until(lambda: bool(reported.append(str(node.keeper.reason))) or node.keeper.served is not None)
    assert (lost, await answering_variant(node)) == (["two"], "two")
    assert Reason.INTERNAL_ERROR in reported


async def test_rotten_file_on_a_full_disk_lets_the_last_good_variant_answer(
    make_node: MakeNode, tmp_path: Path
) -> None:
    before = await make_node()
    await serving(before, tmp_path)
    wanted = assignment(saved(tmp_path, "b", scale_model(3.0)), "three", uri="http://127.0.0.1:1/b.onnx")
    before.assign(wanted)
    memory = NodeMemory(tmp_path / "store" / "node_memory.json")
    await eventually(lambda: {wanted.sha256} < memory.read().digests)
    await before.stop()
    before.store.path(wanted.sha256).write_bytes(b"rotten")
    after = await make_node(free_bytes=lambda _path: 0)
    after.agent.resume()
    await after.until(lambda: after.keeper.served is not None and after.keeper.reason == Reason.DISK_FULL)
    assert await answering_variant(after) == "two"


async def test_disk_that_comes_after_the_start_is_served_from(make_node: MakeNode, tmp_path: Path) -> None:
    store, away = tmp_path / "store", tmp_path / "away"
    before = await make_node()
    await serving(before, tmp_path)
    await eventually(lambda: "default/digits" in NodeMemory(store / "node_memory.json").read().last_good)
    await before.stop()
    store.rename(away)
    (tmp_path / "a.onnx").unlink()
    after = await make_node()
    after.agent.resume()
    assert not after.agent.keepers()
    assert not (store / "node_memory.json").exists(), "knowing nothing is nothing to remember"
    remove(store)
    away.rename(store)
    await after.until(lambda: bool(after.agent.keepers()) and after.keeper.phase is ModelPhase.READY)
    assert await answering_variant(after) == "two"


async def test_disk_that_comes_after_the_start_is_not_emptied_by_a_node_without_an_object(
    make_node: MakeNode, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    before = await make_node()
    await serving(before, tmp_path)
    memory = NodeMemory(store / "node_memory.json")
    await eventually(lambda: "default/digits" in memory.read().last_good)
    await before.stop()
    store.rename(tmp_path / "away")
    after = await make_node()
    after.agent.take_absence()
    remove(store)
    (tmp_path / "away").rename(store)
    for _ in range(3):  # longer than a node takes to tidy
        after.agent.notice()
        await asyncio.sleep(0.1)
    assert "default/digits" in memory.read().last_good
    assert after.store.size_bytes() > 0


@root_only
async def test_small_disk_over_the_store_is_full_and_the_model_answers(node: Node, tmp_path: Path) -> None:
    await serving(node, tmp_path)
    wanted = assignment(saved(tmp_path, "b", slow_model(3.0, size=100, repeats=1)), "three")
    with small_disk(tmp_path / "store"):
        node.assign(wanted)
        await node.until(lambda: node.keeper.reason == Reason.DISK_FULL)
        free_bytes = node.store.free_bytes()
        assert 0 < free_bytes <= ROOM_BYTES
        # The memory of the node may be written in between, so that the figure of the attempt is a few pages off.
        least_bytes = wanted.size_bytes + FREE_RESERVE_BYTES - ROOM_BYTES
        missing_bytes = int(node.keeper.message.split("lacks ")[1].split(" bytes")[0])
        assert least_bytes <= missing_bytes <= least_bytes + 64 * 1024
        assert await answering_variant(node) == "two"
    await node.until_phase(ModelPhase.READY, "three")
    assert await answering_variant(node) == "three"


@root_only
async def test_disk_that_fills_while_a_model_is_written_says_how_much_is_missing(
    make_node: MakeNode, tmp_path: Path
) -> None:
    node = await make_node(free_bytes=lambda _path: 1 << 40)  # another program takes the room meanwhile
    await serving(node, tmp_path)
    wanted = assignment(saved(tmp_path, "b", slow_model(3.0, size=700, repeats=1)), "three")
    with small_disk(tmp_path / "store"):
        node.assign(wanted)
        await node.until(lambda: node.keeper.reason == Reason.DISK_FULL)
        assert f"of {wanted.size_bytes} bytes" in node.keeper.message
        assert "bytes are missing" in node.keeper.message
        assert await answering_variant(node) == "two"
    await node.until_phase(ModelPhase.READY, "three")


@root_only
async def test_full_disk_keeps_the_old_memory_and_the_files_that_it_names(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    with small_disk(store):
        memory = NodeMemory(store / "node_memory.json")
        old = memory.read().model_copy(
            update={"last_good": {"a": assignment(saved(tmp_path, "a", scale_model(2.0)))}}
        )
        assert memory.write(old) == old
        with pytest.raises(OSError, match="No space left"), (store / "other").open("wb") as other:
            other.write(bytes(2 * ROOM_BYTES))
        new = old.model_copy(update={"last_good": {}, "epoch": 2})
        assert memory.write(new) == old
        assert memory.read() == old
        assert sorted(path.name for path in store.iterdir()) == ["node_memory.json", "other"]
        (store / "other").unlink()
        assert memory.write(new) == new
        assert memory.read() == new


@pytest.mark.parametrize("broken", [remove, replace_by_file])
def test_reference_runs_are_given_without_a_disk(tmp_path: Path, broken: Break) -> None:
    store = tmp_path / "store"
    store.mkdir()
    key = ReferenceKey(
        providers=("CPUExecutionProvider",),
        onnxruntime_version="1",
        intra_op_threads=1,
        set_version="1",
        cpu_count=1.0,
        driver_version="",
        governor="",
    )
    runs = [ReferenceRun(provider="CPUExecutionProvider", set_version="1", intra_op_threads=1)]
    cache = ReferenceCache(store / "reference_runs.json", lambda _providers, _threads: runs)
    broken(store)
    assert cache.known(key) is None
    assert cache.time(key) == runs
    assert cache.known(key) == (runs if broken is remove else None)
