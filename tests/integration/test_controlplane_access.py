"""Who may do what at the API server, asked of the real one over TLS."""

import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from fleetfit_kube.client import ApiClient
from fleetfit_kube.config import Connection, StaticToken, from_kubeconfig
from fleetfit_kube.errors import ApiError, Forbidden, Unauthorized
from fleetfit_kube.resources import NODES, PODS, SERVICE_ACCOUNTS

from localfleet.addresses import fleet_addresses
from localfleet.controlplane.authority import Authority, Subject
from localfleet.controlplane.control_plane import ControlPlane, utc_now
from localfleet.controlplane.kubeconfig import render_kubeconfig
from localfleet.testing import CommandLine


def ca_only(control_plane: ControlPlane) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=control_plane.credentials.ca_cert.decode())


def node_object(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}


@pytest.fixture
async def node_client(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[ApiClient]:
    """A kubelet's client, as the node agent has it."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(control_plane.credentials.node_kubeconfig("own-node"))
    async with ApiClient(from_kubeconfig(kubeconfig)) as client:
        yield client


async def test_api_server_is_ready_and_says_its_version(admin: ApiClient) -> None:
    assert await admin.get_text("/readyz") == "ok"
    assert json.loads(await admin.get_text("/version"))["gitVersion"].startswith("v1.35.")


async def test_anonymous_is_refused(control_plane: ControlPlane) -> None:
    async with ApiClient(Connection(control_plane.server, ca_only(control_plane))) as anonymous:
        for path in ("/readyz", "/version", "/api/v1/nodes"):
            with pytest.raises(Unauthorized):
                await anonymous.get_text(path)


async def test_server_of_another_authority_is_not_trusted(control_plane: ControlPlane) -> None:
    other = Authority.create("other", utc_now()).pair.certificate.decode()
    context = ssl.create_default_context(cadata=other)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(f"{control_plane.server}/readyz", ssl=context)


async def test_client_of_another_authority_is_refused(control_plane: ControlPlane, tmp_path: Path) -> None:
    """A certificate says system:masters, but the fleet's authority has not signed it."""
    forged = Authority.create("localfleet", utc_now()).issue(Subject("admin", ("system:masters",)), utc_now())
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        render_kubeconfig(
            server=control_plane.server,
            ca_cert=control_plane.credentials.ca_cert,
            user="admin",
            credentials=forged,
        )
    )
    async with ApiClient(from_kubeconfig(kubeconfig)) as client:
        with pytest.raises(ApiError) as refused:
            await client.get_text("/version")
    assert refused.value.status in (0, 401)


async def test_etcd_refuses_clients_of_the_cluster(control_plane: ControlPlane) -> None:
    """With a node's or even the API server's cluster certificate nobody reads the database."""
    state = control_plane.state
    context = ssl.create_default_context(cafile=str(state.certificate("etcd-ca")))
    context.load_cert_chain(state.certificate("apiserver"), state.key("apiserver"))
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"https://127.0.0.1:{control_plane.ports.etcd_client}/version", ssl=context)
    context = ssl.create_default_context(cafile=str(state.certificate("etcd-ca")))
    context.load_cert_chain(state.certificate("apiserver-etcd-client"), state.key("apiserver-etcd-client"))
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"https://127.0.0.1:{control_plane.ports.etcd_client}/version", ssl=context) as answer,
    ):
        assert (await answer.json())["etcdserver"].startswith("3.")


async def test_service_account_token_works_and_rbac_limits_it(
    control_plane: ControlPlane, admin: ApiClient, kubectl: CommandLine, namespace: str
) -> None:
    kubectl("create", "serviceaccount", "reader", "-n", namespace)
    kubectl("create", "role", "reader", "-n", namespace, "--verb=list", "--resource=pods")
    kubectl(
        "create",
        "rolebinding",
        "reader",
        "-n",
        namespace,
        "--role=reader",
        f"--serviceaccount={namespace}:reader",
    )
    answer = await admin.create(
        SERVICE_ACCOUNTS,
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 600},
        },
        namespace,
        name="reader",
        subresource="token",
    )
    token = StaticToken(answer["status"]["token"])
    async with ApiClient(Connection(control_plane.server, ca_only(control_plane), token)) as reader:
        assert (await reader.list(PODS, namespace)).items == []
        with pytest.raises(Forbidden):
            await reader.list(PODS, "kube-system")
        with pytest.raises(Forbidden):
            await reader.list(NODES)


async def test_node_may_only_touch_its_own_node(node_client: ApiClient, admin: ApiClient) -> None:
    await node_client.create(NODES, node_object("own-node"))
    await admin.create(NODES, node_object("other-node"))
    try:
        patched = await node_client.merge_patch(
            NODES, "own-node", {"status": {"phase": "Running"}}, subresource="status"
        )
        assert patched["metadata"]["name"] == "own-node"
        with pytest.raises(Forbidden):
            await node_client.merge_patch(NODES, "other-node", {"metadata": {"labels": {"zone": "a"}}})
        with pytest.raises(Forbidden):
            await node_client.create(NODES, node_object("third-node"))
        with pytest.raises(Forbidden):
            await node_client.delete(NODES, "own-node")
    finally:
        await admin.delete(NODES, "own-node")
        await admin.delete(NODES, "other-node")


async def test_only_feature_discovery_sets_labels_denied_to_kubelets(
    control_plane: ControlPlane, node_client: ApiClient, admin: ApiClient
) -> None:
    labels = {"metadata": {"labels": {"node-role.kubernetes.io/edge": ""}}}
    await node_client.create(NODES, node_object("own-node"))
    try:
        with pytest.raises(Forbidden):
            await node_client.merge_patch(NODES, "own-node", labels)
        connection = from_kubeconfig(control_plane.state.component_kubeconfig("feature-discovery"))
        async with ApiClient(connection) as discovery:
            await discovery.merge_patch(NODES, "own-node", labels)
            with pytest.raises(Forbidden):
                await discovery.list(PODS, "default")
    finally:
        await admin.delete(NODES, "own-node")


async def test_api_certificate_is_valid_at_every_address_of_the_fleet(control_plane: ControlPlane) -> None:
    """A node's proxy forwards TLS as it is, so the server must be valid at the node's address."""
    certificate = x509.load_pem_x509_certificate(control_plane.state.certificate("apiserver").read_bytes())
    alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    names = {str(name.value) for name in alternatives}
    assert names >= {"127.0.0.1", "localhost", "kubernetes", "kubernetes.default.svc", *fleet_addresses()}


async def test_our_kinds_are_served(kubectl: CommandLine) -> None:
    kinds = kubectl("api-resources", "--api-group=fleetfit.io", "-o", "name").split()
    assert sorted(kinds) == [
        "hardwareclasses.fleetfit.io",
        "inferencedeployments.fleetfit.io",
        "modelsuites.fleetfit.io",
        "nodeinferences.fleetfit.io",
    ]


async def test_helm_reaches_the_fleet(helm: CommandLine) -> None:
    assert "NAMESPACE" in helm("list", "--all-namespaces")
