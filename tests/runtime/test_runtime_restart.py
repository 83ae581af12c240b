"""A node that restarts without a control plane: it serves from what is on its disk."""

from pathlib import Path

from fleetfit_api.model_status import ModelPhase
from fleetfit_api.reasons import Reason
from runtime_models import assignment, saved, scale_model
from runtime_node import MakeNode


async def test_restart_without_network_serves_from_disk(make_node: MakeNode, tmp_path: Path) -> None:
    path = saved(tmp_path, "a", scale_model(2.0))
    before = await make_node()
    before.assign(assignment(path, "two"), epoch=5)
    await before.until_phase(ModelPhase.READY)
    memory = tmp_path / "store" / "node_memory.json"
    await before.until(lambda: memory.exists() and b"digits" in memory.read_bytes())
    await before.stop()
    path.unlink()
    after = await make_node()
    assert not after.agent.readiness().ready
    after.agent.resume()
    await after.until_phase(ModelPhase.READY)
    assert (await after.infer([1.0, 1.0, 1.0]))[0] == 200
    assert after.agent.readiness().ready
    after.assign(epoch=4)
    assert after.agent.stale_epoch == 4


async def test_rotten_file_is_fetched_again_or_reported(make_node: MakeNode, tmp_path: Path) -> None:
    path = saved(tmp_path, "a", scale_model(2.0))
    wanted = assignment(path, "two")
    before = await make_node()
    before.assign(wanted)
    await before.until_phase(ModelPhase.READY)
    await before.stop()
    blob = before.store.path(wanted.sha256)
    blob.write_bytes(b"x" + blob.read_bytes()[1:])
    again = await make_node()
    again.agent.resume()
    await again.until_phase(ModelPhase.READY)
    await again.stop()
    blob.write_bytes(b"x" + blob.read_bytes()[1:])
    path.unlink()
    last = await make_node()
    last.agent.resume()
    await last.until_phase(ModelPhase.FAILED)
    assert last.keeper.reason == Reason.FILE_NOT_FOUND
    assert not blob.exists()


async def test_restart_in_the_middle_of_a_change_serves_the_last_good_variant(
    make_node: MakeNode, tmp_path: Path, unused_tcp_port: int
) -> None:
    before = await make_node()
    before.assign(assignment(saved(tmp_path, "a", scale_model(2.0)), "two"))
    await before.until_phase(ModelPhase.READY)
    url = f"http://127.0.0.1:{unused_tcp_port}/b.onnx"
    before.assign(assignment(saved(tmp_path, "b", scale_model(3.0)), "three", uri=url))
    memory = tmp_path / "store" / "node_memory.json"
    await before.until(lambda: b'"three"' in memory.read_bytes() and b'"two"' in memory.read_bytes())
    await before.stop()
    after = await make_node()
    after.agent.resume()
    await after.until(lambda: after.keeper.served is not None)
    await after.until(lambda: after.keeper.reason == Reason.UNREACHABLE_SOURCE)
    status, answer = await after.infer([1.0, 1.0, 1.0])
    assert (status, answer["model_version"]) == (200, "two")
    assert after.agent.readiness().ready


async def test_damaged_memory_is_as_good_as_none(make_node: MakeNode, tmp_path: Path) -> None:
    directory = tmp_path / "store"
    directory.mkdir()
    (directory / "node_memory.json").write_bytes(b"{ damaged")
    node = await make_node()
    node.agent.resume()
    assert not node.agent.readiness().ready
    node.assign(assignment(saved(tmp_path, "a", scale_model(2.0))))
    await node.until_phase(ModelPhase.READY)
