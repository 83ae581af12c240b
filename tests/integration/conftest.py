"""A real control plane for the session; nothing is skipped, what is missing is built."""

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from fleetfit_kube.client import ApiClient
from fleetfit_kube.resources import NAMESPACES

from localfleet.binaries import Binaries
from localfleet.controlplane.control_plane import ControlPlane
from localfleet.testing import (
    CommandLine,
    apply_crds,
    build_binaries,
    helm_of,
    kubectl_of,
    running_control_plane,
)

CRDS = Path(__file__).parents[2] / "crds"


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    return build_binaries()


@pytest.fixture(scope="session")
def control_plane(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Shared by all tests of the session: give objects names of your own, or use `namespace`."""
    with running_control_plane(tmp_path_factory.mktemp("control-plane"), binaries) as running:
        apply_crds(kubectl_of(running), CRDS)
        yield running


@pytest.fixture
async def admin(control_plane: ControlPlane) -> AsyncIterator[ApiClient]:
    async with ApiClient(control_plane.admin()) as client:
        yield client


@pytest.fixture(scope="session")
def kubectl(control_plane: ControlPlane) -> CommandLine:
    """`kubectl("get", "nodes")` gives the output or fails the test; `kubectl.run(...)` gives the result."""
    return kubectl_of(control_plane)


@pytest.fixture(scope="session")
def helm(control_plane: ControlPlane) -> CommandLine:
    return helm_of(control_plane)


@pytest.fixture(scope="session")
def _namespace_numbers() -> Iterator[int]:
    return itertools.count(1)


@pytest.fixture
async def namespace(admin: ApiClient, _namespace_numbers: Iterator[int]) -> AsyncIterator[str]:
    """A namespace for one test."""
    name = f"test-{next(_namespace_numbers)}"
    await admin.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    await admin.delete(NAMESPACES, name)
