"""The chart on a real API server: it installs, and the two service accounts may do what they need and nothing else.

These tests have a control plane of their own, since Helm shall find it without CRDs, as on a user's cluster.
"""

import copy
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from fleetfit_kube import ApiClient, ResourceType, from_kubeconfig
from fleetfit_kube.errors import Forbidden
from fleetfit_kube.resources import HARDWARE_CLASSES, NODE_INFERENCES, NODES, PODS, SERVICE_ACCOUNTS

from localfleet.binaries import Binaries
from localfleet.controlplane.control_plane import ControlPlane
from localfleet.testing import CommandLine, helm_of, kubectl_of, running_control_plane

CHART = Path(__file__).parents[2] / "charts/fleetfit"
NAMESPACE = "chart-install"
OPERATOR, RUNTIME = "fleetfit-operator", "fleetfit-runtime"
NODE_A, NODE_B = "chart-node-a", "chart-node-b"
REVIEWS = ResourceType(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False
)
TokenClient = Callable[..., Awaitable[ApiClient]]
STATUS = {"status": {"readySummary": "1/1"}}


def wait_for_policy(kubectl: CommandLine) -> None:
    """Try, as a runtime with all rights, until it is the policy that refuses.

    An API server takes a new policy into use a moment after it was stored, and nothing in the API tells when.
    """
    probe = json.dumps(
        {"apiVersion": "fleetfit.io/v1alpha1", "kind": "NodeInference", "metadata": {"name": "probe"}}
    )
    user = f"--as=system:serviceaccount:{NAMESPACE}:{RUNTIME}"
    command = ("create", "--dry-run=server", user, "--as-group=system:masters", "--filename", "-")
    deadline_s = time.monotonic() + 30
    while "a runtime may write only the status" not in (answer := kubectl.run(*command, stdin=probe)).stderr:
        assert time.monotonic() < deadline_s, answer.stdout + answer.stderr


@pytest.fixture(scope="module")
def bare(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running_control_plane(tmp_path_factory.mktemp("bare-control-plane"), binaries) as running:
        yield running


@pytest.fixture(scope="module")
def helm(bare: ControlPlane) -> CommandLine:
    return helm_of(bare)


@pytest.fixture(scope="module")
def kubectl(bare: ControlPlane) -> CommandLine:
    return kubectl_of(bare)


@pytest.fixture(scope="module")
def release(helm: CommandLine, kubectl: CommandLine) -> str:
    """The chart, installed as a user would; its notes."""
    notes = helm("install", "fleetfit", str(CHART), "--namespace", NAMESPACE, "--create-namespace")
    wait_for_policy(kubectl)
    return notes


@pytest.fixture
async def admin(bare: ControlPlane, release: str) -> AsyncIterator[ApiClient]:
    """A client of the administrator, after the chart was installed."""
    assert release
    async with ApiClient(bare.admin()) as client:
        yield client


@pytest.fixture
async def client_of(admin: ApiClient, bare: ControlPlane, tmp_path: Path) -> AsyncIterator[TokenClient]:
    """Return what makes a client with a token of a service account, bound to a pod where one is named."""
    kubeconfig = yaml.safe_load(bare.state.admin_kubeconfig.read_text(encoding="utf-8"))
    async with AsyncExitStack() as stack:

        async def make(account: str, pod: str = "") -> ApiClient:
            bound = {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": pod}} if pod else {}
            request = {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {"expirationSeconds": 600, **bound},
            }
            answer = await admin.create(
                SERVICE_ACCOUNTS, request, NAMESPACE, name=account, subresource="token"
            )
            config = copy.deepcopy(kubeconfig)
            config["users"][0]["user"] = {"token": answer["status"]["token"]}
            path = tmp_path / f"{account}{pod}.yaml"
            path.write_text(yaml.safe_dump(config), encoding="utf-8")
            return await stack.enter_async_context(ApiClient(from_kubeconfig(path)))

        yield make


@pytest.fixture
async def nodes(admin: ApiClient) -> AsyncIterator[None]:
    """Two nodes, each with a runtime pod and a NodeInference."""
    for node in (NODE_A, NODE_B):
        await admin.apply(NODES, {"metadata": {"name": node}}, field_manager="test")
        container = {"name": "runtime", "image": "fleetfit/runtime:1"}
        spec = {"nodeName": node, "serviceAccountName": RUNTIME, "containers": [container]}
        await admin.create(PODS, {"metadata": {"name": f"runtime-{node}"}, "spec": spec}, NAMESPACE)
        await admin.apply(
            NODE_INFERENCES, {"metadata": {"name": node}, "spec": {"leaderEpoch": 1}}, field_manager="test"
        )
    yield
    for node in (NODE_A, NODE_B):
        await admin.delete(PODS, f"runtime-{node}", NAMESPACE, grace_period_s=0)
        await admin.delete(NODE_INFERENCES, node)
        await admin.delete(NODES, node)


async def may(client: ApiClient, verb: str, resource: str, namespace: str = "") -> bool:
    """Ask the API server whether the client's user may do something, `resource` as in apps/daemonsets/status."""
    group, _, rest = resource.partition("/")
    plural, _, subresource = rest.partition("/")
    attributes = {
        "verb": verb, "group": group, "resource": plural, "subresource": subresource, "namespace": namespace,
    }  # fmt: skip
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    return bool((await client.create(REVIEWS, body))["status"]["allowed"])


async def test_the_release_brings_every_hardware_class(release: str, admin: ApiClient) -> None:
    stored = {item["metadata"]["name"] for item in (await admin.list(HARDWARE_CLASSES)).items}
    assert stored >= {path.stem for path in (CHART / "files/hardware-classes").glob("*.yaml")}
    assert "kubectl get hardwareclasses" in release


async def test_the_documented_upgrade_keeps_what_is_there(
    admin: ApiClient, helm: CommandLine, kubectl: CommandLine
) -> None:
    before = await admin.get(HARDWARE_CLASSES, "generic-cpu")
    crds = helm("show", "crds", str(CHART))
    kubectl("apply", "--server-side", "--force-conflicts", "--filename", "-", stdin=crds)
    helm("upgrade", "fleetfit", str(CHART), "--namespace", NAMESPACE)
    after = await admin.get(HARDWARE_CLASSES, "generic-cpu")
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


async def test_what_the_operator_may_do(client_of: TokenClient) -> None:
    operator = await client_of(OPERATOR)
    needed = [
        *[(verb, f"fleetfit.io/{plural}", "")
          for verb in ("get", "list", "watch")
          for plural in ("inferencedeployments", "modelsuites", "hardwareclasses", "nodeinferences")],
        *[("patch", f"fleetfit.io/{plural}/status", "")
          for plural in ("inferencedeployments", "modelsuites", "hardwareclasses")],
        *[(verb, "fleetfit.io/nodeinferences", "") for verb in ("create", "patch", "delete")],
        *[(verb, "/nodes", "") for verb in ("get", "list", "watch", "patch")],
        ("create", "/events", "default"),
        *[(verb, "apps/daemonsets", NAMESPACE) for verb in ("list", "create", "patch", "delete")],
        *[(verb, "/services", NAMESPACE) for verb in ("create", "patch")],
        *[(verb, "/pods", NAMESPACE) for verb in ("get", "list", "watch")],
        *[(verb, "coordination.k8s.io/leases", NAMESPACE) for verb in ("get", "create", "update")],
    ]  # fmt: skip
    assert [item for item in needed if not await may(operator, *item)] == []


async def test_what_the_operator_may_not_do(client_of: TokenClient) -> None:
    operator = await client_of(OPERATOR)
    forbidden = [
        ("patch", "fleetfit.io/inferencedeployments", ""),
        ("delete", "fleetfit.io/inferencedeployments", ""),
        ("patch", "fleetfit.io/hardwareclasses", ""),
        ("patch", "fleetfit.io/nodeinferences/status", ""),
        ("delete", "/nodes", ""),
        ("patch", "/nodes/status", ""),
        ("get", "/secrets", NAMESPACE),
        ("create", "/pods", NAMESPACE),
        ("delete", "/services", NAMESPACE),
        ("create", "apps/daemonsets", "default"),
        ("create", "/services", "default"),
        ("list", "/pods", "default"),
        ("create", "/serviceaccounts/token", NAMESPACE),
        ("patch", "rbac.authorization.k8s.io/clusterroles", ""),
        ("patch", "apiextensions.k8s.io/customresourcedefinitions", ""),
    ]
    assert [item for item in forbidden if await may(operator, *item)] == []


async def test_what_the_runtime_may_do_at_all(client_of: TokenClient) -> None:
    runtime = await client_of(RUNTIME)
    for verb in ("get", "list", "watch"):
        assert await may(runtime, verb, "fleetfit.io/nodeinferences")
    for verb in ("patch", "update"):
        assert await may(runtime, verb, "fleetfit.io/nodeinferences/status")
    forbidden = [
        *[(verb, "fleetfit.io/nodeinferences", "") for verb in ("create", "patch", "update", "delete")],
        ("list", "fleetfit.io/inferencedeployments", ""),
        ("get", "/nodes", ""),
        ("list", "/pods", NAMESPACE),
        ("get", "/secrets", NAMESPACE),
        ("get", "coordination.k8s.io/leases", NAMESPACE),
    ]
    assert [item for item in forbidden if await may(runtime, *item)] == []


@pytest.mark.usefixtures("nodes")
async def test_a_runtime_reports_for_its_own_node(client_of: TokenClient, admin: ApiClient) -> None:
    runtime = await client_of(RUNTIME, f"runtime-{NODE_A}")
    await runtime.merge_patch(NODE_INFERENCES, NODE_A, STATUS, subresource="status")
    applied = {"metadata": {"name": NODE_A}, "status": {"endpoint": "http://127.77.1.1:8080"}}
    await runtime.apply(NODE_INFERENCES, applied, field_manager="fleetfit-runtime", subresource="status")

    stored = (await admin.get(NODE_INFERENCES, NODE_A))["status"]
    assert stored == {"readySummary": "1/1", "endpoint": "http://127.77.1.1:8080"}


@pytest.mark.usefixtures("nodes")
async def test_a_runtime_cannot_report_for_another_node(client_of: TokenClient, admin: ApiClient) -> None:
    runtime = await client_of(RUNTIME, f"runtime-{NODE_A}")
    sentence = f"the runtime on node {NODE_A} may not write the status of node {NODE_B}"
    with pytest.raises(Forbidden, match=sentence):
        await runtime.merge_patch(NODE_INFERENCES, NODE_B, STATUS, subresource="status")
    body = {"metadata": {"name": NODE_B}, **STATUS}
    with pytest.raises(Forbidden, match=sentence):
        await runtime.apply(NODE_INFERENCES, body, field_manager="fleetfit-runtime", subresource="status")
    assert "status" not in await admin.get(NODE_INFERENCES, NODE_B)


@pytest.mark.usefixtures("nodes")
async def test_a_runtime_cannot_assign_itself_models(client_of: TokenClient, admin: ApiClient) -> None:
    runtime = await client_of(RUNTIME, f"runtime-{NODE_A}")
    with pytest.raises(Forbidden):
        await runtime.merge_patch(NODE_INFERENCES, NODE_A, {"spec": {"leaderEpoch": 9}})
    with pytest.raises(Forbidden):
        await runtime.delete(NODE_INFERENCES, NODE_A)
    assert (await admin.get(NODE_INFERENCES, NODE_A))["spec"]["leaderEpoch"] == 1


@pytest.mark.usefixtures("nodes")
async def test_a_token_that_no_pod_holds_reports_for_no_node(client_of: TokenClient) -> None:
    runtime = await client_of(RUNTIME)
    with pytest.raises(Forbidden, match="must be bound to a pod on a node"):
        await runtime.merge_patch(NODE_INFERENCES, NODE_A, STATUS, subresource="status")


@pytest.mark.usefixtures("nodes")
async def test_the_policy_holds_even_where_rbac_is_too_wide(
    client_of: TokenClient, kubectl: CommandLine, admin: ApiClient
) -> None:
    binding = "chart-install-too-wide"
    subject = f"--serviceaccount={NAMESPACE}:{RUNTIME}"
    kubectl("create", "clusterrolebinding", binding, "--clusterrole=cluster-admin", subject)
    try:
        runtime: Any = await client_of(RUNTIME, f"runtime-{NODE_A}")
        with pytest.raises(Forbidden, match="a runtime may write only the status of its NodeInference"):
            await runtime.merge_patch(NODE_INFERENCES, NODE_A, {"spec": {"leaderEpoch": 9}})
        with pytest.raises(Forbidden, match="a runtime may write only the status of its NodeInference"):
            await runtime.delete(NODE_INFERENCES, NODE_A)
    finally:
        kubectl("delete", "clusterrolebinding", binding)
    assert (await admin.get(NODE_INFERENCES, NODE_A))["spec"]["leaderEpoch"] == 1
