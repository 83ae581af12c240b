"""How busy the node's processors and its GPU are, from the kernel's counters."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleetfit_runtime.probe.kernel_files import number_of, paths_of, text_of

# user nice system idle iowait irq softirq steal; guests are already in user.
_COUNTED: Final = 8
_IDLE: Final = (3, 4)
# Where the drivers of Jetson's GPU tell its load in thousandths; it moved with every release.
_JETSON_LOADS: Final = (
    "sys/devices/gpu.0/load",
    "sys/devices/platform/gpu.0/load",
    "sys/devices/platform/bus@0/17000000.gpu/load",
    "sys/devices/platform/17000000.gpu/load",
    "sys/devices/platform/17000000.ga10b/load",
    "sys/devices/57000000.gpu/load",
)


@dataclass(frozen=True, slots=True)
class Load:
    """Load of the processors over a while, 1 when all are busy.

    Attributes:
        total: By everything on the node, time that a hypervisor took included.
        others: By everything but this process.
    """

    total: float
    others: float


@dataclass(frozen=True, slots=True)
class _Ticks:
    busy: int
    total: int
    own_s: float


class LoadMeter:
    """Tells the load since it was asked last.

    Args:
        root: root of the file system that holds `proc`.
        own_cpu_s: processor seconds that this process has used.
        ticks_per_s: unit of the kernel's counters.
    """

    def __init__(
        self,
        root: Path = Path("/"),
        own_cpu_s: Callable[[], float] = time.process_time,
        ticks_per_s: int | None = None,
    ) -> None:
        self._stat = root / "proc/stat"
        self._own_cpu_s = own_cpu_s
        self._ticks_per_s = ticks_per_s or os.sysconf("SC_CLK_TCK")
        self._before = self._read()

    def since_last(self) -> Load | None:
        """Return the load since the last call, or None when too little time has passed or nothing tells."""
        before, now = self._before, self._read()
        if before is None or now is None:
            self._before = now
            return None
        ticks = now.total - before.total
        if ticks <= 0:
            return None  # Too soon: keep what was read, so that the next call has more to tell.
        self._before = now
        total = max(0, now.busy - before.busy) / ticks
        own = (now.own_s - before.own_s) * self._ticks_per_s / ticks
        return Load(total=min(1.0, total), others=min(1.0, max(0.0, total - own)))

    def _read(self) -> _Ticks | None:
        fields = text_of(self._stat).partition("\n")[0].split()
        try:
            counters = [int(field) for field in fields[1 : 1 + _COUNTED]]
        except ValueError:
            return None
        if fields[:1] != ["cpu"] or len(counters) <= max(_IDLE):
            return None
        total = sum(counters)
        return _Ticks(total - sum(counters[place] for place in _IDLE), total, self._own_cpu_s())


def gpu_load(root: Path = Path("/")) -> float | None:
    """Return the load of the GPU now, 1 when it is busy, or None where nothing cheap tells."""
    for name in _JETSON_LOADS:
        thousandths = number_of(root / name)
        if thousandths is not None:
            return min(1.0, max(0.0, thousandths / 1000))
    percents = (
        number_of(path) for path in paths_of(root / "sys/class/drm", "card[0-9]*/device/gpu_busy_percent")
    )
    return max((percent / 100 for percent in percents if percent is not None), default=None)
