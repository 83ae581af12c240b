"""What is built from what: the Go modules in this directory, the packages in them and their flags.

Pure but for reading the go.mod and go.sum files beside it.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).parent
_GO_LINE: Final = re.compile(r"^go (\d+)\.(\d+)(?:\.(\d+))?$", re.MULTILINE)

BUILD_FLAGS: Final = ("-trimpath", "-buildvcs=false")
BUILD_ENV: Final = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", "GOTOOLCHAIN": "local"}

GoVersion = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class GoModule:
    """A go.mod with its go.sum, and the programs that come out of it.

    Attributes:
        directory: Where go.mod is.
        source: Module whose version the programs report.
        version_variables: Link-time variables that take that version.
        programs: Name of the binary -> Go package.
    """

    directory: Path
    source: str
    version_variables: tuple[str, ...]
    programs: tuple[tuple[str, str], ...]

    @property
    def go_mod(self) -> str:
        """Text of go.mod."""
        return (self.directory / "go.mod").read_text(encoding="utf-8")

    @property
    def version(self) -> str:
        """Version at which go.mod requires the source.

        Raises:
            ValueError: go.mod does not.
        """
        match = re.search(rf"^\s*(?:require )?{re.escape(self.source)} (v\S+)", self.go_mod, re.MULTILINE)
        if match is None:
            raise ValueError(f"{self.directory / 'go.mod'} does not require {self.source}")
        return match.group(1)

    @property
    def link_flags(self) -> str:
        """Value of -ldflags: no symbol tables, and the version that `--version` prints."""
        return " ".join(["-s -w", *(f"-X {variable}={self.version}" for variable in self.version_variables)])

    @property
    def required_go(self) -> GoVersion:
        """Oldest Go that go.mod accepts."""
        match = _GO_LINE.search(self.go_mod)
        if match is None:
            raise ValueError(f"{self.directory / 'go.mod'} has no go line")
        major, minor, patch = match.groups(default="0")
        return int(major), int(minor), int(patch)


MODULES: Final = (
    GoModule(
        directory=_HERE / "kubernetes",
        source="k8s.io/kubernetes",
        version_variables=(
            "k8s.io/component-base/version.gitVersion",
            "k8s.io/client-go/pkg/version.gitVersion",
        ),
        programs=(
            ("etcd", "go.etcd.io/etcd/server/v3"),
            ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
            ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
            ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
            ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
        ),
    ),
    GoModule(
        directory=_HERE / "helm",
        source="helm.sh/helm/v4",
        version_variables=("helm.sh/helm/v4/internal/version.version",),
        programs=(("helm", "helm.sh/helm/v4/cmd/helm"),),
    ),
)

# Apart from the control plane, so that neither is built anew for the other; only tests need them.
STORAGE_MODULES: Final = (
    GoModule(
        directory=_HERE / "storage",
        source="github.com/versity/versitygw",
        version_variables=(),
        programs=(
            ("versitygw", "github.com/versity/versitygw/cmd/versitygw"),
            ("fake-gcs-server", "github.com/fsouza/fake-gcs-server"),
            ("registry", "github.com/google/go-containerregistry/cmd/registry"),
        ),
    ),
)


def required_go(modules: tuple[GoModule, ...] = MODULES) -> GoVersion:
    """Give the oldest Go that can build all modules."""
    return max(module.required_go for module in modules)


def digest(platform: str, modules: tuple[GoModule, ...] = MODULES) -> str:
    """Name a build: it changes with the pinned sources, the flags and the platform."""
    state = hashlib.sha256(json.dumps([platform, BUILD_FLAGS, BUILD_ENV]).encode())
    for module in modules:
        state.update(json.dumps([module.link_flags, module.programs]).encode())
        state.update((module.directory / "go.mod").read_bytes())
        state.update((module.directory / "go.sum").read_bytes())
    return state.hexdigest()[:16]
