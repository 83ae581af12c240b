"""The operator with no more rights than the chart gives it, and the chart's own test against it."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from fleetfit_api.names import HARDWARE_CLASS_LABEL
from fleetfit_kube import ApiClient, ObjectKey
from fleetfit_kube.resources import DAEMON_SETS, NODE_INFERENCES, NODES, SERVICE_ACCOUNTS, SERVICES

from localfleet.binaries import Binaries
from localfleet.controlplane.control_plane import ControlPlane
from localfleet.testing import helm_of
from localfleet.waiting import wait_for

CHART = Path(__file__).parents[2] / "charts/fleetfit"
NAMESPACE = "chart-operator"
OPERATOR, NODE = "fleetfit-operator", "chart-operator-node"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def kubeconfig_with(token: str, source: Path, path: Path) -> Path:
    """Write a copy of a kubeconfig that has a token instead of the administrator's certificate."""
    config = yaml.safe_load(source.read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": token}
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


async def token_of_operator(admin: ApiClient) -> str:
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = await admin.create(SERVICE_ACCOUNTS, request, NAMESPACE, name=OPERATOR, subresource="token")
    return str(answer["status"]["token"])


@pytest.fixture
async def admin(binaries: Binaries, tmp_path: Path) -> AsyncIterator[tuple[ApiClient, ControlPlane]]:
    """A control plane with nothing in it but the chart and one node."""
    async with ControlPlane(tmp_path / "control-plane", binaries) as bare:
        command = ("install", "fleetfit", str(CHART), "--namespace", NAMESPACE, "--create-namespace")
        await asyncio.to_thread(helm_of(bare), *command)
        async with ApiClient(bare.admin()) as client:
            yield client, bare


async def test_the_operator_needs_no_more_than_the_chart_permits(
    admin: tuple[ApiClient, ControlPlane], tmp_path: Path
) -> None:
    client, bare = admin
    labels = {"kubernetes.io/arch": "arm64"}
    await client.apply(NODES, {"metadata": {"name": NODE, "labels": labels}}, field_manager="test")
    token = await token_of_operator(client)
    kubeconfig = kubeconfig_with(token, bare.state.admin_kubeconfig, tmp_path / "kubeconfig")
    port = free_port()
    environment = {
        "PATH": os.defpath,
        "KUBECONFIG": str(kubeconfig),
        "POD_NAMESPACE": NAMESPACE,
        "POD_IP": "127.0.0.1",
        "FLEETFIT_METRICS_PORT": str(port),
    }
    operator = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fleetfit_operator",
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        found = await wait_for(
            client,
            NODE_INFERENCES,
            lambda objects: objects.get(ObjectKey("", NODE)),
            timeout_s=40,
            awaiting="the NodeInference of the node",
        )
        assert found["spec"]["hardwareClass"] == "arm64-cpu"
        await wait_for(
            client,
            DAEMON_SETS,
            lambda objects: ObjectKey(NAMESPACE, "fleetfit-runtime-arm64-cpu") in objects,
            timeout_s=20,
            awaiting="the DaemonSet of the class",
        )
        service = await wait_for(
            client,
            SERVICES,
            lambda objects: objects.get(ObjectKey(NAMESPACE, "fleetfit-runtime")),
            timeout_s=20,
            awaiting="the Service of the runtimes",
        )
        assert service["spec"]["internalTrafficPolicy"] == "Local"
        node = await client.get(NODES, NODE)
        assert node["metadata"]["labels"][HARDWARE_CLASS_LABEL] == "arm64-cpu"

        helm_test = await asyncio.create_subprocess_exec(
            sys.executable, str(CHART / "files/tests/operator_ready.py"),
            env={"PATH": os.defpath, "OPERATOR_URL": f"http://127.0.0.1:{port}"},
        )  # fmt: skip
        assert await helm_test.wait() == 0
    finally:
        operator.terminate()
        output, _ = await operator.communicate()
    assert b"forbidden" not in output.lower(), output.decode()
