"""Makes a node as slow as the hardware it stands for: a CPU quota that all its pods share.

Where this user may create cgroups the kernel enforces the quota, with a period so short that a slow node is slow and
does not stutter. Elsewhere the pods get a low priority and one core, and are told to use one thread; that is honest
about order, not about speed, and `CpuLimit.kind` says which it is.
"""

import contextlib
import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

CGROUP_ROOT: Final = Path("/sys/fs/cgroup")
OWN_CGROUPS: Final = Path("/proc/self/cgroup")
_POLITE_NICE: Final = 10


@dataclass(frozen=True)
class CpuLimit:
    """What a pod's process must do on start to be limited.

    Attributes:
        kind: How the limit works, for people.
        cgroup: The node's cgroup, which a process enters by writing its pid to cgroup.procs.
        nice: Added to the process's niceness.
        cpus: Cores that the process may use; all where empty.
        environment: Variables that limit threads, for pods that do not set them.
    """

    kind: str
    cgroup: Path | None = None
    nice: int = 0
    cpus: frozenset[int] = frozenset()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def cgroups(self) -> tuple[Path, ...]:
        """The cgroups to remove in the end."""
        return (self.cgroup,) if self.cgroup is not None else ()


UNLIMITED: Final = CpuLimit("none")
"""For pods that would not run on the node's hardware in life."""


@dataclass(frozen=True)
class CpuQuota:
    """Cores and the period in which they are counted."""

    cores: float
    period_us: int

    @property
    def quota_us(self) -> int:
        """CPU time in one period."""
        return round(self.cores * self.period_us)


def limit_cpu(
    node_dir: Path, quota: CpuQuota, root: Path = CGROUP_ROOT, own_cgroups: Path = OWN_CGROUPS
) -> CpuLimit:
    """Create the node's cgroup, or fall back to what needs no right."""
    prefix = f"localfleet-{hashlib.sha256(str(node_dir).encode()).hexdigest()[:12]}-"
    own = own_cgroups.read_text(encoding="utf-8").splitlines() if own_cgroups.is_file() else []
    v1 = list(_v1_parents(own, root))
    for parent in v1:
        files = {"cpu.cfs_period_us": str(quota.period_us), "cpu.cfs_quota_us": str(quota.quota_us)}
        if cgroup := _create(parent, prefix, files):
            return CpuLimit("cgroup v1 quota", cgroup)
    for parent in [] if v1 else _v2_parents(own, root):
        if cgroup := _create(parent, prefix, {"cpu.max": f"{quota.quota_us} {quota.period_us}"}):
            return CpuLimit("cgroup v2 quota", cgroup)
    return _polite(quota)


def _polite(quota: CpuQuota) -> CpuLimit:
    available = sorted(os.sched_getaffinity(0))
    threads = max(1, min(len(available), int(quota.cores)))
    return CpuLimit(
        "priority and affinity only: no right to create a cgroup",
        nice=_POLITE_NICE,
        cpus=frozenset(available[-threads:]),
        environment={"FLEETFIT_INTRA_OP_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)},
    )


def _v1_parents(own: Collection[str], root: Path) -> Iterator[Path]:
    for line in own:
        _, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(","):
            for mount in (root / controllers, root / "cpu"):
                # In a container the path may be one of the host's that the mount does not show.
                yield from (place for place in (mount / path.lstrip("/"), mount) if place.is_dir())


def _v2_parents(own: Collection[str], root: Path) -> Iterator[Path]:
    for line in own:
        if line.startswith("0::"):
            place = root / line[3:].lstrip("/")
            for parent in (place, *place.parents):
                if parent.is_relative_to(root) and _gives_cpu(parent):
                    yield parent


def _gives_cpu(cgroup: Path) -> bool:
    """Tell whether children of a v2 cgroup can have a CPU quota; enable it where that is allowed."""
    try:
        control = cgroup / "cgroup.subtree_control"
        if "cpu" in control.read_text().split():
            return True
        if "cpu" not in (cgroup / "cgroup.controllers").read_text().split():
            return False
        control.write_text("+cpu")
    except OSError:
        return False
    return True


def _create(parent: Path, prefix: str, files: Mapping[str, str]) -> Path | None:
    for stale in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):  # in use by an agent that is about to end; its janitor removes it
            stale.rmdir()
    cgroup = parent / f"{prefix}{os.getpid()}"
    try:
        cgroup.mkdir()
    except OSError:
        return None
    try:
        for name, content in files.items():
            (cgroup / name).write_text(content)
    except OSError:
        with contextlib.suppress(OSError):
            cgroup.rmdir()
        return None
    return cgroup
