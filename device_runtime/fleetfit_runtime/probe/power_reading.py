"""What meters show at one moment, and how much energy went between two moments. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

# Longer than this nobody looked: a counter may have wrapped more than once, and the power may have been anything.
_LONGEST_GAP_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class PowerReading:
    """What the meters show at one moment.

    Attributes:
        method: How power is known: hwmon, ina3221, rapl, nvml or battery; several add up, as in rapl+nvml.
        watts: Power now of what has no counters; None when all has.
        energy_uj: Energy so far by counter in microjoules.
        wraps_uj: Value after which each counter begins anew; absent for one that does not.
    """

    method: str
    watts: float | None = None
    energy_uj: Mapping[str, int] = field(default_factory=dict)
    wraps_uj: Mapping[str, int] = field(default_factory=dict)


def joined(readings: Iterable[PowerReading | None]) -> PowerReading | None:
    """Return the sum of meters of different parts of the node, None of none."""
    parts = [reading for reading in readings if reading is not None]
    if len(parts) < 2:
        return parts[0] if parts else None
    watts = [part.watts for part in parts if part.watts is not None]
    return PowerReading(
        method="+".join(dict.fromkeys(part.method for part in parts)),
        watts=sum(watts) if watts else None,
        energy_uj={name: energy for part in parts for name, energy in part.energy_uj.items()},
        wraps_uj={name: wrap for part in parts for name, wrap in part.wraps_uj.items()},
    )


def joules_between(before: PowerReading, after: PowerReading, seconds: float) -> float | None:
    """Return the energy between two readings, or None when they do not tell it."""
    if not 0 <= seconds <= _LONGEST_GAP_S or before.method != after.method:
        return None
    counted = _counted_joules(before, after)
    if counted is None or (before.watts is None) != (after.watts is None):
        return None
    shown = 0.0 if before.watts is None or after.watts is None else (before.watts + after.watts) / 2 * seconds
    return counted + shown


def _counted_joules(before: PowerReading, after: PowerReading) -> float | None:
    if before.energy_uj.keys() != after.energy_uj.keys():
        return None
    used_uj = 0
    for name, energy_uj in after.energy_uj.items():
        rise = energy_uj - before.energy_uj[name]
        if rise < 0:
            rise += after.wraps_uj.get(name, 0)
        if rise < 0:
            return None  # The counter was reset, not wrapped.
        used_uj += rise
    return used_uj / 1e6
