"""Writes decisions to the API server: NodeInferences, node labels, DaemonSets, the Service and status.

Every write is idempotent and named after what it is about, so that a pass that was cut off anywhere is completed by the
next one. There is no finalizer: whatever was made for an object that is gone is found by comparing with what exists.
A finalizer would only make users wait for the operator, or hang when it is not there.
"""

from collections.abc import Callable, Mapping
from typing import Any

from fleetfit_api.base import ApiModel
from fleetfit_api.names import HARDWARE_CLASS_LABEL, OPERATOR_FIELD_MANAGER, NodeName
from fleetfit_api.node_inference import NodeInferenceSpec
from fleetfit_kube import ApiClient, ResourceType
from fleetfit_kube.resources import DAEMON_SETS, NODE_INFERENCES, NODES, SERVICES

from fleetfit_operator.apply.daemon_set import MANAGED_BY_SELECTOR, Install
from fleetfit_operator.apply.writes import Write

JsonObject = dict[str, Any]


class FleetWriter:
    """Makes the writes; `execute_writes` executes them.

    Args:
        client: API access.
        install: Where the runtimes live.
        on_node_inference: Takes the answer to the write of a NodeInference, or of a node, so that the next decision
            rests on it.
        on_node: The same for a node.
    """

    def __init__(
        self,
        client: ApiClient,
        install: Install,
        on_node_inference: Callable[[JsonObject], None],
        on_node: Callable[[JsonObject], None],
    ) -> None:
        self._client = client
        self._install = install
        self._on_node_inference = on_node_inference
        self._on_node = on_node
        self._applied_workloads: dict[tuple[str, str], JsonObject] = {}

    def node_inference(self, node: NodeName, spec: NodeInferenceSpec) -> Write:
        """Write what a node must run; creates the object where there is none."""

        async def execute() -> None:
            body = {"metadata": {"name": node}, "spec": spec.to_json()}
            written = await self._client.apply(NODE_INFERENCES, body, field_manager=OPERATOR_FIELD_MANAGER)
            self._on_node_inference(written)

        return Write(NODE_INFERENCES.kind, node, execute)

    def remove_node_inference(self, node: NodeName) -> Write:
        """Delete the NodeInference of a node that is gone."""

        async def execute() -> None:
            await self._client.delete(NODE_INFERENCES, node)

        return Write(NODE_INFERENCES.kind, node, execute)

    def node_label(self, node: NodeName, class_name: str) -> Write:
        """Label a node with its class; without a class the label is removed.

        A merge patch, not an apply: an apply would bring back a node that was deleted meanwhile.
        """

        async def execute() -> None:
            patch = {"metadata": {"labels": {HARDWARE_CLASS_LABEL: class_name or None}}}
            self._on_node(
                await self._client.merge_patch(NODES, node, patch, field_manager=OPERATOR_FIELD_MANAGER)
            )

        return Write(NODES.kind, node, execute)

    def status(self, resource: ResourceType, name: str, namespace: str, status: ApiModel) -> Write:
        """Write the status of an object that a user declared."""

        async def execute() -> None:
            metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
            await self._client.apply(
                resource,
                {"metadata": metadata, "status": status.to_json()},
                field_manager=OPERATOR_FIELD_MANAGER,
                subresource="status",
            )

        return Write(resource.kind, f"{namespace}/{name}" if namespace else name, execute)

    async def workload_writes(
        self, daemon_sets: Mapping[str, JsonObject], service: JsonObject, *, compare: bool
    ) -> list[Write]:
        """Return the writes that make DaemonSets and Service as wanted.

        Args:
            daemon_sets: Wanted DaemonSets by name.
            service: The wanted Service.
            compare: List what exists: write everything, in case someone has changed it, and delete what belongs to
                no class any more. Otherwise only what has changed since the last write is written.

        Raises:
            ApiError: DaemonSets cannot be listed.
        """
        wanted = [(SERVICES, service), *((DAEMON_SETS, body) for body in daemon_sets.values())]
        writes = [
            self._workload(resource, body)
            for resource, body in wanted
            if compare or self._applied_workloads.get((resource.kind, body["metadata"]["name"])) != body
        ]
        return writes + await self._obsolete(daemon_sets, compare=compare)

    async def _obsolete(self, daemon_sets: Mapping[str, JsonObject], *, compare: bool) -> list[Write]:
        if compare:
            listed = await self._client.list(
                DAEMON_SETS, self._install.namespace, label_selector=MANAGED_BY_SELECTOR
            )
            existing = [
                item["metadata"]["name"]
                for item in listed.items
                if not item["metadata"].get("deletionTimestamp")
            ]
        else:
            existing = [name for kind, name in self._applied_workloads if kind == DAEMON_SETS.kind]
        return [self._remove_daemon_set(name) for name in existing if name not in daemon_sets]

    def _workload(self, resource: ResourceType, body: JsonObject) -> Write:
        name = body["metadata"]["name"]

        async def execute() -> None:
            await self._client.apply(resource, body, field_manager=OPERATOR_FIELD_MANAGER)
            self._applied_workloads[resource.kind, name] = body

        return Write(resource.kind, name, execute)

    def _remove_daemon_set(self, name: str) -> Write:
        async def execute() -> None:
            self._applied_workloads.pop((DAEMON_SETS.kind, name), None)
            await self._client.delete(DAEMON_SETS, name, self._install.namespace)

        return Write(DAEMON_SETS.kind, name, execute)
