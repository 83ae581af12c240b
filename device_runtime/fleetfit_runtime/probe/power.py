"""What the node's power meters show, each read as it comes: counters of energy, or power at this moment.

The first of these that there is: a meter of the whole machine (ACPI), a board's power chips (INA), the energy counters
of the processors (RAPL) together with graphics cards of their own, another power chip, and the battery while the node
runs from it. What one meter holds is not added from another: RAPL's counter of the platform has the cards in it, and
the power of a chip with processor and graphics is not added to the processor's.
"""

from pathlib import Path

from fleetfit_runtime.probe.battery import read_battery
from fleetfit_runtime.probe.power_reading import PowerReading, joined
from fleetfit_runtime.probe.power_sensors import (
    read_graphics,
    read_module,
    read_single_chips,
    read_whole_machine,
)
from fleetfit_runtime.probe.rapl import counts_platform, read_rapl


def read_power(root: Path = Path("/"), cards: PowerReading | None = None) -> PowerReading | None:
    """Return what the node's best meters show, or None where there is none that may be read.

    Args:
        root: root of the file system.
        cards: what NVIDIA's cards show.
    """
    return (
        read_whole_machine(root)
        or read_module(root)
        or _read_parts(root, cards)
        or read_single_chips(root)
        or _read_battery(root)
    )


def _read_parts(root: Path, cards: PowerReading | None) -> PowerReading | None:
    processors = read_rapl(root)
    if processors is not None and counts_platform(processors):
        return processors
    return joined((processors, read_graphics(root, integrated=processors is None), cards))


def _read_battery(root: Path) -> PowerReading | None:
    battery = read_battery(root)
    if battery is None or battery.watts is None:
        return None
    return PowerReading("battery", battery.watts)
