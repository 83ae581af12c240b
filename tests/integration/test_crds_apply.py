"""Several writers share a NodeInference without losing each other's parts, and users see the columns."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fleetfit_api.names import OPERATOR_FIELD_MANAGER, RUNTIME_FIELD_MANAGER
from fleetfit_kube import ApiClient
from fleetfit_kube.errors import Conflict
from fleetfit_kube.resources import HARDWARE_CLASSES, INFERENCE_DEPLOYMENTS, MODEL_SUITES, NODE_INFERENCES

from localfleet.testing import CommandLine

NODE = "crds-apply-node"
NOW = "2026-11-23T12:00:00Z"


def assignment(deployment: str, variant: str = "cnn8-int8") -> dict[str, Any]:
    return {
        "namespace": "default", "deployment": deployment, "modelName": deployment, "suite": "digits",
        "variant": variant, "precision": "int8", "uri": "http://models/m.onnx", "sha256": "ab" * 32, "sizeBytes": 10,
    }  # fmt: skip


def desired(*assignments: dict[str, Any], name: str = NODE) -> dict[str, Any]:
    spec = {"hardwareClass": "x86-cpu", "leaderEpoch": 1, "assignments": list(assignments)}
    return {"metadata": {"name": name}, "spec": spec}


def reported(*deployments: str, phase: str = "Ready") -> dict[str, Any]:
    models = [
        {"namespace": "default", "deployment": name, "variant": "cnn8-int8", "phase": phase}
        for name in deployments
    ]
    return {"metadata": {"name": NODE}, "status": {"models": models}}


def deployments(document: dict[str, Any], part: str, field: str) -> list[str]:
    return [item["deployment"] for item in document.get(part, {}).get(field, [])]


@pytest.fixture
async def client(admin: ApiClient) -> AsyncIterator[ApiClient]:
    """Return the administrator's client with a NodeInference, which is deleted afterwards."""
    await admin.apply(NODE_INFERENCES, desired(assignment("a")), field_manager=OPERATOR_FIELD_MANAGER)
    yield admin
    await admin.delete(NODE_INFERENCES, NODE)


async def test_spec_and_status_have_their_own_writers(client: ApiClient) -> None:
    await client.apply(
        NODE_INFERENCES, reported("a"), field_manager=RUNTIME_FIELD_MANAGER, subresource="status"
    )
    stored = await client.apply(
        NODE_INFERENCES, desired(assignment("a", "cnn4-int8")), field_manager=OPERATOR_FIELD_MANAGER
    )
    assert stored["spec"]["assignments"][0]["variant"] == "cnn4-int8"
    assert stored["status"]["models"][0]["phase"] == "Ready"
    assert stored["metadata"]["generation"] == 2


async def test_a_status_write_cannot_change_the_spec_nor_the_generation(client: ApiClient) -> None:
    both = {**desired(assignment("a", "stolen")), **reported("a")}
    stored = await client.merge_patch(NODE_INFERENCES, NODE, both, subresource="status")
    assert stored["spec"]["assignments"][0]["variant"] == "cnn8-int8"
    assert stored["metadata"]["generation"] == 1


async def test_items_of_two_managers_are_merged_and_pruned_apart(client: ApiClient) -> None:
    stored = await client.apply(NODE_INFERENCES, desired(assignment("b")), field_manager="other")
    assert deployments(stored, "spec", "assignments") == ["a", "b"]

    stored = await client.apply(NODE_INFERENCES, desired(), field_manager=OPERATOR_FIELD_MANAGER)
    assert deployments(stored, "spec", "assignments") == ["b"]


async def test_a_manager_that_does_not_force_learns_whose_field_it_is(client: ApiClient) -> None:
    with pytest.raises(Conflict, match=OPERATOR_FIELD_MANAGER):
        await client.apply(
            NODE_INFERENCES, desired(assignment("a", "cnn4-int8")), field_manager="other", force=False
        )


async def test_an_identical_write_changes_nothing(client: ApiClient) -> None:
    before = await client.get(NODE_INFERENCES, NODE)
    after = await client.apply(
        NODE_INFERENCES, desired(assignment("a")), field_manager=OPERATOR_FIELD_MANAGER
    )
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


async def test_kubectl_get_shows_the_columns(client: ApiClient, kubectl: CommandLine) -> None:
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "AllNodesReady",
        "message": "",
        "lastTransitionTime": NOW,
    }
    await client.apply(
        INFERENCE_DEPLOYMENTS,
        {"metadata": {"name": "columns", "namespace": "default"}, "spec": {"suiteRef": {"name": "digits"}}},
        field_manager="test",
    )
    await client.merge_patch(
        INFERENCE_DEPLOYMENTS,
        "columns",
        {"status": {"readySummary": "5/6", "variantsSummary": "cnn8-int8 5", "conditions": [ready]}},
        "default",
        subresource="status",
    )
    table = kubectl("get", "infd", "columns", "--namespace", "default")
    header, row = table.splitlines()
    assert header.split() == ["NAME", "SUITE", "READY", "NODES", "VARIANTS", "STATUS", "AGE"]
    assert "digits" in row
    assert "5/6" in row
    assert "AllNodesReady" in row
    await client.delete(INFERENCE_DEPLOYMENTS, "columns", "default")

    model = reported("a")["status"]["models"][0] | {"provider": "CPUExecutionProvider"}
    status = {"readySummary": "1/1", "modelsSummary": "a=cnn8-int8", "models": [model]}
    await client.merge_patch(NODE_INFERENCES, NODE, {"status": status}, subresource="status")
    hardware = {"acceleratorVendor": "nvidia", "acceleratorProduct": "NVIDIA-A2"}
    await client.merge_patch(NODE_INFERENCES, NODE, {"spec": {"hardware": hardware}})
    wide = kubectl("get", "ninf", NODE, "--output", "wide").splitlines()
    assert wide[0].split()[5:] == ["ACCELERATOR", "PRODUCT", "ENDPOINT", "AGE"]
    assert wide[1].split()[5:7] == ["nvidia", "NVIDIA-A2"]
    row = kubectl("get", "ninf", NODE).splitlines()[1].split()
    assert row[:5] == [NODE, "x86-cpu", "1/1", "a=cnn8-int8", "CPUExecutionProvider"]


async def test_the_category_lists_all_kinds(client: ApiClient, kubectl: CommandLine, tmp_path: Path) -> None:
    await client.apply(
        MODEL_SUITES,
        {
            "metadata": {"name": "category", "namespace": "default"},
            "spec": {
                "variants": [
                    {
                        "name": "v", "uri": "file:///v.onnx", "sha256": "ab" * 32, "sizeBytes": 1, "precision": "fp32",
                        "accuracy": 0.5,
                    }
                ]
            },
        },
        field_manager="test",
    )  # fmt: skip
    runtime = {"image": "fleetfit/runtime:1", "providers": ["CPUExecutionProvider"]}
    await client.apply(
        HARDWARE_CLASSES,
        {"metadata": {"name": "category"}, "spec": {"priority": -5, "runtime": runtime}},
        field_manager="test",
    )
    # A cache of its own: kubectl remembers for minutes which kinds there were before the CRDs.
    cache = f"--cache-dir={tmp_path}"
    names = kubectl("get", "fleetfit", "--namespace", "default", "--output", "name", cache).split()
    assert {"modelsuite.fleetfit.io/category", "hardwareclass.fleetfit.io/category"} <= set(names)
    assert f"nodeinference.fleetfit.io/{NODE}" in names
    assert "CPUExecutionProvider" in kubectl("get", "hwc", "category")
    await client.delete(MODEL_SUITES, "category", "default")
    await client.delete(HARDWARE_CLASSES, "category")
