"""A pod's status from what its containers do, as a kubelet would write it. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from localfleet.node.clock import api_time
from localfleet.node.container_state import ContainerRecord, Running, Terminated
from localfleet.node.manifest import Manifest, init_containers, is_sidecar, restart_policy

_OWN_CONDITIONS: Final = (
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
)


@dataclass(frozen=True)
class PodView:
    """What a status is made from.

    Attributes:
        init: Init containers, in order.
        main: Containers, in order.
        started_at: When the node first saw the pod.
        prepared: Whether its volumes are there.
        host_ip: Address of the node.
    """

    init: Sequence[ContainerRecord]
    main: Sequence[ContainerRecord]
    started_at: datetime
    prepared: bool
    host_ip: str


def pod_status(pod: Manifest, view: PodView, now: datetime) -> Manifest:
    """Return the fields of `status` that the node owns, conditions of others among them unchanged."""
    phase = pod_phase(pod, view)
    initialized = _initialized(pod, view)
    conditions = _conditions(pod, view, phase, initialized)
    status: Manifest = {
        "phase": phase,
        "hostIP": view.host_ip,
        "hostIPs": [{"ip": view.host_ip}],
        "podIP": view.host_ip,
        "podIPs": [{"ip": view.host_ip}],
        "startTime": api_time(view.started_at),
        "conditions": _merged(pod, conditions, now),
        "containerStatuses": [record.as_api() for record in view.main],
    }
    if view.init:
        status["initContainerStatuses"] = [record.as_api() for record in view.init]
    if "generation" in pod["metadata"]:
        status["observedGeneration"] = pod["metadata"]["generation"]
    return status


def pod_phase(pod: Manifest, view: PodView) -> str:
    """Return the pod's phase by the kubelet's rules."""
    policy = restart_policy(pod)
    if not _initialized(pod, view):
        failed = any(isinstance(record.state, Terminated) and not record.succeeded for record in view.init)
        return "Failed" if failed and policy == "Never" else "Pending"
    if any(isinstance(record.state, Running) for record in view.main):
        return "Running"
    if any(record.last is None and not isinstance(record.state, Terminated) for record in view.main):
        return "Pending"  # something has never run yet
    if policy == "Always" or any(not isinstance(record.state, Terminated) for record in view.main):
        return "Running"  # all have ended, and one will be started again
    if all(record.succeeded for record in view.main):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def _initialized(pod: Manifest, view: PodView) -> bool:
    specs = {container["name"]: container for container in init_containers(pod)}
    return all(
        record.started if is_sidecar(specs[record.name]) else record.succeeded for record in view.init
    ) or any(record.container_id for record in view.main)


def _conditions(pod: Manifest, view: PodView, phase: str, initialized: bool) -> dict[str, Manifest]:
    unready = [record.name for record in view.main if not record.ready]
    ended = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase)
    if ended:
        containers = _false(ended)
    elif unready:
        containers = _false("ContainersNotReady", f"containers with unready status: {_listed(unready)}")
    else:
        containers = {"status": "True"}
    pending_init = [record.name for record in view.init if not record.succeeded]
    return {
        "PodReadyToStartContainers": {"status": "True" if view.prepared else "False"},
        "Initialized": {"status": "True"}
        if initialized
        else _false(
            "ContainersNotInitialized", f"containers with incomplete status: {_listed(pending_init)}"
        ),
        "ContainersReady": containers,
        "PodScheduled": {"status": "True"},  # it is here, whether a scheduler sent it or not
        "Ready": _gated(pod, containers),
    }


def _gated(pod: Manifest, containers: Manifest) -> Manifest:
    """Return the Ready condition: that of the containers, and every readiness gate open."""
    if containers["status"] != "True":
        return containers
    present = {
        condition["type"]: condition.get("status")
        for condition in (pod.get("status") or {}).get("conditions") or []
    }
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates") or []]
    if closed := [gate for gate in gates if present.get(gate) != "True"]:
        return _false(
            "ReadinessGatesNotReady", f"corresponding condition of pod readiness gate {_listed(closed)}"
        )
    return containers


def _merged(pod: Manifest, conditions: dict[str, Manifest], now: datetime) -> list[Manifest]:
    """Return all conditions: others' as they are, ours with the time of their last change of status."""
    previous = {
        condition["type"]: condition for condition in (pod.get("status") or {}).get("conditions") or []
    }
    merged: list[Manifest] = []
    for name in _OWN_CONDITIONS:
        before = previous.get(name, {})
        changed = before.get("status") != conditions[name]["status"]
        since = api_time(now) if changed else before.get("lastTransitionTime", api_time(now))
        merged.append({"type": name, **conditions[name], "lastTransitionTime": since})
    return merged + [condition for name, condition in previous.items() if name not in _OWN_CONDITIONS]


def _false(reason: str, message: str = "") -> Manifest:
    return {"status": "False", "reason": reason, **({"message": message} if message else {})}


def _listed(names: Iterable[str]) -> str:
    return f"[{' '.join(names)}]"


def same_status(wanted: Manifest, present: Manifest) -> bool:
    """Tell whether the API server already has the wanted status; absent and empty are the same to it."""
    return _pruned(wanted) == _pruned({name: present.get(name) for name in wanted})


def _pruned(value: object) -> object:
    if isinstance(value, dict):
        pruned = {name: _pruned(entry) for name, entry in value.items()}
        return {name: entry for name, entry in pruned.items() if entry not in (None, "", {}, [])}
    if isinstance(value, list):
        entries = [_pruned(entry) for entry in value]
        if all(isinstance(entry, dict) and "type" in entry for entry in entries):
            return sorted(entries, key=lambda entry: str(entry["type"]))  # type: ignore[index]  # checked above
        return entries
    return value
