"""The operator as a process against a real control plane; nodes and runtimes are played by the test."""

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fleet_actor import FleetActor, eventually, until
from fleetfit_kube import ApiClient, ObjectKey, ResourceType
from fleetfit_kube.errors import NotFound
from fleetfit_kube.resources import (
    DAEMON_SETS,
    EVENTS,
    HARDWARE_CLASSES,
    INFERENCE_DEPLOYMENTS,
    LEASES,
    MODEL_SUITES,
    NODE_INFERENCES,
    NODES,
    PODS,
    SERVICE_ACCOUNTS,
    SERVICES,
)
from operator_process import OperatorProcess, operator_process

from localfleet.binaries import Binaries
from localfleet.controlplane.control_plane import ControlPlane
from localfleet.node.api_proxy import ApiProxy
from localfleet.testing import CommandLine, apply_crds, helm_of, kubectl_of, running_control_plane

ROOT = Path(__file__).parents[2]
SYSTEM = "fleetfit-system"
APPS = "apps"
OPERATOR_ACCOUNT = "fleetfit-operator"

pytestmark = pytest.mark.timeout(180)


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


def hardware_class(name: str, priority: int = 0, **labels: str) -> dict[str, Any]:
    match = (
        [{"labels": [{"key": k, "operator": "In", "values": [v]} for k, v in labels.items()]}]
        if labels
        else []
    )
    return {
        "metadata": {"name": name},
        "spec": {
            "priority": priority,
            "match": match,
            "runtime": {"image": "fleetfit/runtime:test", "providers": ["CPUExecutionProvider"]},
        },
    }


def suite(name: str = "digits") -> dict[str, Any]:
    def variant(variant_name: str, precision: str, accuracy: float, digit: str) -> dict[str, Any]:
        return {
            "name": variant_name,
            "uri": f"{variant_name}.onnx",
            "sha256": digit * 64,
            "sizeBytes": 100_000,
            "precision": precision,
            "accuracy": accuracy,
        }

    return {
        "metadata": {"name": name, "namespace": APPS},
        "spec": {
            "storageUri": "https://models.example/digits",
            "variants": [
                variant("exact", "fp32", 0.99, "a"),
                variant("half", "fp16", 0.98, "b"),
                variant("small", "int8", 0.95, "c"),
            ],
        },
    }


def deployment(name: str = "digits", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": APPS},
        "spec": {"suiteRef": {"name": "digits"}, "qoe": {"latencyTargetMilliseconds": 60_000}, **spec},
    }


def only(precision: str) -> dict[str, Any]:
    return {"latencyTargetMilliseconds": 60_000, "constraints": {"allowedPrecisions": [precision]}}


async def apply(client: ApiClient, *bodies: dict[str, Any]) -> None:
    for body in bodies:
        spec = body["spec"]
        resource = (
            HARDWARE_CLASSES
            if "runtime" in spec
            else MODEL_SUITES
            if "variants" in spec
            else INFERENCE_DEPLOYMENTS
        )
        await client.apply(resource, body, field_manager="user")


async def add_nodes(fleet: FleetActor, count: int, first: int = 0, **labels: str) -> list[str]:
    names = [f"edge-{number}" for number in range(first, first + count)]
    for name in names:
        await fleet.add_node(name, **labels)
    return names


class StatusView:
    """Follows the status of a deployment."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def get(self, name: str = "digits") -> dict[str, Any]:
        found: dict[str, Any] = (await self._client.get(INFERENCE_DEPLOYMENTS, name, APPS)).get(
            "status"
        ) or {}
        return found

    async def condition(self, kind: str, name: str = "digits") -> dict[str, Any]:
        conditions = (await self.get(name)).get("conditions", [])
        return next((each for each in conditions if each["type"] == kind), {})

    async def until(
        self, kind: str, reason: str, name: str = "digits", timeout_s: float = 40.0
    ) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        try:
            async with asyncio.timeout(timeout_s):
                while seen.get("reason") != reason:
                    await asyncio.sleep(0.05)
                    seen = await self.condition(kind, name)
        except TimeoutError:
            raise AssertionError(f"{kind} did not become {reason}: {await self.get(name)}") from None
        return seen


@pytest.fixture
def status(client: ApiClient) -> StatusView:
    return StatusView(client)


async def test_a_declared_deployment_reaches_every_node(
    client: ApiClient, fleet: FleetActor, operator: OperatorProcess, status: StatusView
) -> None:
    await apply(client, hardware_class("plain"), hardware_class("fast", 10, kind="fast"), suite())
    await add_nodes(fleet, 2)
    await add_nodes(fleet, 1, first=2, kind="fast")
    await apply(client, deployment())
    await until(lambda: fleet.all_ready("digits", "exact"), "all nodes serve the best variant")
    await status.until("Ready", "AllNodesReady")

    assert [fleet.label(f"edge-{n}") for n in range(3)] == ["plain", "plain", "fast"]
    names = {item["metadata"]["name"] for item in (await client.list(DAEMON_SETS, SYSTEM)).items}
    assert names == {"fleetfit-runtime-plain", "fleetfit-runtime-fast"}
    service = await client.get(SERVICES, "fleetfit-runtime", SYSTEM)
    assert service["spec"]["internalTrafficPolicy"] == "Local"
    found = await status.get()
    assert (found["readySummary"], found["variantsSummary"]) == ("3/3", "exact (3)")
    assert found["observedGeneration"] == 1
    assert {each["name"]: each["phase"] for each in found["classes"]} == {
        "plain": "Complete",
        "fast": "Complete",
    }
    assignment = fleet.inferences.items[ObjectKey("", "edge-0")].spec.assignments[0]
    assert assignment.uri == "https://models.example/digits/exact.onnx"
    assert assignment.predicted is not None
    assert "exact" in assignment.reason
    shown = (await client.get(HARDWARE_CLASSES, "plain"))["status"]
    assert (shown["nodes"], shown["readyNodes"]) == (2, 2)
    used = (await client.get(MODEL_SUITES, "digits", APPS))["status"]
    assert (used["usedBy"], used["variantCount"]) == (["digits"], 3)
    reasons = {item["reason"] for item in (await client.list(EVENTS, APPS)).items}
    assert {"Assigned", "AllNodesReady"} <= reasons
    page = (await operator.get("/metrics"))[1]
    assert 'fleetfit_deployment_nodes{name="digits",namespace="apps",state="ready"} 3.0' in page
    assert 'fleetfit_nodes{hardware_class="plain"} 2.0' in page
    assert (await operator.get("/healthz"))[0] == 200


async def test_nothing_is_written_when_nothing_changes(
    client: ApiClient, fleet: FleetActor, kubeconfig: Path, tmp_path: Path, status: StatusView
) -> None:
    await apply(client, hardware_class("plain"), suite(), deployment())
    await add_nodes(fleet, 2)
    async with operator_process(kubeconfig, tmp_path, FLEETFIT_RESYNC_S="0.5") as operator:
        await status.until("Ready", "AllNodesReady")
        before = await _versions(client)
        first = _passes(await operator.get("/metrics"))

        async def five_more() -> bool:
            return _passes(await operator.get("/metrics")) >= first + 5

        await eventually(five_more, "five passes")
        assert await _versions(client) == before


def _passes(page: tuple[int, str]) -> float:
    lines = [
        line
        for line in page[1].splitlines()
        if line.startswith('fleetfit_reconcile_total{outcome="success"}')
    ]
    return float(lines[0].split()[-1]) if lines else 0.0


async def _versions(client: ApiClient) -> dict[str, str]:
    versions = {}
    for resource in (INFERENCE_DEPLOYMENTS, MODEL_SUITES, HARDWARE_CLASSES, NODE_INFERENCES, SERVICES):
        for item in (await client.list(resource)).items:
            versions[f"{resource.kind}/{item['metadata']['name']}"] = item["metadata"]["resourceVersion"]
    return versions


@pytest.mark.usefixtures("operator")
async def test_a_change_goes_to_the_canary_first_and_in_waves(
    client: ApiClient, fleet: FleetActor, status: StatusView
) -> None:
    rollout = {"maxUnavailable": 2, "canary": {"nodesPerClass": 1}}
    await apply(client, hardware_class("plain"), suite(), deployment(rollout=rollout))
    await add_nodes(fleet, 6)
    await until(lambda: fleet.all_ready("digits", "exact"), "installed")
    fleet.history.clear()
    fleet.most_in_flight.clear()
    fleet.load_s = 0.3
    await apply(client, deployment(rollout=rollout, qoe=only("int8")))
    await until(lambda: len(fleet.history) == 1, "the canary is told")
    canary = fleet.history[0][0]
    assert sorted(fleet.variants("digits").values()).count("small") == 1
    await until(lambda: len(fleet.history) > 1, "the others follow")
    assert fleet.ready(canary, "digits")
    await until(lambda: fleet.all_ready("digits", "small"), "all changed")
    assert fleet.most_in_flight["plain"] <= 2
    assert len(fleet.history) == 6
    await status.until("Progressing", "RolloutComplete")


@pytest.mark.usefixtures("operator")
async def test_failures_stop_the_class_and_nodes_go_on_with_what_they_had(
    client: ApiClient, fleet: FleetActor, status: StatusView
) -> None:
    await apply(client, hardware_class("plain"), suite(), deployment())
    await add_nodes(fleet, 4)
    await until(lambda: fleet.all_ready("digits", "exact"), "installed")
    fleet.outcomes["small"] = "DigestMismatch"
    await apply(client, deployment(qoe=only("int8")))
    await status.until("Ready", "RolloutStopped")
    assert sorted(str(variant) for variant in fleet.variants("digits").values()) == ["exact"] * 3 + ["small"]
    degraded = await status.condition("Degraded")
    assert degraded["status"] == "True"
    warnings = [e for e in (await client.list(EVENTS, APPS)).items if e["type"] == "Warning"]
    assert "RolloutStopped" in {event["reason"] for event in warnings}
    await apply(client, deployment(qoe=only("fp16")))
    await until(lambda: fleet.all_ready("digits", "half"), "a new target moves again")


@pytest.mark.usefixtures("operator")
async def test_paused_moves_nothing_until_it_is_resumed(
    client: ApiClient, fleet: FleetActor, status: StatusView
) -> None:
    await apply(client, hardware_class("plain"), suite(), deployment())
    await add_nodes(fleet, 2)
    await until(lambda: fleet.all_ready("digits", "exact"), "installed")
    await apply(client, deployment(rollout={"paused": True}, qoe=only("int8")))
    await status.until("Ready", "RolloutPaused")
    assert set(fleet.variants("digits").values()) == {"exact"}
    await apply(client, deployment(rollout={"paused": False}, qoe=only("int8")))
    await until(lambda: fleet.all_ready("digits", "small"), "resumed")


@pytest.mark.usefixtures("operator")
async def test_an_absent_node_does_not_hold_up_the_others_and_follows_when_it_is_back(
    client: ApiClient, fleet: FleetActor, status: StatusView
) -> None:
    await apply(client, hardware_class("plain"), suite(), deployment())
    await add_nodes(fleet, 3)
    await until(lambda: fleet.all_ready("digits", "exact"), "installed")
    await fleet.lose("edge-0")
    await apply(client, deployment(qoe=only("int8")))
    present = ("edge-1", "edge-2")
    await until(lambda: all(fleet.variant(n, "digits") == "small" for n in present), "the others change")
    assert fleet.variant("edge-0", "digits") == "exact"
    await status.until("Degraded", "NodesAbsent")
    await fleet.bring_back("edge-0")
    await until(lambda: fleet.all_ready("digits", "small"), "the absent node follows")


@pytest.mark.usefixtures("operator")
async def test_deleted_deployment_leaves_no_assignment_and_deleted_class_no_daemon_set(
    client: ApiClient, fleet: FleetActor
) -> None:
    await apply(
        client, hardware_class("plain"), hardware_class("fast", 10, kind="fast"), suite(), deployment()
    )
    await add_nodes(fleet, 2, kind="fast")
    await until(lambda: fleet.all_ready("digits", "exact"), "installed")
    await client.delete(INFERENCE_DEPLOYMENTS, "digits", APPS)
    await until(lambda: set(fleet.variants("digits").values()) == {None}, "assignments are gone")
    await client.delete(HARDWARE_CLASSES, "fast")
    await until(lambda: fleet.label("edge-0") == "plain", "nodes are sorted anew")

    async def gone() -> bool:
        listed = await client.list(DAEMON_SETS, SYSTEM)
        return [item["metadata"]["name"] for item in listed.items] == ["fleetfit-runtime-plain"]

    await eventually(gone, "the DaemonSet of the class is gone")


@pytest.mark.usefixtures("operator")
async def test_a_node_that_left_the_cluster_loses_its_node_inference(
    client: ApiClient, fleet: FleetActor
) -> None:
    await apply(client, hardware_class("plain"), suite(), deployment())
    await add_nodes(fleet, 2)
    await until(lambda: fleet.all_ready("digits", "exact"), "installed")
    fleet.up.pop("edge-0")
    await client.delete(NODES, "edge-0")
    await until(lambda: set(fleet.inferences.items) == {ObjectKey("", "edge-1")}, "it is gone")


async def test_a_node_waits_for_its_reference_run_but_not_for_ever(
    client: ApiClient, fleet: FleetActor, kubeconfig: Path, tmp_path: Path, status: StatusView
) -> None:
    fleet.reports_references = False
    await apply(client, hardware_class("plain"), suite(), deployment())
    await add_nodes(fleet, 1)
    async with operator_process(kubeconfig, tmp_path, FLEETFIT_REFERENCE_RUN_GRACE_S="4"):
        await status.until("Ready", "AwaitingReferenceRun")
        assert fleet.variant("edge-0", "digits") is None
        await until(lambda: fleet.all_ready("digits", "exact"), "chosen by features alone")
    assignment = fleet.inferences.items[ObjectKey("", "edge-0")].spec.assignments[0]
    assert assignment.predicted is not None
    assert assignment.predicted.evidence == "FeaturesOnly"


@pytest.mark.usefixtures("operator")
async def test_missing_suite_and_model_name_conflict_are_explained(
    client: ApiClient, fleet: FleetActor, status: StatusView
) -> None:
    await apply(client, hardware_class("plain"))
    await add_nodes(fleet, 1)
    await apply(client, deployment())
    assert "digits" in (await status.until("Ready", "SuiteNotFound"))["message"]
    await apply(client, suite())
    await status.until("Ready", "AllNodesReady")
    await asyncio.sleep(1.1)  # creation times are whole seconds, and the older deployment wins
    await apply(client, deployment("later", serving={"modelName": "digits"}))
    message = (await status.until("Ready", "ModelNameConflict", "later"))["message"]
    assert "apps/digits" in message
    assert fleet.variant("edge-0", "later") is None
    await apply(client, deployment("later", serving={"modelName": "other"}))
    await until(lambda: fleet.all_ready("later", "exact"), "both are served")
    assert fleet.all_ready("digits", "exact")


async def test_killed_at_random_points_it_resumes_and_never_exceeds_a_wave(
    client: ApiClient, fleet: FleetActor, kubeconfig: Path, tmp_path: Path, status: StatusView
) -> None:
    rng = random.Random(20)
    rollout = {"maxUnavailable": 2}
    await apply(client, hardware_class("plain"), suite(), deployment(rollout=rollout))
    await add_nodes(fleet, 8)
    fleet.load_s = 0.4
    async with operator_process(kubeconfig, tmp_path):
        await until(lambda: fleet.all_ready("digits", "exact"), "installed", timeout_s=60)
    fleet.most_in_flight.clear()
    fleet.history.clear()
    await apply(client, deployment(rollout=rollout, qoe=only("int8")))
    for told in sorted(rng.sample(range(1, 8), 3)):
        async with operator_process(kubeconfig, tmp_path) as operator:
            await until(lambda told=told: len(fleet.history) >= told, f"{told} nodes were told")
            await asyncio.sleep(rng.random() * 0.2)
            await operator.kill()
    async with operator_process(kubeconfig, tmp_path):
        await until(lambda: fleet.all_ready("digits", "small"), "converged", timeout_s=60)
        await status.until("Ready", "AllNodesReady")
    assert fleet.most_in_flight["plain"] <= 2
    assert len(fleet.history) == 8
    assert fleet.epochs == sorted(fleet.epochs) or max(fleet.epochs) >= 4


async def test_a_second_replica_stands_by_and_takes_over(
    client: ApiClient, fleet: FleetActor, kubeconfig: Path, tmp_path: Path
) -> None:
    await apply(client, hardware_class("plain"), suite(), deployment())
    await add_nodes(fleet, 2)
    async with operator_process(kubeconfig, tmp_path, "operator-0") as first:
        await until(lambda: fleet.all_ready("digits", "exact"), "installed")
        async with operator_process(kubeconfig, tmp_path, "operator-1") as second:
            await second.until_ready()
            assert await first.is_leader()
            assert not await second.is_leader()
            await first.kill()
            await eventually(second.is_leader, "the second one leads")
            await apply(client, deployment(qoe=only("int8")))
            await until(lambda: fleet.all_ready("digits", "small"), "the second one acts")
            told = [each.spec.leader_epoch for each in fleet.inferences.items.values()]
            assert min(told) >= 1
            assert await second.stop() == 0
            lease = await client.get(LEASES, "fleetfit-operator", SYSTEM)
            assert not lease["spec"].get("holderIdentity")


def _point_to(kubeconfig: Path, server: str) -> None:
    config = yaml.safe_load(kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = server
    kubeconfig.write_text(yaml.safe_dump(config))


async def test_a_short_cut_from_the_api_server_is_outlived(
    client: ApiClient, fleet: FleetActor, kubeconfig: Path, own_control_plane: ControlPlane, tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    proxy = ApiProxy(("127.0.0.1", port), ("127.0.0.1", own_control_plane.ports.api))
    await proxy.open()
    _point_to(kubeconfig, f"https://127.0.0.1:{port}")
    await apply(client, hardware_class("plain"), suite(), deployment())
    await add_nodes(fleet, 2)
    patient = {"FLEETFIT_LEASE_DURATION_S": "30", "FLEETFIT_LEASE_DEADLINE_S": "25"}
    try:
        async with operator_process(kubeconfig, tmp_path, **patient) as operator:
            await until(lambda: fleet.all_ready("digits", "exact"), "installed")
            await proxy.close()
            # Everything changes while the operator is cut off, and a deletion passes unseen.
            await apply(client, deployment(qoe=only("int8")))
            fleet.up.pop("edge-0")
            await client.delete(NODES, "edge-0")

            async def lost_its_watches() -> bool:
                return "fleetfit_watch_restarts_total" in (await operator.get("/metrics"))[1]

            await eventually(lost_its_watches, "it has noticed")
            assert (await operator.get("/healthz"))[0] == 200
            await proxy.open()
            await until(lambda: fleet.all_ready("digits", "small"), "it goes on")
            await until(
                lambda: set(fleet.inferences.items) == {ObjectKey("", "edge-1")}, "the node is forgotten"
            )
            assert operator.process.returncode is None
            assert len(set(fleet.epochs)) == 1
    finally:
        await proxy.close()


async def test_a_replica_that_loses_the_lease_ends(
    client: ApiClient, fleet: FleetActor, operator: OperatorProcess
) -> None:
    await apply(client, hardware_class("plain"))
    await add_nodes(fleet, 1)
    await until(lambda: fleet.label("edge-0") == "plain", "it leads")
    patch = {"spec": {"holderIdentity": "somebody-else"}}
    await client.merge_patch(LEASES, "fleetfit-operator", patch, SYSTEM)
    async with asyncio.timeout(15):
        assert await operator.process.wait() == 1
    assert "another process holds the Lease" in operator.log.read_text()
