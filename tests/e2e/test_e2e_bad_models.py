"""What a user sees when a model file is not what the suite says, and that what worked goes on working."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from e2e_models import DIGITS, deployment, suite, variant_entry, write_corrupt_model, write_unsupported_model
from e2e_world import World

GOOD = "cnn-small-fp32"


def _bad_digest(directory: Path) -> dict[str, Any]:
    path = directory / "bad-digest.onnx"
    path.write_bytes((DIGITS / "variants" / "mlp-fp32.onnx").read_bytes())
    return variant_entry(path, "bad-digest", sha256="0" * 64)


def _missing_file(directory: Path) -> dict[str, Any]:
    path = directory / "gone.onnx"
    path.write_bytes((DIGITS / "variants" / "mlp-fp32.onnx").read_bytes())
    entry = variant_entry(path, "missing-file", sha256="1" * 64)
    path.unlink()
    return entry


def _corrupt(directory: Path) -> dict[str, Any]:
    path = directory / "corrupt.onnx"
    write_corrupt_model(path)
    return variant_entry(path, "corrupt")


def _unsupported(directory: Path) -> dict[str, Any]:
    path = directory / "unsupported.onnx"
    write_unsupported_model(path)
    return variant_entry(path, "unsupported")


@pytest.mark.parametrize(
    ("make_bad", "reason"),
    [
        pytest.param(_bad_digest, "DigestMismatch", id="bad-digest"),
        pytest.param(_missing_file, "FileNotFound", id="missing-file"),
        pytest.param(_corrupt, "CorruptModel", id="corrupt"),
    ],
)
async def test_bad_file_stops_the_rollout_and_the_old_model_answers(
    world: World, namespace: str, make_bad: Callable[[Path], dict[str, Any]], reason: str
) -> None:
    node, other = world.nodes_of_class("x86-cpu")[:2]
    name = f"digits-{namespace}"
    good = variant_entry(world.models / f"{GOOD}.onnx", GOOD)
    await world.apply(suite(name, namespace, world.models_url, [good]))
    await world.apply(deployment(name, namespace, name, [node, other]))
    await world.wait_until_ready(namespace, name)

    bad = {**make_bad(world.models), "accuracy": 0.99}  # better than the good one, so it is wanted
    await world.apply(suite(name, namespace, world.models_url, [good, bad]))

    failed = await world.wait_for_condition(namespace, name, "Degraded", "True")
    assert bad["name"] in failed["message"]
    assert reason in failed["message"]
    nodes_with_failure = await world.wait_for_failure(namespace, name, bad["name"], reason)
    assert len(nodes_with_failure) == 1, "the canary alone met the bad file"
    tallies = await world.classify(namespace, name, [node, other], images=20)
    assert [tally.failed for tally in tallies.values()] == [0, 0]
    assert {variant for tally in tallies.values() for variant in tally.variants} == {GOOD}

    await world.apply(suite(name, namespace, world.models_url, [good]))  # the user takes the bad variant away
    await world.wait_until_ready(namespace, name)
    await world.wait_for_condition(namespace, name, "Degraded", "False")


async def test_an_operator_that_the_runtime_lacks_is_avoided_in_the_whole_class(
    world: World, namespace: str
) -> None:
    node, other = world.nodes_of_class("x86-cpu")[:2]
    name = f"digits-{namespace}"
    good = variant_entry(world.models / f"{GOOD}.onnx", GOOD)
    await world.apply(suite(name, namespace, world.models_url, [good]))
    await world.apply(deployment(name, namespace, name, [node, other]))
    await world.wait_until_ready(namespace, name)

    bad = {**_unsupported(world.models), "accuracy": 0.99}  # better than the good one, so it is wanted
    await world.apply(suite(name, namespace, world.models_url, [good, bad]))

    nodes_with_failure = await world.wait_for_failure(namespace, name, bad["name"], "UnsupportedOperator")
    assert len(nodes_with_failure) == 1, "the canary alone met the bad file"
    await world.wait_until_ready(namespace, name)
    tallies = await world.classify(namespace, name, [node, other], images=20)
    assert [tally.failed for tally in tallies.values()] == [0, 0]
    assert {variant for tally in tallies.values() for variant in tally.variants} == {GOOD}
