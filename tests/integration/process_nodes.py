"""Process nodes on the session's control plane, and how tests look at what runs on them."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from fleetfit_kube.client import ApiClient
from fleetfit_kube.reflector import ReflectorOptions
from fleetfit_kube.resources import NODES, PODS

from localfleet.addresses import AddressPool
from localfleet.controlplane.control_plane import ControlPlane
from localfleet.controlplane.ports import LOOPBACK
from localfleet.controlplane.state_dir import write_private
from localfleet.node_config import NodeConfig
from localfleet.node_process import NodeProcess
from localfleet.process.child import tail
from localfleet.waiting import Objects, is_true, wait_for

Pod = dict[str, Any]
TIMEOUT_S = 60.0
IMAGE = "test/python:1"


@contextlib.asynccontextmanager
async def process_node(
    control_plane: ControlPlane, directory: Path, name: str, profile: str = "x86-server-vnni", **settings: Any
) -> AsyncIterator[NodeProcess]:
    """Run a node for the time of the context."""
    with AddressPool() as addresses:
        config = _configure(control_plane, directory, name, profile, addresses.take(), settings)
        node = NodeProcess(config, directory / "agent.log")
        try:
            await node.start()
            async with ApiClient(control_plane.admin()) as admin:
                await wait_for_node(admin, name, lambda found: is_true(found, "Ready"), "the node is Ready")
            yield node
        except BaseException:
            sys.stderr.write(tail(node.log_path, 100))
            raise
        finally:
            await node.stop()
            async with ApiClient(control_plane.admin()) as admin:
                await admin.delete(NODES, name)


def _configure(
    control_plane: ControlPlane,
    directory: Path,
    name: str,
    profile: str,
    address: str,
    settings: dict[str, Any],
) -> NodeConfig:
    credentials = control_plane.credentials
    config = NodeConfig(
        name=name,
        profile=profile,
        address=address,
        state_dir=directory,
        api_host=LOOPBACK,
        api_port=control_plane.ports.api,
        kubeconfig=directory / "kubelet.kubeconfig",
        feature_kubeconfig=directory / "features.kubeconfig",
        ca_cert=control_plane.state.certificate("ca"),
        serving_cert=directory / "kubelet.crt",
        serving_key=directory / "kubelet.key",
        images={"test/python": (sys.executable,)},
        **{"crash_backoff_base_s": 0.2, "lease_renew_interval_s": 2.0, **settings},
    )
    server = f"https://{address}:{config.proxy_port}"
    serving = credentials.node_serving_pair(name, address)
    write_private(config.kubeconfig, credentials.node_kubeconfig(name, server).encode())
    write_private(config.feature_kubeconfig, credentials.feature_kubeconfig(server).encode())
    write_private(config.serving_cert, serving.certificate)
    write_private(config.serving_key, serving.key)
    return config


def pod(node: NodeProcess, namespace: str, name: str, script: str = "", **changes: Any) -> Pod:
    """Return a pod with one Python container; changes go to the container, `spec` among them to the pod's spec."""
    spec = changes.pop("spec", {})
    container = {"name": "main", "image": IMAGE, "command": ["python", "-c", script], **changes}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "nodeName": node.name,
            "terminationGracePeriodSeconds": 2,
            "containers": [container],
            **spec,
        },
    }


async def wait_for_pod(
    admin: ApiClient, namespace: str, name: str, holds: Callable[[Pod], bool], awaiting: str
) -> Pod:
    """Return the pod once it is as awaited."""
    return await wait_for(
        admin,
        PODS,
        lambda objects: next((found for found in objects.values() if holds(found)), None),
        options=ReflectorOptions(namespace=namespace, field_selector=f"metadata.name={name}"),
        timeout_s=TIMEOUT_S,
        awaiting=awaiting,
    )


async def wait_until_gone(admin: ApiClient, namespace: str, name: str) -> None:
    """Wait until the API server has forgotten a pod."""

    def gone(objects: Objects) -> bool | None:
        return None if objects else True

    await wait_for(
        admin,
        PODS,
        gone,
        options=ReflectorOptions(namespace=namespace, field_selector=f"metadata.name={name}"),
        timeout_s=TIMEOUT_S,
        awaiting=f"pod {name} is gone",
    )


async def wait_for_node(
    admin: ApiClient, name: str, holds: Callable[[dict[str, Any]], bool], awaiting: str
) -> dict[str, Any]:
    """Return the node once it is as awaited."""
    return await wait_for(
        admin,
        NODES,
        lambda objects: next((found for found in objects.values() if holds(found)), None),
        options=ReflectorOptions(field_selector=f"metadata.name={name}"),
        timeout_s=TIMEOUT_S,
        awaiting=awaiting,
    )


def is_ready(found: Pod) -> bool:
    """Tell whether a pod is Ready."""
    return is_true(found, "Ready")


def container(found: Pod, kind: str = "containerStatuses", index: int = 0) -> dict[str, Any]:
    """Return the status of one of a pod's containers; empty while there is none."""
    statuses = found.get("status", {}).get(kind) or []
    return statuses[index] if len(statuses) > index else {}


async def container_pid(node: NodeProcess, name: str) -> int:
    """Return the id of the process that runs a pod's first container."""
    status = await node.ask_status()
    return next(entry["containers"][0]["pid"] for entry in status["pods"] if entry["name"] == name)


def exists(pid: int) -> bool:
    """Tell whether a process is there, zombies not counted."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


async def ended(pid: int) -> None:
    """Wait until a process that need not be our child has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, over.set)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await over.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
