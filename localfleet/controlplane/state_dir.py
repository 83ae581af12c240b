"""Where a fleet keeps its files; nothing else builds a path below the state directory."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class StateDir:
    """The layout of a fleet's state directory."""

    root: Path

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.root / "pki"

    @property
    def logs(self) -> Path:
        """One log file for each process."""
        return self.root / "logs"

    @property
    def etcd_data(self) -> Path:
        """The database."""
        return self.root / "etcd"

    @property
    def nodes(self) -> Path:
        """One directory for each node."""
        return self.root / "nodes"

    @property
    def admin_kubeconfig(self) -> Path:
        """The kubeconfig for the person in front of the machine."""
        return self.root / "kubeconfig"

    @property
    def control_socket(self) -> Path:
        """The supervisor's control socket."""
        return self.root / "control.sock"

    @property
    def lock(self) -> Path:
        """Held by the supervisor for as long as it lives; has its process id."""
        return self.root / "supervisor.pid"

    def log(self, component: str) -> Path:
        """The log file of a process."""
        return self.logs / f"{component}.log"

    def node(self, name: str) -> Path:
        """The directory of a node."""
        return self.nodes / name

    def component_kubeconfig(self, component: str) -> Path:
        """The kubeconfig of a component of the control plane."""
        return self.pki / f"{component}.kubeconfig"

    def certificate(self, name: str) -> Path:
        """A certificate."""
        return self.pki / f"{name}.crt"

    def key(self, name: str) -> Path:
        """A private key."""
        return self.pki / f"{name}.key"

    def create(self) -> None:
        """Make the directories; only their owner may look into them."""
        for directory in (self.root, self.pki, self.logs, self.nodes):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, at no time readable by others."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
