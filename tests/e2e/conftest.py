"""One fleet for the whole session: a real control plane, process nodes, and Fleetfit installed by helm as users do."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from e2e_models import DIGITS
from e2e_world import World, copy_models
from fleetfit_kube import ApiClient
from fleetfit_kube.resources import NAMESPACES, NODES

from examples.digits.heldout import load_held_out
from localfleet.controlplane.kubeconfig import tool_environment
from localfleet.demo import cluster
from localfleet.demo.model_server import serve_directory
from localfleet.demo.run import CHART
from localfleet.demo.traffic import TrafficClient, open_session
from localfleet.fleet import Fleet
from localfleet.images import default_images
from localfleet.node.profile import load_fleet
from localfleet.testing import build_binaries

FLEET_PLAN = Path(__file__).parent / "fleet.yaml"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests share the session's event loop, on which the fleet lives."""
    for item in items:
        if "e2e" in item.nodeid:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    assert DIGITS.is_dir()
    plan = load_fleet(str(FLEET_PLAN))
    models = tmp_path_factory.mktemp("models")
    copy_models(models)
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), build_binaries(), default_images(os.environ))
    async with (
        fleet,
        ApiClient(fleet.control_plane.admin()) as client,
        open_session() as session,
        serve_directory(models) as models_url,
    ):
        names = [node.name for node in plan.nodes]
        async with asyncio.TaskGroup() as group:
            for node in plan.nodes:
                group.create_task(fleet.add_node(node.profile, node.name))
        await fleet.wait_until_ready(*names)
        env = tool_environment(fleet.control_plane.state.admin_kubeconfig)
        helm = [fleet.control_plane.binaries.helm, *cluster.install_arguments(CHART, names[0])]
        await cluster.run_command(helm, env)
        try:
            await cluster.wait_for_operator(client, 90.0)
            await cluster.wait_for_runtimes(client, len(names), 120.0, lambda _: None)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{await cluster.describe_trouble(client)}") from error
        listed = (await client.list(NODES)).items
        classes = {
            item["metadata"]["name"]: item["metadata"]["labels"]["fleetfit.io/hardware-class"]
            for item in listed
        }
        yield World(fleet, client, TrafficClient(session), models, models_url, load_held_out(), classes)


@pytest.fixture(scope="session")
def namespace_numbers() -> Iterator[int]:
    return itertools.count(1)


async def _create_namespace(world: World, numbers: Iterator[int]) -> str:
    name = f"e2e-{next(numbers)}"
    await world.client.create(
        NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    )
    return name


@pytest_asyncio.fixture(loop_scope="session")
async def namespace(world: World, namespace_numbers: Iterator[int]) -> AsyncIterator[str]:
    name = await _create_namespace(world, namespace_numbers)
    yield name
    await world.client.delete(NAMESPACES, name)


@pytest_asyncio.fixture(loop_scope="session")
async def second_namespace(world: World, namespace_numbers: Iterator[int]) -> AsyncIterator[str]:
    name = await _create_namespace(world, namespace_numbers)
    yield name
    await world.client.delete(NAMESPACES, name)
