"""What the operator makes of a declared fleet; it is a process, the control plane is real, nodes are played."""

import asyncio
from pathlib import Path

import pytest
from fleet_actor import FleetActor, eventually, until
from fleetfit_kube import ApiClient, ObjectKey
from fleetfit_kube.resources import (
    DAEMON_SETS,
    EVENTS,
    HARDWARE_CLASSES,
    INFERENCE_DEPLOYMENTS,
    MODEL_SUITES,
    NODE_INFERENCES,
    NODES,
    SERVICES,
)
from operator_process import OperatorProcess, operator_process
from operator_world import APPS, SYSTEM, StatusView, add_nodes, apply, deployment, hardware_class, suite

pytestmark = pytest.mark.timeout(180)


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
