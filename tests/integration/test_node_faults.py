"""What happens to a process node and its pods when it is cut off, killed or started again; nothing is left behind."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from fleetfit_kube.client import ApiClient
from fleetfit_kube.config import from_kubeconfig
from fleetfit_kube.resources import CONFIG_MAPS, PODS
from process_nodes import (
    TIMEOUT_S,
    container,
    container_pid,
    ended,
    exists,
    is_ready,
    pod,
    process_node,
    wait_for_node,
    wait_for_pod,
)

from localfleet.control_socket import ControlError, request
from localfleet.controlplane.control_plane import ControlPlane
from localfleet.node_process import NodeProcess
from localfleet.process.tree import descendants, marked
from localfleet.testing import CommandLine
from localfleet.waiting import condition, is_true

FOREVER = "import signal; signal.pause()"
# A child that has left its parent's session: killing the process group does not reach it.
ESCAPE = """
import os, signal, socket
if os.fork() == 0:
    os.setsid()
    open(os.path.join(os.environ["HOME"], "escaped"), "w").write(str(os.getpid()))
    listener = socket.create_server((os.environ["KUBERNETES_SERVICE_HOST"], 9000))
signal.pause()
"""
LISTENS = {"tcpSocket": {"port": 9000}, "periodSeconds": 1}


@pytest.fixture
async def node(control_plane: ControlPlane, tmp_path: Path, namespace: str) -> AsyncIterator[NodeProcess]:
    async with process_node(control_plane, tmp_path, f"node-{namespace}", "raspberry-pi-4") as running:
        yield running


async def run_escaping_pod(node: NodeProcess, admin: ApiClient, namespace: str) -> list[int]:
    """Start a pod with a process outside of its session; return both processes."""
    await admin.create(PODS, pod(node, namespace, "escaping", ESCAPE, readinessProbe=LISTENS))
    found = await wait_for_pod(admin, namespace, "escaping", is_ready, "the pod is Ready")
    home = node.config.state_dir / "pods" / found["metadata"]["uid"] / "containers" / "main"
    return [await container_pid(node, "escaping"), int((home / "escaped").read_text())]


def cgroups() -> set[Path]:
    return set(Path("/sys/fs/cgroup").glob("**/localfleet-*"))


async def test_a_cut_node_is_missed_and_its_pods_go_on_until_it_is_healed(
    node: NodeProcess, admin: ApiClient, kubectl: CommandLine, namespace: str
) -> None:
    await admin.create(PODS, pod(node, namespace, "steady", FOREVER))
    await wait_for_pod(admin, namespace, "steady", is_ready, "the pod is Ready")
    pid = await container_pid(node, "steady")

    await node.cut()
    assert (await node.ask_status())["cut"]
    missed = await wait_for_node(
        admin,
        node.name,
        lambda seen: condition(seen, "Ready").get("status") == "Unknown",
        "the control plane misses the node",
    )
    assert condition(missed, "Ready")["reason"] == "NodeStatusUnknown"
    await wait_for_pod(
        admin, namespace, "steady", lambda seen: not is_ready(seen), "the pod counts as not Ready"
    )
    assert exists(pid)
    assert (await asyncio.to_thread(kubectl.run, "logs", "-n", namespace, "steady")).returncode != 0

    await node.heal()
    await wait_for_node(admin, node.name, lambda seen: is_true(seen, "Ready"), "the node is Ready again")
    found = await wait_for_pod(admin, namespace, "steady", is_ready, "the pod is Ready again")
    assert await container_pid(node, "steady") == pid
    assert container(found)["restartCount"] == 0


async def test_a_container_that_dies_while_the_node_is_cut_is_started_again(
    node: NodeProcess, admin: ApiClient, namespace: str
) -> None:
    await admin.create(
        CONFIG_MAPS, {"metadata": {"name": "word", "namespace": namespace}, "data": {"WORD": "hi"}}
    )
    said = node.config.state_dir / "rootfs" / "said"
    said.mkdir(parents=True)
    os.mkfifo(said / "pid")
    # Opening a pipe waits for the other side: the test reads as soon as a start writes, and not before.
    script = (
        "import os, signal\n"
        "with open(os.environ['PIPE'], 'w') as pipe: print(os.environ['WORD'], os.getpid(), file=pipe)\n"
        "signal.pause()"
    )
    wanted = pod(
        node,
        namespace,
        "phoenix",
        script,
        env=[{"name": "PIPE", "value": "/said/pid"}],
        envFrom=[{"configMapRef": {"name": "word"}}],
        volumeMounts=[{"name": "said", "mountPath": "/said"}],
        spec={"volumes": [{"name": "said", "hostPath": {"path": "/said"}}]},
    )
    await admin.create(PODS, wanted)
    async with asyncio.timeout(TIMEOUT_S):
        word, first = (await asyncio.to_thread((said / "pid").read_text)).split()
        await node.cut()
        os.kill(int(first), 9)
        assert word == "hi"
        again, second = (await asyncio.to_thread((said / "pid").read_text)).split()
    assert again == "hi"
    assert second != first
    await node.heal()
    found = await wait_for_pod(
        admin,
        namespace,
        "phoenix",
        lambda seen: container(seen).get("restartCount") == 1,
        "the restart is told",
    )
    assert container(found)["lastState"]["terminated"]["exitCode"] == 137


async def test_a_pod_deleted_while_the_node_was_cut_ends_when_it_is_healed(
    node: NodeProcess, admin: ApiClient, namespace: str
) -> None:
    await admin.create(PODS, pod(node, namespace, "doomed", FOREVER))
    await wait_for_pod(admin, namespace, "doomed", is_ready, "the pod is Ready")
    pid = await container_pid(node, "doomed")
    await node.cut()
    await admin.delete(PODS, "doomed", namespace, grace_period_s=0)
    assert exists(pid)
    await node.heal()
    await ended(pid)


async def test_killing_a_node_takes_every_process_and_its_cgroup(
    node: NodeProcess, admin: ApiClient, namespace: str
) -> None:
    pids = await run_escaping_pod(node, admin, namespace)
    own = [cgroup for cgroup in cgroups() if cgroup.name.endswith(f"-{node.pid}")]
    assert bool(own) == (os.geteuid() == 0)
    assert all(map(exists, pids))
    assert node.pid is not None
    family = descendants([node.pid])  # with the janitor, which is the last to go
    await node.kill()
    for pid in [*pids, *family]:
        await ended(pid)
    assert not marked("LOCALFLEET_NODE", str(node.config.state_dir))
    assert not any(cgroup.exists() for cgroup in own)


async def test_an_agent_that_is_killed_alone_leaves_no_process_and_no_cgroup(
    node: NodeProcess, admin: ApiClient, namespace: str
) -> None:
    pids = await run_escaping_pod(node, admin, namespace)
    agent = node.pid
    assert agent is not None
    own = [cgroup for cgroup in cgroups() if cgroup.name.endswith(f"-{agent}")]
    assert bool(own) == (os.geteuid() == 0)
    janitors = sorted(descendants([agent]) - {agent})
    os.kill(agent, 9)
    for pid in pids + janitors:
        await ended(pid)
    assert not any(map(exists, pids))
    assert not any(cgroup.exists() for cgroup in own)


async def test_a_restarted_agent_runs_its_pods_again_and_says_so(
    node: NodeProcess, admin: ApiClient, namespace: str
) -> None:
    await admin.create(PODS, pod(node, namespace, "again", FOREVER))
    await wait_for_pod(admin, namespace, "again", is_ready, "the pod is Ready")
    first = await container_pid(node, "again")
    await node.kill()
    assert not exists(first)
    await node.start()
    found = await wait_for_pod(
        admin,
        namespace,
        "again",
        lambda seen: container(seen).get("restartCount") == 1 and is_ready(seen),
        "the container was started again",
    )
    assert container(found)["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"
    assert exists(await container_pid(node, "again"))


async def test_an_orderly_stop_ends_the_processes_and_keeps_the_pods(
    node: NodeProcess, admin: ApiClient, namespace: str
) -> None:
    pids = await run_escaping_pod(node, admin, namespace)
    await node.stop()
    assert not any(map(exists, pids))
    assert "deletionTimestamp" not in (await admin.get(PODS, "escaping", namespace))["metadata"]


async def test_only_the_api_server_may_ask_a_node(node: NodeProcess) -> None:
    url = f"https://{node.config.address}:{node.config.kubelet_port}/healthz"
    nodes_own = from_kubeconfig(node.config.kubeconfig).ssl_context
    nobody = ssl.create_default_context(cafile=str(node.config.ca_cert))
    assert nodes_own is not None
    async with aiohttp.ClientSession() as session:
        async with session.get(url, ssl=nodes_own) as response:
            assert response.status == 403
        with pytest.raises(aiohttp.ClientError):
            await session.get(url, ssl=nobody)


async def test_the_control_socket_says_no_in_a_sentence(node: NodeProcess) -> None:
    with pytest.raises(ControlError, match="'dance' is not a command"):
        await request(node.config.control_socket, {"command": "dance"})


async def test_pods_get_no_more_cpu_than_the_profile_says(
    node: NodeProcess, admin: ApiClient, namespace: str
) -> None:
    # The pod measures itself: CPU seconds over wall seconds while it spins, three times the quota's period and more.
    script = (
        "import time, os\n"
        "began = time.monotonic()\n"
        "while time.process_time() < 0.3: pass\n"
        "print(time.process_time() / (time.monotonic() - began), flush=True)\n"
    )
    await admin.create(PODS, pod(node, namespace, "busy", script, spec={"restartPolicy": "Never"}))
    found = await wait_for_pod(
        admin,
        namespace,
        "busy",
        lambda seen: seen["status"].get("phase") == "Succeeded",
        "the pod has measured",
    )
    logs = node.config.state_dir / "pods" / found["metadata"]["uid"] / "logs" / "main" / "0.log"
    share = float(logs.read_text())
    status = await node.ask_status()
    assert status["cpuQuota"] == 0.2
    if "cgroup" in status["cpuLimit"]:
        # Up to 0.3 because the process's start already used some CPU before its clock began.
        assert share < 0.3
