"""The programs of the control plane as files, wherever they came from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROGRAMS: Final = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "helm")


@dataclass(frozen=True, slots=True)
class Binaries:
    """A directory with all programs."""

    directory: Path

    def path(self, program: str) -> Path:
        """Give the path of one of `PROGRAMS`."""
        return self.directory / program

    @property
    def etcd(self) -> Path:
        """The database."""
        return self.path("etcd")

    @property
    def apiserver(self) -> Path:
        """The API server."""
        return self.path("kube-apiserver")

    @property
    def controller_manager(self) -> Path:
        """The controller manager."""
        return self.path("kube-controller-manager")

    @property
    def scheduler(self) -> Path:
        """The scheduler."""
        return self.path("kube-scheduler")

    @property
    def kubectl(self) -> Path:
        """The command line client."""
        return self.path("kubectl")

    @property
    def helm(self) -> Path:
        """The package manager."""
        return self.path("helm")
