"""Signs that heat or power slow the processor now, as the kernel and firmware show them.

Every board tells it in its own way, and many do not tell at all; there the reference run finds a slowdown by itself
(`slowdown.py`).
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from fleetfit_runtime.probe.kernel_files import number_of, paths_of, some_of, text_of
from fleetfit_runtime.probe.thermal import ZONES, passive_cooling

# Cooling devices that slow processors; fans, chargers and lights are the others.
_SLOWING: Final = (
    "cpufreq",
    "thermal-cpufreq",
    "thermal-devfreq",
    "devfreq",
    "Processor",
    "intel_powerclamp",
)
_SLOWING_PARTS: Final = ("throttle", "cpu-balanced", "gpu-balanced")
# Bits of the Raspberry Pi's firmware: frequency capped, throttled, soft temperature limit. The lowest bit, low voltage,
# is a warning alone.
_FIRMWARE_SLOWED: Final = 0b1110
# A processor that was throttled for less of the time than this is as fast as ever.
_THROTTLED_SHARE: Final = 0.05


class ThrottleSigns:
    """Looks for signs of throttling since the last look.

    Args:
        root: root of the file system that holds `sys`.
        clock: seconds.
    """

    def __init__(self, root: Path, clock: Callable[[], float]) -> None:
        self._root = root
        self._clock = clock
        cpus = root / "sys/devices/system/cpu"
        self._times = some_of(paths_of(cpus, "cpu[0-9]*/thermal_throttle/*_throttle_total_time_ms"))
        self._counts = (
            [] if self._times else some_of(paths_of(cpus, "cpu[0-9]*/thermal_throttle/*_throttle_count"))
        )
        self._before = self._read_counters()
        self._looked_s = clock()

    def seen(self) -> bool:
        """Tell whether anything slows the processor now or did since the last look."""
        counters_rose = self._counters_rose()
        return (
            counters_rose
            or passive_cooling(self._root)
            or _cooling_by_slowing(self._root)
            or _firmware_slows(self._root)
        )

    def _counters_rose(self) -> bool:
        now_s, now = self._clock(), self._read_counters()
        passed_ms = (now_s - self._looked_s) * 1000
        rises = [after - before for before, after in zip(self._before, now, strict=True)]
        self._before, self._looked_s = now, now_s
        least = _THROTTLED_SHARE * passed_ms if self._times else 0
        return any(rise > least for rise in rises)

    def _read_counters(self) -> list[int]:
        return [number_of(path) or 0 for path in (*self._times, *self._counts)]


def _cooling_by_slowing(root: Path) -> bool:
    for device in paths_of(root / ZONES, "cooling_device*"):
        state = number_of(device / "cur_state")
        if state is not None and state > 0 and _slows(text_of(device / "type")):
            return True
    return False


def _slows(kind: str) -> bool:
    return kind.startswith(_SLOWING) or _has_any(kind, _SLOWING_PARTS)


def _has_any(text: str, parts: Iterable[str]) -> bool:
    return any(part in text for part in parts)


def _firmware_slows(root: Path) -> bool:
    for path in paths_of(root / "sys/devices/platform", "soc*/*firmware/get_throttled"):
        try:
            if int(text_of(path), 16) & _FIRMWARE_SLOWED:
                return True
        except ValueError:
            continue
    return False
