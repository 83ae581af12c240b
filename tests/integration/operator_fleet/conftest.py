"""The cluster that tests of the operator work on: one for each module, emptied after each test."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import yaml
from fleet_actor import FleetActor, eventually
from fleetfit_kube import ApiClient, ResourceType
from fleetfit_kube.errors import NotFound
from fleetfit_kube.resources import (
    DAEMON_SETS,
    HARDWARE_CLASSES,
    INFERENCE_DEPLOYMENTS,
    LEASES,
    MODEL_SUITES,
    NODE_INFERENCES,
    NODES,
    PODS,
    SERVICE_ACCOUNTS,
)
from operator_process import OperatorProcess, operator_process
from operator_world import APPS, SYSTEM, StatusView

from localfleet.binaries import Binaries
from localfleet.controlplane.control_plane import ControlPlane
from localfleet.testing import CommandLine, apply_crds, helm_of, kubectl_of, running_control_plane

ROOT = Path(__file__).parents[3]
OPERATOR_ACCOUNT = "fleetfit-operator"


@pytest.fixture(scope="module")
def own_control_plane(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane for this module alone: the operator works on the whole cluster."""
    with running_control_plane(tmp_path_factory.mktemp("operator"), binaries) as running:
        kubectl = kubectl_of(running)
        apply_crds(kubectl, ROOT / "crds")
        for namespace in (SYSTEM, APPS):
            kubectl("create", "namespace", namespace)
        _apply_chart_rights(helm_of(running), kubectl)
        yield running


def _apply_chart_rights(helm: CommandLine, kubectl: CommandLine) -> None:
    """Give the operator the rights that the chart gives it, and no others."""
    rendered = helm("template", "fleetfit", str(ROOT / "charts" / "fleetfit"), "--namespace", SYSTEM)
    kinds = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
    documents = [each for each in yaml.safe_load_all(rendered) if each and each["kind"] in kinds]
    kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(documents))


@pytest.fixture
async def client(own_control_plane: ControlPlane) -> AsyncIterator[ApiClient]:
    async with ApiClient(own_control_plane.admin()) as connected:
        yield connected
        await _clean(connected)


async def _clean(client: ApiClient) -> None:
    for resource in (
        INFERENCE_DEPLOYMENTS,
        MODEL_SUITES,
        HARDWARE_CLASSES,
        NODES,
        NODE_INFERENCES,
        DAEMON_SETS,
    ):
        for item in (await client.list(resource)).items:
            metadata = item["metadata"]
            await _delete(client, resource, metadata["name"], metadata.get("namespace", ""))
    await _delete(client, LEASES, "fleetfit-operator", SYSTEM)

    async def no_pods() -> bool:
        pods = (await client.list(PODS, SYSTEM)).items
        for pod in pods:
            await _delete(client, PODS, pod["metadata"]["name"], SYSTEM)
        return not pods

    await eventually(no_pods, "the pods of the test are gone")


async def _delete(client: ApiClient, resource: ResourceType, name: str, namespace: str) -> None:
    with contextlib.suppress(NotFound):
        await client.delete(resource, name, namespace, grace_period_s=0 if resource is PODS else None)


@pytest.fixture
async def kubeconfig(own_control_plane: ControlPlane, client: ApiClient, tmp_path: Path) -> Path:
    """A kubeconfig of the operator's service account."""
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600},
    }
    issued = await client.create(
        SERVICE_ACCOUNTS, request, SYSTEM, name=OPERATOR_ACCOUNT, subresource="token"
    )
    config = yaml.safe_load(own_control_plane.state.admin_kubeconfig.read_text())
    config["users"][0]["user"] = {"token": issued["status"]["token"]}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture
async def fleet(client: ApiClient) -> AsyncIterator[FleetActor]:
    async with FleetActor(client, SYSTEM).running() as actor:
        yield actor


@pytest.fixture
async def operator(kubeconfig: Path, tmp_path: Path) -> AsyncIterator[OperatorProcess]:
    async with operator_process(kubeconfig, tmp_path) as running:
        yield running


@pytest.fixture
def status(client: ApiClient) -> StatusView:
    return StatusView(client)
