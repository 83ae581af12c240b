"""Signed models on a node: who is trusted decides what is loaded, and what serves goes on serving."""

import asyncio
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from fleetfit_api.base import ObjectMeta
from fleetfit_api.model_status import ModelPhase
from fleetfit_api.node_inference import Assignment, NodeInference, NodeInferenceSpec, UpcomingModel
from fleetfit_api.reasons import Reason
from fleetfit_runtime.store.disk_budget import DiskBudget
from fleetfit_runtime.store.signature_bundle import MOST_BUNDLE_BYTES
from runtime_models import assignment, saved, scale_model
from runtime_node import MakeNode, Node

from tests.unit.runtime.signing import p256, signed, trust

KEY = p256()


def model(
    directory: Path, name: str, factor: float, key: EllipticCurvePrivateKey | None = KEY, **over: Any
) -> Assignment:
    """Return an assignment of y = factor * x, signed by a key where there is one."""
    path = saved(directory, name, scale_model(factor))
    made = assignment(path, name, **over)
    if key is None:
        return made
    signature = path.with_suffix(".sig")
    signature.write_bytes(signed(key, {path.name: made.sha256}))
    return made.model_copy(update={"signature_uri": signature.as_uri()})


async def until_refused(node: Node) -> str:
    await node.until(lambda: node.keeper.reason == Reason.SIGNATURE_INVALID)
    return node.keeper.message


async def answer(node: Node) -> Any:
    status, body = await node.infer([1.0, 1.0, 1.0])
    assert status == 200, body
    outputs: Any = body["outputs"]
    return outputs[0]["data"][0]


async def test_signed_model_is_served_and_served_again_without_its_source(
    make_node: MakeNode, tmp_path: Path
) -> None:
    trust(tmp_path / "trusted-keys", KEY)
    source = tmp_path / "source"
    source.mkdir()
    wanted = model(source, "two", 2.0, require_signature=True)
    before = await make_node()
    before.assign(wanted)
    await before.until_phase(ModelPhase.READY)
    await before.until_remembered("two")
    await before.stop()
    source.rename(tmp_path / "gone")
    after = await make_node()
    after.agent.resume()
    await after.until_phase(ModelPhase.READY)
    assert await answer(after) == 2.0


async def test_strangers_signature_is_refused_and_the_last_good_goes_on(node: Node, tmp_path: Path) -> None:
    trust(tmp_path / "trusted-keys", KEY)
    node.assign(model(tmp_path, "two", 2.0))
    await node.until_phase(ModelPhase.READY)
    node.assign(model(tmp_path, "three", 3.0, p256()))
    assert "is by none of the 1 keys that this node trusts; sign with one of them" in await until_refused(
        node
    )
    assert node.keeper.phase == ModelPhase.FAILED
    assert await answer(node) == 2.0


async def test_signature_of_another_model_is_refused(node: Node, tmp_path: Path) -> None:
    trust(tmp_path / "trusted-keys", KEY)
    two, three = model(tmp_path, "two", 2.0), model(tmp_path, "three", 3.0)
    node.assign(three.model_copy(update={"signature_uri": two.signature_uri}))
    assert f"none of its 1 has the digest {three.sha256}" in await until_refused(node)
    assert node.keeper.phase == ModelPhase.FAILED


async def test_signature_that_is_missing_is_named_with_what_to_do(node: Node, tmp_path: Path) -> None:
    trust(tmp_path / "trusted-keys", KEY)
    node.assign(model(tmp_path, "two", 2.0, None, require_signature=True))
    assert "sign its files with model-signing" in await until_refused(node)
    lost = model(tmp_path, "three", 3.0)
    (tmp_path / "three.sig").unlink()
    node.assign(lost)
    await node.until(lambda: "correct its signatureUri" in node.keeper.message)
    assert node.keeper.phase == ModelPhase.FAILED
    huge = model(tmp_path, "five", 5.0)
    (tmp_path / "five.sig").write_bytes(bytes(MOST_BUNDLE_BYTES + 1))
    node.assign(huge)
    await node.until(lambda: "is larger than" in node.keeper.message)


async def test_without_keys_only_what_must_be_signed_waits_until_there_are_some(
    node: Node, tmp_path: Path
) -> None:
    node.assign(model(tmp_path, "two", 2.0, p256()))
    await node.until_phase(ModelPhase.READY)
    node.assign(model(tmp_path, "three", 3.0, require_signature=True))
    assert "this node trusts no key" in await until_refused(node)
    assert node.keeper.phase == ModelPhase.DOWNLOADING
    assert await answer(node) == 2.0
    trust(tmp_path / "trusted-keys", KEY)
    await node.until_phase(ModelPhase.READY, "three")
    assert await answer(node) == 3.0


async def test_requiring_a_signature_later_checks_what_serves_and_loads_nothing(
    node: Node, tmp_path: Path
) -> None:
    trust(tmp_path / "trusted-keys", KEY)
    wanted = model(tmp_path, "two", 2.0)
    node.assign(wanted)
    await node.until_phase(ModelPhase.READY)
    served = node.keeper.served
    stricter = wanted.model_copy(update={"require_signature": True})
    node.assign(stricter)
    await node.until(lambda: node.keeper.last_good == stricter and node.keeper.phase == ModelPhase.READY)
    assert node.keeper.served is served
    node.assign(stricter.model_copy(update={"signature_uri": ""}))
    await until_refused(node)
    assert node.keeper.phase == ModelPhase.FAILED
    assert node.keeper.served is served
    assert await answer(node) == 2.0


async def test_a_signature_is_fetched_ahead_with_its_model(make_node: MakeNode, tmp_path: Path) -> None:
    trust(tmp_path / "trusted-keys", KEY)
    node = await make_node(budget=DiskBudget(spare_share=0.0))
    old, new = model(tmp_path, "two", 2.0), model(tmp_path, "three", 3.0, require_signature=True)
    values = {name: getattr(new, name) for name in ("uri", "sha256", "size_bytes", "signature_uri")}
    spec = NodeInferenceSpec(leader_epoch=1, assignments=[old], upcoming=[UpcomingModel(**values)])
    node.agent.take(NodeInference(metadata=ObjectMeta(uid="u1", generation=1), spec=spec))
    await node.until_phase(ModelPhase.READY)
    kept = tmp_path / "store" / "signatures"
    async with asyncio.timeout(10):
        while len(list(kept.iterdir())) < 2:  # noqa: ASYNC110 - a file system has no event to await
            await asyncio.sleep(0.01)
    node.agent.notice()  # A look at the disk leaves it alone.
    for path in (tmp_path / "three.onnx", tmp_path / "three.sig"):
        path.unlink()
    node.assign(new)
    await node.until_phase(ModelPhase.READY, "three")
    assert await answer(node) == 3.0


async def test_a_signature_goes_with_its_model(node: Node, tmp_path: Path) -> None:
    trust(tmp_path / "trusted-keys", KEY)
    for name, factor in (("two", 2.0), ("three", 3.0), ("four", 4.0)):
        node.assign(model(tmp_path, name, factor))
        await node.until_phase(ModelPhase.READY, name)
    kept = tmp_path / "store" / "signatures"
    async with asyncio.timeout(10):
        while len(list(kept.iterdir())) > 1:  # noqa: ASYNC110 - a file system has no event to await
            await asyncio.sleep(0.01)
