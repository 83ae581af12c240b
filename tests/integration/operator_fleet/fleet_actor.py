"""Plays nodes, kubelets and runtimes against a real API server, so that the operator has a fleet to work on.

It takes part only by what a kubelet and a runtime write: node and pod status, and the status of NodeInferences. It also
keeps count of what the operator makes nodes do at the same time.
"""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, ParamSpec

from fleetfit_api import NodeInference
from fleetfit_kube import ApiClient, ObjectKey, Reflector, ReflectorOptions
from fleetfit_kube.errors import ApiError, NotFound
from fleetfit_kube.resources import NODE_INFERENCES, NODES, PODS

HEARTBEAT_S = 4.0
P = ParamSpec("P")


def utc_text() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def until(condition: Callable[[], bool], what: str, timeout_s: float = 40.0) -> None:
    """Wait for a state of the world that sends no event."""
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 - the state of the world sends no event
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"did not happen in {timeout_s:.0f} s: {what}") from None


async def eventually(condition: Callable[[], Awaitable[bool]], what: str, timeout_s: float = 40.0) -> None:
    """Wait for a state of the world that has to be asked for."""
    try:
        async with asyncio.timeout(timeout_s):
            while not await condition():  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"did not happen in {timeout_s:.0f} s: {what}") from None


class FleetActor:
    """The nodes of a test.

    Attributes:
        outcomes: What happens to a variant: `ready`, a Reason (it fails) or `hang`; by (node, variant) or variant.
        most_in_flight: Largest number of nodes of a class that were changing at the same time.
        history: (node, variant) in the order in which nodes were told.
        epochs: Leader epochs that were seen in specs.
    """

    def __init__(self, client: ApiClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self.outcomes: dict[tuple[str, str] | str, str] = {}
        self.reports_references = True
        self.load_s = 0.05
        self.up: dict[str, bool] = {}
        self.most_in_flight: Counter[str] = Counter()
        self.history: list[tuple[str, str]] = []
        self.epochs: list[int] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()
        self._busy: set[tuple[str, str, str]] = set()
        self.inferences: Reflector[NodeInference] = Reflector(
            client, NODE_INFERENCES, NodeInference.model_validate, on_change=self._on_inference
        )
        self.pods: Reflector[dict[str, Any]] = Reflector(
            client, PODS, dict, on_change=self._on_pod, options=ReflectorOptions(namespace=namespace)
        )
        self.nodes: Reflector[dict[str, str]] = Reflector(
            client, NODES, lambda node: dict(node["metadata"].get("labels") or {})
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["FleetActor"]:
        reflecting = [asyncio.create_task(each.run()) for each in (self.inferences, self.pods, self.nodes)]
        beating = asyncio.create_task(self._heartbeats())
        try:
            for reflector in (self.inferences, self.pods, self.nodes):
                await reflector.synced.wait()
            yield self
        finally:
            self._closing.set()
            for task in reflecting:
                task.cancel()
            # What was begun may end: a request that is cancelled while it connects leaves its socket to the collector.
            await asyncio.gather(*reflecting, beating, *self._tasks, return_exceptions=True)

    # --- what tests do

    async def add_node(self, name: str, **labels: str) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": {key.replace("_", "-"): value for key, value in labels.items()},
            },
        }
        await self._client.create(NODES, body)
        self.up[name] = True
        await self._heartbeat(name)

    async def lose(self, name: str) -> None:
        """Let a node vanish: it reports nothing any more."""
        self.up[name] = False
        await self._heartbeat(name)

    def look_again(self, name: str) -> None:
        """Let a node that hung try again what it was told."""
        self._look_at(name)

    async def bring_back(self, name: str) -> None:
        self.up[name] = True
        await self._heartbeat(name)
        for pod in list(self.pods.items.values()):
            self._on_pod(ObjectKey("", ""), None, pod)
        self._look_at(name)

    # --- what tests look at

    def variant(self, node: str, deployment: str) -> str | None:
        """The variant that the node was told to run."""
        inference = self.inferences.items.get(ObjectKey("", node))
        assignments = inference.spec.assignments if inference else []
        return next((each.variant for each in assignments if each.deployment == deployment), None)

    def upcoming(self) -> dict[str, list[str]]:
        """Addresses that nodes were told to fetch ahead, by those that were told any."""
        return {
            key.name: [each.uri for each in inference.spec.upcoming]
            for key, inference in sorted(self.inferences.items.items())
            if inference.spec.upcoming
        }

    def variants(self, deployment: str) -> dict[str, str | None]:
        return {node: self.variant(node, deployment) for node in self.up}

    def ready(self, node: str, deployment: str) -> bool:
        inference = self.inferences.items.get(ObjectKey("", node))
        models = inference.status.models if inference else []
        variant = self.variant(node, deployment)
        return any((m.deployment, m.variant, m.phase) == (deployment, variant, "Ready") for m in models)

    def all_ready(self, deployment: str, variant: str) -> bool:
        return all(
            self.variant(node, deployment) == variant and self.ready(node, deployment) for node in self.up
        )

    def label(self, node: str) -> str | None:
        return self.nodes.items.get(ObjectKey("", node), {}).get("fleetfit.io/hardware-class")

    # --- the kubelet

    async def _heartbeats(self) -> None:
        while not self._closing.is_set():
            for name, up in list(self.up.items()):
                if up:
                    await self._heartbeat(name)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), HEARTBEAT_S)

    async def _heartbeat(self, name: str) -> None:
        ready = {
            "type": "Ready",
            "status": "True" if self.up[name] else "Unknown",
            "reason": "Test",
            "message": "",
            "lastHeartbeatTime": utc_text(),
        }
        amounts = {"cpu": "4", "memory": "8Gi", "pods": "110"}
        status = {"conditions": [ready], "capacity": amounts, "allocatable": amounts}
        body = {"metadata": {"name": name}, "status": status}
        try:
            await self._client.apply(NODES, body, field_manager="kubelet", subresource="status")
        except NotFound:
            self.up.pop(name, None)

    def _on_pod(self, _key: ObjectKey, _old: object, pod: dict[str, Any] | None) -> None:
        if pod is None or not self.up.get((pod.get("spec") or {}).get("nodeName", "")):
            return
        if pod["metadata"].get("deletionTimestamp"):
            self._spawn(self._remove_pod, pod)
        elif (pod.get("status") or {}).get("phase") != "Running":
            self._spawn(self._start_pod, pod)
        else:
            self._look_at(pod["spec"]["nodeName"])

    def _look_at(self, node: str) -> None:
        inference = self.inferences.items.get(ObjectKey("", node))
        if inference is not None:
            self._on_inference(ObjectKey("", node), inference, inference)

    async def _start_pod(self, pod: dict[str, Any]) -> None:
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": utc_text()}
        patch = {"status": {"phase": "Running", "conditions": [ready]}}
        await self._client.merge_patch(
            PODS, pod["metadata"]["name"], patch, self._namespace, subresource="status"
        )

    async def _remove_pod(self, pod: dict[str, Any]) -> None:
        await self._client.delete(PODS, pod["metadata"]["name"], self._namespace, grace_period_s=0)

    # --- the runtime

    def _has_runtime(self, node: str) -> bool:
        return bool(self.up.get(node)) and any(
            pod["spec"].get("nodeName") == node and (pod.get("status") or {}).get("phase") == "Running"
            for pod in self.pods.items.values()
        )

    def _on_inference(self, key: ObjectKey, old: NodeInference | None, new: NodeInference | None) -> None:
        if new is None:
            return
        self._count(old, new)
        if self.up.get(key.name) and self._has_runtime(key.name):
            self._spawn(self._work, key.name, new)

    def _count(self, old: NodeInference | None, new: NodeInference) -> None:
        self.epochs.append(new.spec.leader_epoch)
        before = {each.deployment: each.variant for each in old.spec.assignments} if old else {}
        for each in new.spec.assignments:
            if before.get(each.deployment) != each.variant:
                self.history.append((new.metadata.name, each.variant))
        changing: Counter[str] = Counter()
        for inference in self.inferences.items.values():
            phases = {(m.deployment, m.variant, m.sha256): m.phase for m in inference.status.models}
            for each in inference.spec.assignments:
                phase = phases.get((each.deployment, each.variant, each.sha256))
                if phase not in ("Ready", "Failed") and self.up.get(inference.metadata.name):
                    changing[inference.spec.hardware_class] += 1
        self.most_in_flight |= changing

    async def _work(self, node: str, inference: NodeInference) -> None:
        if self.reports_references and not inference.status.reference_runs:
            await self._report(node, {"referenceRuns": [_reference_run()]})
        reported = {(m.namespace, m.deployment, m.sha256): m for m in inference.status.models}
        wanted = {(a.namespace, a.deployment, a.sha256): a for a in inference.spec.assignments}
        if reported.keys() == wanted.keys():
            return
        marker = (node, str(sorted(wanted)), "work")
        if marker in self._busy:
            return
        self._busy.add(marker)
        await asyncio.sleep(self.load_s)
        self._busy.discard(marker)
        if not self.up.get(node):
            return
        models = []
        for assignment in wanted.values():
            outcome = self.outcomes.get(
                (node, assignment.variant), self.outcomes.get(assignment.variant, "ready")
            )
            if outcome != "hang":
                models.append(_model_status(assignment, outcome, inference))
        await self._report(node, {"models": models})

    async def _report(self, node: str, status: dict[str, Any]) -> None:
        await self._client.merge_patch(
            NODE_INFERENCES, node, {"status": status}, subresource="status", field_manager="fleetfit-runtime"
        )

    def _spawn(self, work: Callable[P, Awaitable[None]], *args: P.args, **kwargs: P.kwargs) -> None:
        if self._closing.is_set():
            return

        async def guarded() -> None:
            try:
                await work(*args, **kwargs)
            except NotFound:
                pass
            except ApiError as error:
                if error.status not in (404, 409):
                    raise

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _model_status(assignment: Any, outcome: str, inference: NodeInference) -> dict[str, Any]:
    served = next(
        (m.serving_variant for m in inference.status.models if m.deployment == assignment.deployment), ""
    )
    ok = outcome == "ready"
    return {
        "namespace": assignment.namespace,
        "deployment": assignment.deployment,
        "modelName": assignment.model_name,
        "variant": assignment.variant,
        "sha256": assignment.sha256,
        "phase": "Ready" if ok else "Failed",
        "reason": "Serving" if ok else outcome,
        "message": "" if ok else "as the test wants it",
        "servingVariant": assignment.variant if ok else served,
        "provider": "CPUExecutionProvider",
    }


def _reference_run() -> dict[str, Any]:
    path = files("fleetfit_operator.predict") / "model" / "reference_set.json"
    content = json.loads(path.read_text())
    times = [
        {
            "name": network["name"],
            "latencyP50Seconds": 0.002,
            "latencyP95Seconds": 0.003,
            "latencyMeanSeconds": 0.0021,
        }
        for network in content["networks"]
    ]
    return {"provider": "CPUExecutionProvider", "setVersion": content["setVersion"], "times": times}
