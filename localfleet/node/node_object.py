"""The Node object and its Lease, as a kubelet would write them. Pure."""

from datetime import datetime
from typing import Final

from localfleet.node.clock import api_micro_time, api_time
from localfleet.node.manifest import Manifest
from localfleet.node.profile import NodeProfile
from localfleet.node_config import NodeConfig

KUBELET_VERSION: Final = "v1.35.0-localfleet"
LEASE_NAMESPACE: Final = "kube-node-lease"
_LEASE_DURATION_S: Final = 40

# Types, and the reason and message while all is well; the texts are the kubelet's.
_PRESSURES: Final = (
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)


def node_labels(name: str, profile: NodeProfile) -> dict[str, str]:
    """Return the labels that the kubelet itself sets."""
    architecture = profile.node_info.architecture
    return {
        "kubernetes.io/hostname": name,
        "kubernetes.io/arch": architecture,
        "kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": architecture,
        "beta.kubernetes.io/os": "linux",
        **profile.kubelet_labels,
    }


def new_node(name: str, profile: NodeProfile) -> Manifest:
    """Return the Node to register."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": node_labels(name, profile)},
        "spec": {},
    }


def node_status(config: NodeConfig, profile: NodeProfile, previous: Manifest, now: datetime) -> Manifest:
    """Return the node's status; a condition keeps the time of its last change from the previous status."""
    identity = f"localfleet-{config.name}"
    return {
        "capacity": profile.capacity,
        "allocatable": profile.allocatable,
        "addresses": [
            {"type": "InternalIP", "address": config.address},
            {"type": "Hostname", "address": config.name},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": config.kubelet_port}},
        "nodeInfo": {
            "architecture": profile.node_info.architecture,
            "operatingSystem": "linux",
            "osImage": profile.node_info.os_image,
            "kernelVersion": profile.node_info.kernel_version,
            "containerRuntimeVersion": "localfleet://processes",
            "kubeletVersion": KUBELET_VERSION,
            "kubeProxyVersion": "",
            "machineID": identity,
            "systemUUID": identity,
            "bootID": identity,
        },
        "conditions": _conditions(previous, now),
    }


def new_lease(node_name: str, node_uid: str, now: datetime) -> Manifest:
    """Return the node's lease, owned by the node."""
    owner = {"apiVersion": "v1", "kind": "Node", "name": node_name, "uid": node_uid}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": node_name, "namespace": LEASE_NAMESPACE, "ownerReferences": [owner]},
        "spec": {
            "holderIdentity": node_name,
            "leaseDurationSeconds": _LEASE_DURATION_S,
            **lease_renewal(now),
        },
    }


def lease_renewal(now: datetime) -> Manifest:
    """Return the part of a lease's spec that a renewal changes."""
    return {"renewTime": api_micro_time(now)}


def _conditions(previous: Manifest, now: datetime) -> list[Manifest]:
    before = {condition["type"]: condition for condition in previous.get("conditions") or []}
    wanted = [(name, "False", reason, message) for name, reason, message in _PRESSURES]
    wanted.append(("Ready", "True", "KubeletReady", "the process node's agent is posting ready status"))
    conditions = []
    for name, status, reason, message in wanted:
        same = before.get(name, {}).get("status") == status
        conditions.append(
            {
                "type": name,
                "status": status,
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": api_time(now),
                "lastTransitionTime": before[name]["lastTransitionTime"] if same else api_time(now),
            }
        )
    return conditions
