"""Keeps what is known of the many objects - nodes, NodeInferences, runtime pods - and takes snapshots of it.

It tells that something changed, not what: decisions are made from the whole fleet.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fleetfit_api import HardwareClass, NodeInference
from fleetfit_api.names import NodeName
from fleetfit_api.node_inference import NodeHardware
from fleetfit_kube import ApiClient, ObjectKey, Reflector, ReflectorOptions
from fleetfit_kube.resources import NODE_INFERENCES, NODES, PODS

from fleetfit_operator.fleet.snapshot import FleetNode, FleetSnapshot, Node
from fleetfit_operator.observe.classification import classify
from fleetfit_operator.observe.declared import Declared
from fleetfit_operator.observe.facts import node_facts
from fleetfit_operator.observe.hardware import node_hardware
from fleetfit_operator.observe.pods import RuntimePod, runtime_pod


@dataclass(frozen=True, slots=True)
class RuntimePods:
    """Where the runtimes' pods are found."""

    namespace: str
    label_selector: str


class FleetCache:
    """Reflectors of the many objects.

    Args:
        client: API access.
        pods: Where the runtimes' pods are found.
        on_change: Called, in the event loop, whenever something has changed that decisions may rest on.
    """

    def __init__(self, client: ApiClient, pods: RuntimePods, on_change: Callable[[], None]) -> None:
        def changed(_key: ObjectKey, _old: object, _new: object) -> None:
            on_change()

        self.nodes: Reflector[Node] = Reflector(client, NODES, node_facts, on_change=changed)
        self.inferences: Reflector[NodeInference] = Reflector(
            client, NODE_INFERENCES, _node_inference, on_change=changed
        )
        self.pods: Reflector[RuntimePod] = Reflector(
            client,
            PODS,
            runtime_pod,
            on_change=changed,
            options=ReflectorOptions(namespace=pods.namespace, label_selector=pods.label_selector),
        )
        self._classified: dict[NodeName, tuple[Node, HardwareClass | None]] = {}
        self._hardware: dict[NodeName, tuple[Node, NodeHardware]] = {}
        self._classes: tuple[HardwareClass, ...] = ()

    @property
    def reflectors(self) -> "tuple[Reflector[Any], ...]":
        """All reflectors; each needs a task that runs it."""
        return (self.nodes, self.inferences, self.pods)

    async def wait_synced(self) -> None:
        """Wait until every kind has been listed once."""
        for reflector in self.reflectors:
            await reflector.synced.wait()

    async def refresh(self) -> None:
        """List every kind at once, beside the watches.

        Raises:
            ApiError: a list failed.
        """
        await asyncio.gather(*(reflector.refresh() for reflector in self.reflectors))

    @property
    def synced(self) -> bool:
        """Whether every kind has been listed."""
        return all(reflector.synced.is_set() for reflector in self.reflectors)

    def highest_epoch(self) -> int:
        """Return the highest leader epoch that any node was told or has seen."""
        known = self.inferences.items.values()
        return max((max(each.spec.leader_epoch, each.status.observed_epoch) for each in known), default=0)

    def orphans(self) -> list[NodeName]:
        """Return the names of NodeInferences whose node is gone from the cluster."""
        nodes = self.nodes.items
        return sorted(NodeName(key.name) for key in self.inferences.items if key not in nodes)

    def snapshot(self, declared: Declared, now: datetime) -> FleetSnapshot:
        """Return everything that is known, as values that do not change any more."""
        self._forget_classes_unless(declared.classes)
        self._forget_hardware_of_nodes_that_are_gone()
        inferences = self.inferences.items
        ready_at = self._runtime_ready_at()
        nodes = {
            node.name: FleetNode(
                node,
                self._class_of(node),
                inferences.get(key),
                ready_at.get(node.name),
                self._hardware_of(node),
            )
            for key, node in self.nodes.items.items()
        }
        return FleetSnapshot(now, nodes, declared.deployments, declared.suites, declared.classes)

    def _runtime_ready_at(self) -> Mapping[NodeName, datetime | None]:
        """Return when the runtime of each node became ready; a ready pod outdoes others while they are exchanged."""
        ready_at: dict[NodeName, datetime | None] = {}
        for pod in self.pods.items.values():
            if pod.ready_at is not None or pod.node not in ready_at:
                ready_at[pod.node] = pod.ready_at
        return ready_at

    def _class_of(self, node: Node) -> HardwareClass | None:
        """Return the node's class; remembered, because a fleet's nodes hardly ever change theirs."""
        known = self._classified.get(node.name)
        if known is not None and known[0] is node:
            return known[1]
        hardware_class = classify(node, self._classes)
        self._classified[node.name] = (node, hardware_class)
        return hardware_class

    def _hardware_of(self, node: Node) -> NodeHardware:
        """Return what the node's labels say of its hardware; remembered as the class is."""
        known = self._hardware.get(node.name)
        if known is not None and known[0] is node:
            return known[1]
        hardware = node_hardware(node)
        self._hardware[node.name] = (node, hardware)
        return hardware

    def _forget_hardware_of_nodes_that_are_gone(self) -> None:
        if len(self._hardware) > 2 * len(self.nodes.items) + 100:
            self._hardware.clear()

    def _forget_classes_unless(self, classes: tuple[HardwareClass, ...]) -> None:
        if classes != self._classes or len(self._classified) > 2 * len(self.nodes.items) + 100:
            self._classified.clear()
            self._classes = classes


def _node_inference(document: dict[str, Any]) -> NodeInference:
    # Of the metadata only the name and uid; the resource version would make every heartbeat a change.
    metadata = {"name": document["metadata"]["name"], "uid": document["metadata"].get("uid", "")}
    return NodeInference.model_validate({**document, "metadata": metadata})
