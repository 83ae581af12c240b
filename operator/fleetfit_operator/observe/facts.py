"""Projects a Kubernetes Node, as JSON, to what decisions rest on.

Heartbeats, images and addresses are left out, so that a projected node is equal to the last one unless something that
matters has changed. Whether a node is cordoned is left out on purpose: that concerns new pods, and a DaemonSet's pods
go on running.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fleetfit_api.names import NodeName
from fleetfit_api.quantity import parse_quantity

from fleetfit_operator.fleet.snapshot import Node


def node_facts(node: Mapping[str, Any]) -> Node:
    """Return the projection of a Node object of the API.

    Capacities that cannot be read count as absent: one odd device plugin must not take a node out of the fleet.
    """
    metadata = node.get("metadata") or {}
    status = node.get("status") or {}
    condition = _ready_condition(status)
    return Node(
        name=NodeName(metadata.get("name", "")),
        labels=dict(metadata.get("labels") or {}),
        capacity=_capacity(status.get("capacity") or {}),
        ready=condition.get("status") == "True" and not metadata.get("deletionTimestamp"),
        ready_changed_at=_timestamp(condition.get("lastTransitionTime")),
    )


def _ready_condition(status: Mapping[str, Any]) -> Mapping[str, Any]:
    for condition in status.get("conditions") or []:
        if condition.get("type") == "Ready":
            found: Mapping[str, Any] = condition
            return found
    return {}


def _capacity(quantities: Mapping[str, Any]) -> dict[str, float]:
    capacity = {}
    for resource, quantity in quantities.items():
        if not isinstance(quantity, int | float | str):
            continue
        try:
            capacity[resource] = parse_quantity(quantity)
        except ValueError:
            continue
    return capacity


def _timestamp(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
