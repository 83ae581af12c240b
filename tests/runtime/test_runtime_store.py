"""What a node keeps on its disk: all files of a model side by side, variants it may return to, never too much."""

import asyncio
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from fleetfit_api.model_status import ModelPhase
from fleetfit_api.node_inference import AssignedFile, Assignment
from fleetfit_api.reasons import Reason
from fleetfit_runtime.store.blobs import BlobStore
from fleetfit_runtime.store.disk_budget import DiskBudget
from onnx import TensorProto, helper
from runtime_models import FLOAT, assignment, graph, saved, scale_model
from runtime_node import MakeNode, Node


def with_data(directory: Path, factor: float) -> Assignment:
    """Return an assignment of y = factor * x whose factor lies in a further file."""
    directory.mkdir(parents=True)
    factors = np.full((1, 3), factor, np.float32)
    model = graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        [helper.make_tensor_value_info("x", FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", FLOAT, ["N", 3])],
        [helper.make_tensor("factor", TensorProto.FLOAT, [1, 3], factors.tobytes(), raw=True)],
    )
    path = directory / "m.onnx"
    (directory / "part").mkdir()
    onnx.save(model, path, save_as_external_data=True, location="part/weights.data", size_threshold=0)
    data = assignment(directory / "part" / "weights.data")
    file = AssignedFile(
        name="part/weights.data", uri=data.uri, sha256=data.sha256, size_bytes=data.size_bytes
    )
    return assignment(path, "data", files=[file])


async def answer(node: Node) -> Any:
    status, body = await node.infer([1.0, 1.0, 1.0])
    assert status == 200, body
    outputs: Any = body["outputs"]
    return outputs[0]["data"]


async def test_model_with_external_data_is_served_and_served_again_offline(
    make_node: MakeNode, tmp_path: Path
) -> None:
    before = await make_node()
    wanted = with_data(tmp_path / "source", 2.0)
    before.assign(wanted)
    await before.until_phase(ModelPhase.READY)
    assert await answer(before) == [2.0, 2.0, 2.0]
    memory = tmp_path / "store" / "node_memory.json"
    await before.until(lambda: memory.exists() and b"weights.data" in memory.read_bytes())
    await before.stop()
    (tmp_path / "source").rename(tmp_path / "gone")
    after = await make_node()
    after.agent.resume()
    await after.until_phase(ModelPhase.READY)
    assert await answer(after) == [2.0, 2.0, 2.0]


async def test_other_data_under_the_same_graph_is_another_model(node: Node, tmp_path: Path) -> None:
    first, second = with_data(tmp_path / "one", 2.0), with_data(tmp_path / "two", 3.0)
    assert first.sha256 == second.sha256
    node.assign(first)
    await node.until_phase(ModelPhase.READY)
    node.assign(second)
    await node.until(lambda: node.keeper.assignment == second and node.keeper.last_good == second)
    assert await answer(node) == [3.0, 3.0, 3.0]
    sets = tmp_path / "store" / "sets"
    async with asyncio.timeout(10):
        while len(list(sets.iterdir())) > 1:  # noqa: ASYNC110 - a file system has no event to await
            await asyncio.sleep(0.01)
    assert not node.store.has(first.files[0].sha256)


async def test_equal_files_are_one_on_the_disk(node: Node, tmp_path: Path) -> None:
    wanted = with_data(tmp_path / "source", 2.0)
    node.assign(wanted)
    await node.until_phase(ModelPhase.READY)
    placed = next((tmp_path / "store" / "sets").rglob("weights.data"))
    assert placed.samefile(node.store.path(wanted.files[0].sha256))


async def test_rotten_data_is_fetched_again(make_node: MakeNode, tmp_path: Path) -> None:
    before = await make_node()
    wanted = with_data(tmp_path / "source", 2.0)
    before.assign(wanted)
    await before.until_phase(ModelPhase.READY)
    await before.stop()
    before.store.path(wanted.files[0].sha256).write_bytes(bytes(wanted.files[0].size_bytes))
    after = await make_node()
    after.assign(wanted)
    await after.until_phase(ModelPhase.READY)
    assert await answer(after) == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "a/../../escaped", ".hidden", "a//b", "a\\..\\b"])
async def test_name_that_leads_out_of_the_store_is_refused(node: Node, tmp_path: Path, name: str) -> None:
    wanted = with_data(tmp_path / "source", 2.0)
    file = wanted.files[0].model_copy(update={"name": name})
    node.assign(wanted.model_copy(update={"files": [file]}))
    await node.until_phase(ModelPhase.FAILED)
    assert node.keeper.reason == Reason.UNSUPPORTED_URI
    assert not list(tmp_path.rglob("escaped"))  # noqa: ASYNC240 - a handful of files


async def test_return_to_a_variant_needs_no_source_while_the_disk_has_room(
    make_node: MakeNode, tmp_path: Path
) -> None:
    node = await make_node(budget=DiskBudget(spare_share=0.0))
    paths = {
        name: saved(tmp_path, name, scale_model(factor)) for name, factor in (("two", 2.0), ("three", 3.0))
    }
    wanted = {name: assignment(path, name) for name, path in paths.items()}
    for name in ("two", "three"):
        node.assign(wanted[name])
        await node.until_phase(ModelPhase.READY, name)
    for path in paths.values():
        path.unlink()
    node.assign(wanted["two"])
    await node.until_phase(ModelPhase.READY, "two")
    assert await answer(node) == [2.0, 2.0, 2.0]


def test_room_is_made_by_the_files_that_were_used_longest_ago(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, DiskBudget(max_bytes=50, spare_share=0.0))
    store.open()
    digests = [f"{index:064}" for index in range(5)]
    for used_s, digest in enumerate(digests):
        store.path(digest).write_bytes(bytes(10))
        os.utime(store.path(digest), (used_s, used_s))
    store.need(digests[:1])
    store.make_room(20)
    assert [store.has(each) for each in digests] == [True, False, False, True, True]
    store.make_room(1000)
    assert [store.has(each) for each in digests] == [True, False, False, False, False]
    store.empty_trash()
    assert store.discard_unneeded([]) == [], "it still fits"
    assert store.path(digests[0]).stat().st_mtime > 1e9, "it was in use until now"


async def test_budget_keeps_what_is_needed_and_what_else_fits(make_node: MakeNode, tmp_path: Path) -> None:
    files = {name: saved(tmp_path, name, scale_model(float(index + 2))) for index, name in enumerate("abcd")}
    size_bytes = max(path.stat().st_size for path in files.values())
    budget = DiskBudget(max_bytes=3 * size_bytes + size_bytes // 2, spare_share=0.0)
    node = await make_node(budget=budget)
    wanted = {name: assignment(path, name) for name, path in files.items()}
    for name in "abc":
        node.assign(wanted[name])
        await node.until_phase(ModelPhase.READY, name)
    node.assign(wanted["d"])
    await node.until_phase(ModelPhase.READY, "d")
    present = {name for name, each in wanted.items() if node.store.has(each.sha256)}
    assert {"c", "d"} < present, "c is what worked before d"
    assert len(present) == 3
    assert node.store.size_bytes() <= 3 * size_bytes + size_bytes // 2


async def test_budget_too_small_for_a_change_keeps_what_serves(make_node: MakeNode, tmp_path: Path) -> None:
    one, other = (saved(tmp_path, name, scale_model(factor)) for name, factor in (("a", 2.0), ("b", 3.0)))
    budget = DiskBudget(max_bytes=one.stat().st_size + 10, spare_share=0.0)
    node = await make_node(budget=budget)
    node.assign(assignment(one, "a"))
    await node.until_phase(ModelPhase.READY)
    node.assign(assignment(other, "b"))
    await node.until(lambda: node.keeper.reason == Reason.DISK_FULL)
    assert "the store's budget lacks" in node.keeper.message
    assert await answer(node) == [2.0, 2.0, 2.0]
