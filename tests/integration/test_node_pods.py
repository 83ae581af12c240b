"""Pods on a process node, seen through the real API server: what runs, what it is told, and how it ends."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fleetfit_kube.client import ApiClient
from fleetfit_kube.resources import CONFIG_MAPS, EVENTS, PODS, SECRETS, ResourceType
from process_nodes import (
    IMAGE,
    container,
    container_pid,
    exists,
    is_ready,
    pod,
    process_node,
    wait_for_pod,
    wait_until_gone,
)

from localfleet.controlplane.control_plane import ControlPlane
from localfleet.node_process import NodeProcess
from localfleet.testing import CommandLine
from localfleet.waiting import is_true

TOKEN_REVIEWS = ResourceType("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False)
FOREVER = "import signal; signal.pause()"
# A container that listens has written its log: readiness says so.
LISTEN = """
import os, signal, socket
listener = socket.create_server((os.environ["KUBERNETES_SERVICE_HOST"], 9000))
signal.pause()
"""
LISTENING = {
    "ports": [{"name": "http", "containerPort": 9000}],
    "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1},
}
REPORT = (
    """
import json, os, pathlib, signal, sys
account = pathlib.Path(os.environ["FLEETFIT_SERVICE_ACCOUNT_DIR"])
texts = {str(path): path.read_text() for path in map(pathlib.Path, sys.argv[1:])}
print(json.dumps({"environment": dict(os.environ), "arguments": sys.argv[1:], "files": texts,
    "token": (account / "token").read_text(), "namespace": (account / "namespace").read_text()}), flush=True)
"""
    + LISTEN
)


@pytest.fixture
async def node(control_plane: ControlPlane, tmp_path: Path, namespace: str) -> AsyncIterator[NodeProcess]:
    async with process_node(control_plane, tmp_path, f"node-{namespace}") as running:
        yield running


async def logs(kubectl: CommandLine, namespace: str, name: str, *options: str) -> str:
    return await asyncio.to_thread(kubectl, "logs", "-n", namespace, name, *options)


async def test_a_container_is_told_what_its_pod_says(
    node: NodeProcess, admin: ApiClient, kubectl: CommandLine, namespace: str
) -> None:
    config_map = {"metadata": {"name": "settings", "namespace": namespace}, "data": {"colour": "green"}}
    secret = {
        "metadata": {"name": "keys", "namespace": namespace},
        "data": {"password": base64.b64encode(b"sesame").decode()},
    }
    await admin.create(CONFIG_MAPS, config_map)
    await admin.create(SECRETS, secret)
    variables: list[dict[str, Any]] = [
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
        {"name": "URL", "value": "http://$(POD_IP):8080/$(COLOUR)/$$(POD_IP)"},
        {"name": "STORE", "value": "/var/lib/fleetfit"},
    ]
    mounts = [
        {"name": "config", "mountPath": "/etc/app"},
        {"name": "secret", "mountPath": "/etc/keys"},
        {"name": "store", "mountPath": "/var/lib/fleetfit"},
        {"name": "info", "mountPath": "/etc/info"},
    ]
    volumes = [
        {"name": "config", "configMap": {"name": "settings"}},
        {"name": "secret", "secret": {"secretName": "keys"}},
        {"name": "store", "hostPath": {"path": "/var/lib/fleetfit", "type": "DirectoryOrCreate"}},
        {
            "name": "info",
            "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]},
        },
    ]
    wanted = pod(
        node,
        namespace,
        "report",
        REPORT,
        args=["/etc/app/colour", "/etc/keys/password", "/etc/info/labels"],
        env=variables,
        envFrom=[{"secretRef": {"name": "keys"}, "prefix": "SECRET_"}],
        volumeMounts=mounts,
        spec={"volumes": volumes},
        **LISTENING,
    )
    await admin.create(PODS, wanted)
    found = await wait_for_pod(admin, namespace, "report", is_ready, "the pod is Ready")
    assert found["status"]["podIP"] == node.config.address
    assert found["status"]["phase"] == "Running"
    assert is_true(found, "PodScheduled")

    said = json.loads((await logs(kubectl, namespace, "report")).splitlines()[0])
    environment = said["environment"]
    assert environment["POD_NAME"] == "report"
    assert environment["NODE_NAME"] == node.name
    assert environment["APP"] == "report"
    assert environment["URL"] == f"http://{node.config.address}:8080/green/$(POD_IP)"
    assert environment["SECRET_password"] == "sesame"
    assert environment["STORE"] == str(node.config.state_dir / "rootfs/var/lib/fleetfit")
    colour, password, labels = said["files"].values()
    assert (colour, password) == ("green", "sesame")
    assert 'app="report"' in labels.splitlines()
    assert said["namespace"] == namespace
    assert "KUBECONFIG" not in environment
    assert "VIRTUAL_ENV" not in environment

    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": said["token"]},
    }
    status = (await admin.create(TOKEN_REVIEWS, review))["status"]
    assert status["authenticated"]
    assert status["user"]["username"] == f"system:serviceaccount:{namespace}:default"
    assert status["user"]["extra"]["authentication.kubernetes.io/node-name"] == [node.name]


async def test_init_containers_run_in_order_before_the_containers(
    node: NodeProcess, admin: ApiClient, kubectl: CommandLine, namespace: str
) -> None:
    append = "import sys, pathlib; open(sys.argv[1], 'a').write(sys.argv[2])"
    mounts = [{"name": "shared", "mountPath": "/shared"}]
    inits = [
        {
            "name": f"init-{letter}",
            "image": IMAGE,
            "command": ["python", "-c", append, "/shared/letters", letter],
            "volumeMounts": mounts,
        }
        for letter in "abc"
    ]
    show = "import sys; print(open(sys.argv[1]).read(), flush=True)\n" + LISTEN
    wanted = pod(
        node,
        namespace,
        "ordered",
        show,
        args=["/shared/letters"],
        volumeMounts=mounts,
        spec={"initContainers": inits, "volumes": [{"name": "shared", "emptyDir": {}}]},
        **LISTENING,
    )
    await admin.create(PODS, wanted)
    found = await wait_for_pod(admin, namespace, "ordered", is_ready, "the pod is Ready")
    assert [entry["state"]["terminated"]["reason"] for entry in found["status"]["initContainerStatuses"]] == [
        "Completed"
    ] * 3
    assert (await logs(kubectl, namespace, "ordered")) == "abc\n"


async def test_a_failing_init_container_keeps_the_pod_from_starting(
    node: NodeProcess, admin: ApiClient, namespace: str
) -> None:
    init = {"name": "setup", "image": IMAGE, "command": ["python", "-c", "raise SystemExit(4)"]}
    await admin.create(PODS, pod(node, namespace, "stuck", FOREVER, spec={"initContainers": [init]}))
    found = await wait_for_pod(
        admin,
        namespace,
        "stuck",
        lambda seen: container(seen, "initContainerStatuses").get("restartCount", 0) >= 2,
        "the init container was started again",
    )
    assert found["status"]["phase"] == "Pending"
    assert not is_true(found, "Initialized")
    assert "running" not in container(found)["state"]


@pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (3, "Failed")])
async def test_a_pod_that_is_never_restarted_ends(
    node: NodeProcess, admin: ApiClient, namespace: str, code: int, phase: str
) -> None:
    script = f"raise SystemExit({code})"
    await admin.create(PODS, pod(node, namespace, "once", script, spec={"restartPolicy": "Never"}))
    found = await wait_for_pod(
        admin, namespace, "once", lambda seen: seen["status"]["phase"] == phase, f"the pod has {phase}"
    )
    assert container(found)["state"]["terminated"]["exitCode"] == code
    assert container(found)["restartCount"] == 0
    await admin.delete(PODS, "once", namespace)
    await wait_until_gone(admin, namespace, "once")


async def test_a_crashing_container_is_started_again_and_its_last_log_is_kept(
    node: NodeProcess, admin: ApiClient, kubectl: CommandLine, namespace: str
) -> None:
    script = "print('about to crash', flush=True); raise SystemExit(9)"
    await admin.create(PODS, pod(node, namespace, "crash", script))
    found = await wait_for_pod(
        admin,
        namespace,
        "crash",
        lambda seen: (
            container(seen).get("restartCount", 0) >= 2
            and container(seen)["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"
        ),
        "the container crash-loops",
    )
    assert found["status"]["phase"] == "Running"
    assert container(found)["lastState"]["terminated"]["exitCode"] == 9
    assert "about to crash" in await logs(kubectl, namespace, "crash", "--previous")


async def test_an_image_without_a_local_command_is_named(
    node: NodeProcess, admin: ApiClient, namespace: str
) -> None:
    await admin.create(PODS, pod(node, namespace, "unknown", FOREVER, image="registry.test/nginx:1.29"))
    found = await wait_for_pod(
        admin,
        namespace,
        "unknown",
        lambda seen: (
            container(seen).get("state", {}).get("waiting", {}).get("reason", "").startswith(("ErrIm", "Im"))
        ),
        "the image is refused",
    )
    assert (
        "no local command for image 'registry.test/nginx:1.29'"
        in container(found)["state"]["waiting"]["message"]
    )


async def test_a_missing_config_map_is_waited_for(
    node: NodeProcess, admin: ApiClient, namespace: str
) -> None:
    wanted = pod(node, namespace, "late", FOREVER, envFrom=[{"configMapRef": {"name": "later"}}])
    await admin.create(PODS, wanted)
    found = await wait_for_pod(
        admin,
        namespace,
        "late",
        lambda seen: (
            container(seen).get("state", {}).get("waiting", {}).get("reason") == "CreateContainerConfigError"
        ),
        "the missing config map is reported",
    )
    assert "'later' not found" in container(found)["state"]["waiting"]["message"]
    await admin.create(CONFIG_MAPS, {"metadata": {"name": "later", "namespace": namespace}, "data": {}})
    await wait_for_pod(admin, namespace, "late", is_ready, "the pod is Ready")


async def test_probes_gate_readiness_and_restart_what_is_dead(
    node: NodeProcess, admin: ApiClient, namespace: str
) -> None:
    file = {"exec": {"command": ["python", "-c", "import os, sys; os.stat(sys.argv[1])", "/probe/alive"]}}
    script = (
        "import pathlib, signal, sys\n"
        "first = pathlib.Path(sys.argv[1], 'first')\n"
        "if not first.exists(): first.touch(); pathlib.Path(sys.argv[1], 'alive').touch()\n"
        "signal.pause()"
    )
    wanted = pod(
        node,
        namespace,
        "probed",
        script,
        args=["/probe"],
        volumeMounts=[{"name": "probe", "mountPath": "/probe"}],
        startupProbe={**file, "periodSeconds": 1, "failureThreshold": 30, "timeoutSeconds": 10},
        livenessProbe={**file, "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 10},
        spec={"volumes": [{"name": "probe", "hostPath": {"path": "/probe"}}]},
    )
    await admin.create(PODS, wanted)
    await wait_for_pod(admin, namespace, "probed", is_ready, "the pod is Ready")
    first_pid = await container_pid(node, "probed")
    (node.config.state_dir / "rootfs/probe/alive").unlink()
    found = await wait_for_pod(
        admin,
        namespace,
        "probed",
        lambda seen: container(seen).get("restartCount") == 1 and "running" in container(seen)["state"],
        "the container was started again",
    )
    assert not is_ready(found)
    assert container(found)["lastState"]["terminated"]["exitCode"] == 128 + 15
    assert not exists(first_pid)
    (node.config.state_dir / "rootfs/probe/alive").touch()
    await wait_for_pod(admin, namespace, "probed", is_ready, "the pod is Ready again")
    events = await admin.list(EVENTS, namespace, field_selector="involvedObject.name=probed")
    assert {"Started", "Unhealthy", "Killing"} <= {event["reason"] for event in events.items}


@pytest.mark.parametrize("polite", [True, False], ids=["ends on SIGTERM", "ignores SIGTERM"])
async def test_deletion_gives_the_grace_period_and_no_more(
    node: NodeProcess, admin: ApiClient, namespace: str, polite: bool
) -> None:
    on_signal = "open(sys.argv[1], 'w').write('bye'); sys.exit(0)" if polite else "pass"
    script = (
        "import signal, sys, time\n"
        f"def end(*_):\n    {on_signal}\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "open(sys.argv[1], 'w').write('here')\n"
        "while True: signal.pause()"
    )
    written = node.config.state_dir / "rootfs/data/word"
    wanted = pod(
        node,
        namespace,
        "graceful",
        script,
        args=["/data/word"],
        volumeMounts=[{"name": "data", "mountPath": "/data"}],
        lifecycle={"preStop": {"exec": {"command": ["touch", "/data/hook"]}}},
        # Ready means that the handler is set, or SIGTERM would come too early.
        readinessProbe={
            "exec": {
                "command": ["python", "-c", "import sys; assert open(sys.argv[1]).read()", "/data/word"]
            },
            "periodSeconds": 1,
            "timeoutSeconds": 10,
        },
        spec={"volumes": [{"name": "data", "hostPath": {"path": "/data", "type": "DirectoryOrCreate"}}]},
    )
    await admin.create(PODS, wanted)
    found = await wait_for_pod(admin, namespace, "graceful", is_ready, "the pod is Ready")
    pid = await container_pid(node, "graceful")
    await admin.delete(PODS, "graceful", namespace)
    await wait_until_gone(admin, namespace, "graceful")
    assert not exists(pid)
    assert written.with_name("hook").exists()
    assert written.read_text() == ("bye" if polite else "here")
    assert not (node.config.state_dir / "pods" / found["metadata"]["uid"] / "volumes").exists()


async def test_logs_can_be_followed_and_cut_short(
    node: NodeProcess, admin: ApiClient, kubectl: CommandLine, namespace: str
) -> None:
    script = "for n in range(100): print('line', n, flush=True)"
    await admin.create(PODS, pod(node, namespace, "chatty", script, spec={"restartPolicy": "Never"}))
    followed = await logs(kubectl, namespace, "chatty", "--follow", "--pod-running-timeout=30s")
    assert followed.splitlines() == [f"line {n}" for n in range(100)]
    assert (await logs(kubectl, namespace, "chatty", "--tail=2")).splitlines() == ["line 98", "line 99"]
