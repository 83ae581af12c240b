"""A node that loses the control plane, the source of its models and then its runtime answers again, and rightly."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e_world import DIGITS_NAMESPACE, World

from localfleet.demo.traffic import Endpoint
from localfleet.node_config import NODE_MARKER_ENV
from localfleet.process.tree import marked

RESTART_TIMEOUT_S = 60.0


async def test_a_cut_node_whose_runtime_dies_serves_from_its_disk(world: World) -> None:
    await world.deploy_digits()
    node = world.nodes_of_class("arm64-cpu")[0]
    endpoint = await world.endpoint(node, DIGITS_NAMESPACE, "digits")
    assigned = await world.assignment(node, DIGITS_NAMESPACE, "digits")
    (before,) = runtimes_of(world, node)
    await world.cut(node)
    try:
        await world.wait_for_node(node, ready=False)
        with source_gone(world.models):
            os.kill(before, signal.SIGKILL)
            await answers_again(world, endpoint)
            (after,) = runtimes_of(world, node)
            tally = await world.traffic.classify_all(
                endpoint, world.held_out.images[:300], world.held_out.labels[:300]
            )
    finally:
        await world.heal(node)
    assert after != before
    assert tally.failed == 0, tally.errors
    assert tally.variants == {assigned["variant"]: 300}
    assert abs(tally.accuracy - assigned["accuracy"]) < 0.02

    await world.wait_for_node(node, ready=True)
    await world.wait_until_ready(DIGITS_NAMESPACE, "digits")
    assert runtimes_of(world, node) == {after}, "nothing restarts because the network is back"
    assert (await world.model(node, DIGITS_NAMESPACE, "digits"))["servingVariant"] == assigned["variant"]


def runtimes_of(world: World, node: str) -> set[int]:
    """Return the processes that are the node's runtime."""
    processes = marked(NODE_MARKER_ENV, str(world.fleet.node(node).config.state_dir))
    return {pid for pid in processes if b"fleetfit" in command_of(pid) and b"runtime" in command_of(pid)}


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@contextmanager
def source_gone(models: Path) -> Iterator[None]:
    """Let the server of the models have none for the time of the context."""
    away = models.with_name(models.name + "-away")
    models.rename(away)
    try:
        yield
    finally:
        away.rename(models)


async def answers_again(world: World, endpoint: Endpoint) -> None:
    """Wait until one request is answered; a process that was killed tells nobody when its successor is there."""
    async with asyncio.timeout(RESTART_TIMEOUT_S):
        while True:
            tally = await world.traffic.classify_all(
                endpoint, world.held_out.images[:1], world.held_out.labels[:1]
            )
            if tally.failed == 0:
                return
            await asyncio.sleep(0.1)
