"""What the supervisor tells a node agent, as one JSON file: ``python -m localfleet.node --config FILE``.

The supervisor writes it and the agent reads it; neither imports the other.
"""

from pathlib import Path
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field

NODE_MARKER_ENV: Final = "LOCALFLEET_NODE"
"""Environment variable with the node's state directory. The agent has it and must hand it to every process of its
pods: it is how `kill` finds processes that have left the agent's process tree."""

UNLIMITED_ANNOTATION: Final = "localfleet/outside-cpu-quota"
"""Annotation of a pod, "true" where the node's CPU quota does not hold for it."""


class NodeConfig(BaseModel):
    """One process node: who it is, where it lives and how it reaches the API server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=63, description="name of the Node object")
    profile: str = Field(
        description="name of a profile in localfleet/profiles, or the path of a profile file"
    )
    address: str = Field(
        description="loopback address of the node: InternalIP, pod IP, kubelet and API proxy"
    )
    state_dir: Path = Field(
        description="the node's own directory: pods, volumes, root file system, control socket"
    )
    api_host: str = Field(description="where the node's API proxy forwards to")
    api_port: int = Field(gt=0, lt=65536)
    proxy_port: int = Field(
        default=6443,
        gt=0,
        lt=65536,
        description="port of the API proxy on the node's address; the kubeconfigs use it",
    )
    kubelet_port: int = Field(
        default=10250, gt=0, lt=65536, description="port of the kubelet server on the address"
    )
    kubeconfig: Path = Field(
        description="the node's own credentials (system:node:NAME), through the API proxy"
    )
    feature_kubeconfig: Path = Field(
        description="credentials that may label nodes, for labels that NodeRestriction denies a kubelet, such as "
        "node-role.kubernetes.io; used as Node Feature Discovery uses its own"
    )
    ca_cert: Path = Field(description="CA of the fleet; signs the API server, the nodes and all clients")
    serving_cert: Path = Field(description="serving certificate of the kubelet server, for address and name")
    serving_key: Path
    images: dict[str, tuple[str, ...]] = Field(
        description="image repository without tag or digest -> local command that stands in for its entry point"
    )
    pod_environment: dict[str, str] = Field(
        default={}, description="variables that every container has unless its pod sets them"
    )
    crash_backoff_base_s: float = Field(
        default=10.0, gt=0, description="first delay of the crash loop, doubled"
    )
    crash_backoff_max_s: float = Field(default=300.0, gt=0)
    lease_renew_interval_s: float = Field(default=5.0, gt=0)
    status_interval_s: float = Field(default=300.0, gt=0)

    @property
    def control_socket(self) -> Path:
        """The agent's control socket: JSON lines, ``{"command": "cut" | "heal" | "status"}``."""
        return self.state_dir / "control.sock"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a configuration from its file.

        Raises:
            OSError: the file cannot be read.
            pydantic.ValidationError: it is no valid configuration.
        """
        return cls.model_validate_json(path.read_bytes())

    def write(self, path: Path) -> None:
        """Write the configuration to its file."""
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
