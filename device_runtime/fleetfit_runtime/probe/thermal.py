"""How hot the node is, from thermal zones and, where there are none, from the processor's own sensors."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleetfit_runtime.probe.kernel_files import number_of, paths_of, text_of

ZONES: Final = "sys/class/thermal"
_SENSOR_CHIPS: Final = {"coretemp", "k10temp", "zenpower", "cpu_thermal"}
# Jetson's power chip reports a constant; it is no temperature of anything.
_NOT_MEASURED: Final = "PMIC"
_PLAUSIBLE_CELSIUS: Final = (-40.0, 150.0)
_TRIPS: Final = 12
# Zones of chips that compute; that of a laptop's skin says little about its processor.
_COMPUTING: Final = ("cpu", "gpu", "soc", "tj", "pkg", "core")


@dataclass(frozen=True, slots=True)
class Temperature:
    """How hot the node is.

    Attributes:
        celsius: In degrees Celsius.
        method: How it is known: thermal_zone, hwmon or nvml.
    """

    celsius: float
    method: str


def hottest(root: Path = Path("/")) -> Temperature | None:
    """Return the temperature of the hottest zone, or None when there is no sensor."""
    zones = [zone_celsius for _, zone_celsius in _zones(root)]
    if zones:
        return Temperature(max(zones), "thermal_zone")
    sensors = list(_sensors(root))
    return Temperature(max(sensors), "hwmon") if sensors else None


def passive_cooling(root: Path = Path("/")) -> bool:
    """Tell whether a chip that computes is so hot that the kernel slows it."""
    for zone, celsius in _zones(root):
        trip_celsius = _passive_trip_celsius(zone)
        if trip_celsius is not None and celsius >= trip_celsius and _computes(zone):
            return True
    return False


def _computes(zone: Path) -> bool:
    kind = text_of(zone / "type").lower()
    return any(part in kind for part in _COMPUTING)


def _zones(root: Path) -> Iterator[tuple[Path, float]]:
    for zone in paths_of(root / ZONES, "thermal_zone*"):
        celsius = _celsius(zone / "temp")
        if celsius is not None and not text_of(zone / "type").startswith(_NOT_MEASURED):
            yield zone, celsius


def _sensors(root: Path) -> Iterator[float]:
    for chip in paths_of(root / "sys/class/hwmon", "hwmon*"):
        if text_of(chip / "name") in _SENSOR_CHIPS:
            for path in paths_of(chip, "temp*_input"):
                celsius = _celsius(path)
                if celsius is not None:
                    yield celsius


def _celsius(path: Path) -> float | None:
    millidegrees = number_of(path)
    if millidegrees is None:
        return None
    celsius = millidegrees / 1000
    low, high = _PLAUSIBLE_CELSIUS
    return celsius if low < celsius < high else None


def _passive_trip_celsius(zone: Path) -> float | None:
    for number in range(_TRIPS):
        kind = text_of(zone / f"trip_point_{number}_type")
        if not kind:
            return None
        celsius = _celsius(zone / f"trip_point_{number}_temp")
        # Unset trips read 0 or below, and thresholds for alarms may be set to anything low.
        if kind == "passive" and celsius is not None and celsius >= 40:
            return celsius
    return None
