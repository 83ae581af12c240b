"""A CPU quota for this process, by the mechanism that process nodes and a kubelet use.

Measurements and localfleet's process nodes count a quota in the same period, so that figures of the one are figures of
the other. The context needs root, and knows both layouts of control groups: the `cpu` hierarchy of version 1 and the
unified one of version 2.
"""

import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_V1_ROOT = Path("/sys/fs/cgroup/cpu")
_V2_ROOT = Path("/sys/fs/cgroup")
_SHORTEST_PERIOD_US: Final = 5_000
_SHORTEST_QUOTA_US: Final = 1_000  # the kernel refuses a smaller one


def shortest_period_us(cores: float) -> int:
    """Return the shortest useful period, in microseconds, for a quota of so many cores.

    The kernel looks at a running process once in a tick, some milliseconds: a shorter period would only be overrun.
    """
    return max(_SHORTEST_PERIOD_US, round(_SHORTEST_QUOTA_US / cores))


class CpuQuota:
    """Context in which this process runs in a control group of its own, with a quota that can be changed.

    Args:
        name: Name of the control group.

    Raises:
        OSError: on entry, when the process may not make control groups.
    """

    def __init__(self, name: str) -> None:
        self._unified = (_V2_ROOT / "cgroup.controllers").exists()
        self._root = _V2_ROOT if self._unified else _V1_ROOT
        self._group = self._root / name

    def __enter__(self) -> Self:
        """Make the group and move into it."""
        if self._unified:
            (self._root / "cgroup.subtree_control").write_text("+cpu")
        self._group.mkdir(exist_ok=True)
        (self._group / "cgroup.procs").write_text(str(os.getpid()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Move back to the root and remove the group."""
        (self._root / "cgroup.procs").write_text(str(os.getpid()))
        self._group.rmdir()

    def set_cores(self, cores: float) -> None:
        """Set the quota in cores, above 0."""
        period_us = shortest_period_us(cores)
        quota_us = round(cores * period_us)
        if self._unified:
            (self._group / "cpu.max").write_text(f"{quota_us} {period_us}")
        else:
            # A quota must never exceed what the parent has in the same period, so it is lifted in between.
            (self._group / "cpu.cfs_quota_us").write_text("-1")
            (self._group / "cpu.cfs_period_us").write_text(str(period_us))
            (self._group / "cpu.cfs_quota_us").write_text(str(quota_us))
