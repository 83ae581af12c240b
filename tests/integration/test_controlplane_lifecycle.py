"""Fleets as a user starts and stops them, with real processes, and what is left when the supervisor is killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fleetfit_kube.client import ApiClient
from fleetfit_kube.config import from_kubeconfig
from fleetfit_kube.resources import NODES, PODS

from localfleet.binaries import Binaries
from localfleet.controlplane.control_plane import ControlPlane
from localfleet.controlplane.lock import StateDirInUseError, holder
from localfleet.controlplane.state_dir import StateDir
from localfleet.node_config import NODE_MARKER_ENV
from localfleet.process.child import ChildDiedError
from localfleet.process.tree import alive, descendants, marked

NODE = "box-under-test"


class FleetCommand:
    """`python -m localfleet` with a state directory."""

    def __init__(self, state_dir: Path) -> None:
        self.state = StateDir(state_dir)

    async def run(self, *words: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *self.words(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode()

    async def __call__(self, *words: str) -> str:
        code, output = await self.run(*words)
        assert code == 0, output
        return output

    def words(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "localfleet", "--state-dir", str(self.state.root), *words]

    async def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await self("status", "--json"))
        return answer

    def admin(self) -> ApiClient:
        return ApiClient(from_kubeconfig(self.state.admin_kubeconfig))


async def ended(pids: Iterable[int], timeout_s: float = 30.0) -> None:
    """Return when none of the processes runs; the kernel says so through their file descriptors."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout_s):
        for pid in pids:
            try:
                descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            end = asyncio.Event()
            loop.add_reader(descriptor, end.set)
            try:
                await end.wait()
            finally:
                loop.remove_reader(descriptor)
                os.close(descriptor)


async def node_ready_is(admin: ApiClient, name: str, wanted: str) -> None:
    listed = await admin.list(NODES)
    if any(_ready(node) == wanted for node in listed.items if node["metadata"]["name"] == name):
        return
    async for event in admin.watch(NODES, listed.resource_version):
        node = event.object
        if node.get("metadata", {}).get("name") == name and _ready(node) == wanted:
            return


def _ready(node: dict[str, Any]) -> str:
    conditions = node.get("status", {}).get("conditions", [])
    return next((str(entry["status"]) for entry in conditions if entry["type"] == "Ready"), "")


def start_detached(directory: Path) -> FleetCommand:
    """Start a detached fleet with one node."""
    plan = directory / "plan.yaml"
    plan.write_text(f"nodes: [{{name: {NODE}, profile: x86-small}}]\n")
    command = FleetCommand(directory / "fleet")
    asyncio.run(command("up", "--detach", "--fleet", str(plan)))
    return command


@pytest.fixture
def own_fleet(binaries: Binaries, tmp_path: Path) -> Iterator[FleetCommand]:
    """A fleet for a test that ends it."""
    assert binaries.kubectl.is_file()
    command = start_detached(tmp_path)
    yield command
    asyncio.run(command("down"))


@pytest.fixture(scope="module")
def fleet(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetCommand]:
    """A fleet that tests share and leave running, with its node Ready."""
    assert binaries.kubectl.is_file()
    command = start_detached(tmp_path_factory.mktemp("lifecycle"))
    yield command
    asyncio.run(command("down"))


async def start_pod_with_children(fleet: FleetCommand) -> set[int]:
    """Run a pod whose process has a child of its own; give all processes of the node."""
    script = 'import subprocess; subprocess.Popen(["sleep", "1000"]).wait()'
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "parent-", "namespace": "default"},
        "spec": {
            "nodeName": NODE,
            "containers": [
                {"name": "parent", "image": "fleetfit/runtime", "command": [sys.executable, "-c", script]}
            ],
            "tolerations": [{"operator": "Exists"}],
        },
    }
    async with fleet.admin() as admin:
        created = await admin.create(PODS, pod, "default")
        version = created["metadata"]["resourceVersion"]
        async with asyncio.timeout(60):
            async for event in admin.watch(PODS, version, namespace="default"):
                same = event.object["metadata"].get("name") == created["metadata"]["name"]
                if same and event.object["status"]["phase"] == "Running":
                    break
    return marked(NODE_MARKER_ENV, str(fleet.state.node(NODE)))


async def test_detached_fleet_is_shown_used_and_stopped(own_fleet: FleetCommand) -> None:
    status = await own_fleet.status()
    assert status["phase"] == "Running"
    assert [component["state"] for component in status["components"]] == ["Running"] * 4
    assert [node["name"] for node in status["nodes"]] == [NODE]
    table = await own_fleet("status")
    assert "kube-apiserver" in table
    assert str(own_fleet.state.admin_kubeconfig) in table
    assert NODE in await own_fleet("kubectl", "--", "get", "nodes", "-o", "name")
    assert "NAMESPACE" in await own_fleet("helm", "list")

    supervisor = holder(own_fleet.state.lock)
    assert supervisor is not None
    pids = {supervisor} | descendants([supervisor])
    assert len(pids) >= 6  # supervisor, four components, the node's agent

    assert "has stopped" in await own_fleet("down")
    await ended(pids)
    assert alive(pids) == set()
    code, said = await own_fleet.run("status")
    assert (code, "No fleet runs" in said) == (1, True)
    assert "No fleet runs" in await own_fleet("down")


async def test_second_fleet_in_a_state_dir_is_refused_and_harms_nothing(fleet: FleetCommand) -> None:
    for words in (("up",), ("up", "--detach")):
        code, said = await fleet.run(*words)
        assert code == 1
        assert "runs in" in said
    with pytest.raises(StateDirInUseError):
        await ControlPlane(fleet.state.root, Binaries(Path("/nowhere"))).start()
    assert (await fleet.status())["phase"] == "Running"


async def test_killed_supervisor_leaves_no_process(own_fleet: FleetCommand) -> None:
    node_pids = await start_pod_with_children(own_fleet)
    supervisor = holder(own_fleet.state.lock)
    assert supervisor is not None
    pids = {supervisor} | descendants([supervisor]) | node_pids
    assert len(pids) >= 8  # as above, and the pod's process with its child

    os.kill(supervisor, signal.SIGKILL)

    await ended(pids)
    assert alive(pids) == set()
    assert holder(own_fleet.state.lock) is None


async def test_cut_node_is_lost_to_the_cluster_and_lives_on(fleet: FleetCommand) -> None:
    node_pids = await start_pod_with_children(fleet)
    async with fleet.admin() as admin, asyncio.timeout(90):
        await node_ready_is(admin, NODE, "True")
        assert "Cut" in await fleet("node", "cut", NODE)
        await node_ready_is(admin, NODE, "Unknown")
        assert alive(node_pids) == node_pids
        assert "Running" in await fleet("node", "heal", NODE)
        await node_ready_is(admin, NODE, "True")
        assert alive(node_pids) == node_pids


async def test_killed_node_leaves_no_process_and_comes_back(fleet: FleetCommand) -> None:
    node_pids = await start_pod_with_children(fleet)
    assert "Killed" in await fleet("node", "kill", NODE)
    await ended(node_pids)
    assert alive(node_pids | marked(NODE_MARKER_ENV, str(fleet.state.node(NODE)))) == set()
    async with fleet.admin() as admin, asyncio.timeout(90):
        await node_ready_is(admin, NODE, "Unknown")
        assert "Running" in await fleet("node", "start", NODE)
        await node_ready_is(admin, NODE, "True")


async def test_node_is_added_to_a_running_fleet(fleet: FleetCommand) -> None:
    assert "gw" in await fleet("node", "add", "arm-gateway", "--name", "gw")
    assert {node["name"] for node in (await fleet.status())["nodes"]} >= {NODE, "gw"}
    for words, reason in (
        (("node", "add", "arm-gateway", "--name", "gw"), "already"),
        (("node", "add", "toaster"), "there is no profile"),
        (("node", "kill", "nobody"), "there is no node"),
    ):
        code, said = await fleet.run(*words)
        assert code == 1
        assert reason in said


async def test_foreground_fleet_ends_on_ctrl_c(binaries: Binaries, tmp_path: Path) -> None:
    assert binaries.kubectl.is_file()
    command = FleetCommand(tmp_path / "fleet")
    process = await asyncio.create_subprocess_exec(
        *command.words("up"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    async with asyncio.timeout(100):
        while b"Press Ctrl-C" not in (line := await process.stdout.readline()):
            assert line, "it ended before it ran"
        pids = descendants([process.pid])
        process.send_signal(signal.SIGINT)
        await process.communicate()
    assert process.returncode == 0
    assert len(pids) == 4
    assert alive(pids) == set()


async def test_fleet_whose_component_dies_ends_and_says_why(binaries: Binaries, tmp_path: Path) -> None:
    async with ControlPlane(tmp_path / "fleet", binaries) as control_plane, asyncio.timeout(60):
        victim = next(child for child in control_plane.components if child.name == "kube-scheduler")
        os.kill(victim.pid, signal.SIGKILL)
        with pytest.raises(ChildDiedError, match="kube-scheduler was killed by SIGKILL"):
            await control_plane.wait_for_death()


async def test_component_that_cannot_start_shows_its_log(binaries: Binaries, tmp_path: Path) -> None:
    directory = tmp_path / "bin"
    directory.mkdir()
    for program in binaries.directory.iterdir():
        (directory / program.name).symlink_to(program)
    (directory / "etcd").unlink()
    (directory / "etcd").write_text("#!/bin/sh\necho the disk is on fire\nexit 3\n")
    (directory / "etcd").chmod(0o755)
    with pytest.raises(ChildDiedError, match=r"etcd exited with code 3(.|\n)*the disk is on fire"):
        async with ControlPlane(tmp_path / "fleet", Binaries(directory)):
            pass
