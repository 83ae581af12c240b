"""The processor's own energy counters (RAPL) of Intel and AMD, as Linux's powercap shows them.

The files have been for root alone since Linux 5.10, because they tell what the processor computes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fleetfit_runtime.probe.kernel_files import number_of, paths_of, text_of
from fleetfit_runtime.probe.power_reading import PowerReading

RAPL: Final = "rapl"
_ZONES: Final = "sys/class/powercap"
_PLATFORM: Final = "psys"
_MEMORY: Final = "dram"


def read_rapl(root: Path) -> PowerReading | None:
    """Return the counter of the platform where it counts, else those of all packages and their memory.

    Cores and graphics are parts of their package; `intel-rapl-mmio` shows the same counters another way.
    """
    zones = _zones(root)
    for zone, kind in zones.items():
        # Many desktops have the platform's counter and never move it from 0.
        if kind == _PLATFORM and number_of(zone / "energy_uj"):
            return _reading({_PLATFORM: zone})
    packages = {zone.name: zone for zone, kind in zones.items() if _is_package(kind)}
    if not packages or any(number_of(zone / "energy_uj") is None for zone in packages.values()):
        return None  # A sum without one of the packages would be too small.
    return _reading(packages | {zone.name: zone for zone, kind in zones.items() if kind == _MEMORY})


def counts_platform(reading: PowerReading) -> bool:
    """Tell whether a reading is of the whole platform, graphics cards included."""
    return _PLATFORM in reading.energy_uj


def rapl_is_hidden(root: Path) -> bool:
    """Tell whether there are counters that this process may not read."""
    packages = [zone for zone, kind in _zones(root).items() if _is_package(kind)]
    return bool(packages) and not any(text_of(zone / "energy_uj") for zone in packages)


def _zones(root: Path) -> dict[Path, str]:
    return {path: text_of(path / "name") for path in paths_of(root / _ZONES, "intel-rapl:*")}


def _is_package(kind: str) -> bool:
    return kind.startswith("package-")  # also package-0-die-1


def _reading(zones: Mapping[str, Path]) -> PowerReading:
    read = {name: number_of(zone / "energy_uj") for name, zone in zones.items()}
    energy_uj = {name: energy for name, energy in read.items() if energy is not None}
    wraps_uj = {name: number_of(zones[name] / "max_energy_range_uj") or 0 for name in energy_uj}
    return PowerReading(RAPL, None, energy_uj, wraps_uj)
