"""The node's battery: how full it is, whether the node runs from it, and what it gives."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleetfit_runtime.probe.kernel_files import number_of, paths_of, text_of

_BATTERIES: Final = {"Battery", "UPS"}
_DISCHARGING: Final = "Discharging"


@dataclass(frozen=True, slots=True)
class Battery:
    """State of all batteries that feed the node.

    Attributes:
        percent: Mean charge, None when no battery tells.
        in_use: Whether the node runs from them.
        watts: What they give while the node runs from them, None when unknown.
    """

    percent: float | None
    in_use: bool
    watts: float | None


def read_battery(root: Path = Path("/")) -> Battery | None:
    """Return the state of the batteries, or None when the node has none."""
    # What feeds a mouse, a headset or a tablet's pen is listed here too, with the scope "Device".
    listed = paths_of(root / "sys/class/power_supply", "*")
    supplies = [supply for supply in listed if text_of(supply / "scope") != "Device"]
    batteries = [supply for supply in supplies if _feeds_node(supply)]
    if not batteries:
        return None
    discharging = [supply for supply in batteries if text_of(supply / "status") == _DISCHARGING]
    in_use = bool(discharging) and not any(_gives_mains(supply) for supply in supplies)
    given = list(_given_watts(discharging)) if in_use else []
    return Battery(
        percent=_charge_percent(batteries),
        in_use=in_use,
        watts=sum(given) if given else None,
    )


def _feeds_node(supply: Path) -> bool:
    # An empty bay of a laptop is a battery that is not present.
    return text_of(supply / "type") in _BATTERIES and text_of(supply / "present") != "0"


def _gives_mains(supply: Path) -> bool:
    return text_of(supply / "type") not in _BATTERIES and (number_of(supply / "online") or 0) > 0


def _charge_percent(batteries: list[Path]) -> float | None:
    """Return the charge of all batteries: by their sizes where all tell them, else the mean."""
    charges = [(charge, supply) for supply in batteries if (charge := _percent(supply)) is not None]
    if not charges:
        return None
    sizes = [number_of(supply / "energy_full") or 0 for _, supply in charges]
    if not all(sizes):
        sizes = [1] * len(charges)
    return sum(charge * size for (charge, _), size in zip(charges, sizes, strict=True)) / sum(sizes)


def _percent(supply: Path) -> float | None:
    capacity = number_of(supply / "capacity")
    if capacity is not None:
        return float(min(100, max(0, capacity)))
    for quantity in ("energy", "charge"):
        now, full = number_of(supply / f"{quantity}_now"), number_of(supply / f"{quantity}_full")
        if now is not None and full:
            return min(100.0, max(0.0, 100 * now / full))
    return None


def _given_watts(supplies: list[Path]) -> Iterator[float]:
    for supply in supplies:
        power_uw = number_of(supply / "power_now")
        if power_uw is not None:
            yield abs(power_uw) / 1e6
            continue
        # Drivers do not agree on the sign of the current.
        current_ua, voltage_uv = number_of(supply / "current_now"), number_of(supply / "voltage_now")
        if current_ua is not None and voltage_uv is not None:
            yield abs(current_ua * voltage_uv) / 1e12
