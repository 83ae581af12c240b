"""A node whose disk is full says so, serves on what it has, and catches up when there is room."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from e2e_models import deployment, suite, variant_entry
from e2e_world import World

ROOM_BYTES = 300_000
MISSING = re.compile(r"lacks \d+ bytes")


@contextmanager
def small_disk(directory: Path) -> Iterator[None]:
    """Lay a disk with little room over a directory for the time of the context."""
    options = f"size={ROOM_BYTES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", directory], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk of a given size")
async def test_full_disk_is_reported_and_the_old_model_answers(world: World, namespace: str) -> None:
    node = world.nodes_of_class("arm64-cpu")[0]
    name = f"digits-{namespace}"
    small = variant_entry(world.models / "cnn-small-fp32.onnx", "cnn-small-fp32")
    large = variant_entry(world.models / "residual-wide-fp32.onnx", "residual-wide-fp32", accuracy=0.99)
    # The target is far off, so that accuracy alone decides.
    lenient = {"qoe": {"latencyTargetMilliseconds": 10_000}, "rollout": {"progressDeadlineSeconds": 5}}
    await world.apply(suite(name, namespace, world.models_url, [small]))
    await world.apply(deployment(name, namespace, name, [node], **lenient))
    await world.wait_until_ready(namespace, name)

    with small_disk(world.store_dir(node)):
        await world.apply(suite(name, namespace, world.models_url, [small, large]))
        report = await world.wait_for_report(node, namespace, name, reason="DiskFull")
        assert report["servingVariant"] == "cnn-small-fp32"
        assert MISSING.search(report["message"]), "it says how much room is missing"
        seen = await world.kubectl("get", "ninf", node, "-o", "yaml")
        assert "reason: DiskFull" in seen
        # The node goes on trying, so that the rollout ends at its deadline and is degraded for having stopped.
        late = await world.wait_for_condition(
            namespace, name, "Progressing", "False", "ProgressDeadlineExceeded"
        )
        assert node in late["message"]
        stopped = await world.wait_for_condition(namespace, name, "Degraded", "True")
        assert stopped["reason"] == "RolloutStopped"
        assert node in stopped["message"]
        assert "DiskFull" in stopped["message"]
        tallies = await world.classify(namespace, name, [node], images=20)
        assert tallies[node].failed == 0

    await world.wait_until_ready(namespace, name)
    assert (await world.model(node, namespace, name))["servingVariant"] == "residual-wide-fp32"
