"""What every part of a node agent is handed: who the node is, and the means it works with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from localfleet.node.clock import Clock
from localfleet.node.cpu_limit import CpuLimit
from localfleet.node.manifest import PodUid
from localfleet.node_config import NodeConfig


@dataclass(frozen=True)
class NodeContext:
    """The node's identity and means.

    Attributes:
        config: What the supervisor told the agent.
        allocatable: What pods may use.
        cpu_limit: What slows the pods down.
        clock: The time.
        mark: `NAME=value` in the environment of every process of this agent's pods.
    """

    config: NodeConfig
    allocatable: Mapping[str, str]
    cpu_limit: CpuLimit
    clock: Clock
    mark: str

    @property
    def root_dir(self) -> Path:
        """What pods see as the node's root file system, through hostPath volumes."""
        return self.config.state_dir / "rootfs"

    def pod_dir(self, uid: PodUid) -> Path:
        """Directory of a pod: volumes, logs, working directories."""
        return self.config.state_dir / "pods" / uid
