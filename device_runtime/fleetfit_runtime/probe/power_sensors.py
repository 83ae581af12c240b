"""Power sensors that Linux shows under hwmon and iio: boards' INA chips, ACPI's meter, graphics cards."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fleetfit_runtime.probe.kernel_files import number_of, paths_of, text_of
from fleetfit_runtime.probe.power_reading import PowerReading

HWMON: Final = "hwmon"
INA3221: Final = "ina3221"
_CHIPS: Final = "sys/class/hwmon"
_ACPI_METER: Final = "power_meter"
# Rails that feed the whole module; where there is one, the others are parts of it.
_WHOLE_MODULE_RAILS: Final = ("VDD_IN", "POM_5V_IN", "5V_IN", "VIN")
# Unconnected channels, the sum of shunts, and a rail that hangs on another that is measured too.
_UNCOUNTED_RAILS: Final = ("", "NC", "sum of shunt voltages", "VDDQ_VDD2_1V8AO")
# Graphics drivers that count energy, and only for cards of their own; `i915_gt0` is a part of `i915`.
_COUNTING_GPUS: Final = ("i915", "xe")
_AMD_GPU: Final = "amdgpu"
# The voltage of the north bridge, which only AMD's chips with processor and graphics in one have.
_INTEGRATED_SIGN: Final = ("in1_label", "vddnb")


def read_whole_machine(root: Path) -> PowerReading | None:
    """Return what a meter of the whole machine shows."""
    watts = _sum(_watts_of(chip) for chip in _chips(root, _ACPI_METER))
    return None if watts is None else PowerReading(HWMON, watts)


def read_module(root: Path) -> PowerReading | None:
    """Return what a board's power chips show of the module: its input, or the sum of its rails."""
    for chip in _chips(root, "ina2"):
        if text_of(chip / "label") in _WHOLE_MODULE_RAILS and (watts := _watts_of(chip)) is not None:
            return PowerReading(HWMON, watts)
    watts = _rails_watts([*_hwmon_rails(root), *_iio_rails(root)])
    return None if watts is None else PowerReading(INA3221, watts)


def read_single_chips(root: Path) -> PowerReading | None:
    """Return the sum of power chips that are not labelled."""
    watts = _sum(_watts_of(chip) for chip in _chips(root, "ina2"))
    return None if watts is None else PowerReading(HWMON, watts)


def read_graphics(root: Path, *, integrated: bool) -> PowerReading | None:
    """Return what Intel's and AMD's graphics cards show.

    Args:
        root: root of the file system.
        integrated: also graphics in one chip with the processor, whose power is that of the chip.
    """
    energy_uj: dict[str, int] = {}
    for chip in _chips(root, *_COUNTING_GPUS):
        # The card as a whole; drivers without it count the chip alone.
        for name in ("energy1_input", "energy2_input"):
            energy = number_of(chip / name)
            if energy is not None and text_of(chip / "name") in _COUNTING_GPUS:
                energy_uj[f"{HWMON}:{chip.name}"] = energy
                break
    watts = _sum(_watts_of(chip) for chip in _chips(root, _AMD_GPU) if integrated or not _is_integrated(chip))
    return PowerReading(HWMON, watts, energy_uj) if energy_uj or watts is not None else None


def _chips(root: Path, *names: str) -> Iterator[Path]:
    return (chip for chip in paths_of(root / _CHIPS, "hwmon*") if text_of(chip / "name").startswith(names))


def _is_integrated(chip: Path) -> bool:
    name, sign = _INTEGRATED_SIGN
    return text_of(chip / name) == sign


def _watts_of(chip: Path) -> float | None:
    power_uw = number_of(chip / "power1_average")
    if power_uw is None:
        power_uw = number_of(chip / "power1_input")
    return power_uw / 1e6 if power_uw is not None and power_uw >= 0 else None


def _sum(values: Iterator[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _rails_watts(rails: list[tuple[str, float]]) -> float | None:
    counted = [(name, watts) for name, watts in rails if name not in _UNCOUNTED_RAILS]
    whole = [watts for name, watts in counted if name in _WHOLE_MODULE_RAILS]
    if whole:
        return whole[0]
    return sum(watts for _, watts in counted) if counted else None


def _hwmon_rails(root: Path) -> Iterator[tuple[str, float]]:
    """Yield the rails of Linux's own driver, of JetPack 5 and later: millivolt and milliampere."""
    for chip in _chips(root, INA3221):
        for channel in (1, 2, 3):
            voltage_mv, current_ma = (
                number_of(chip / f"in{channel}_input"),
                number_of(chip / f"curr{channel}_input"),
            )
            if voltage_mv is not None and current_ma is not None:
                yield text_of(chip / f"in{channel}_label"), max(0, voltage_mv * current_ma) / 1e6


def _iio_rails(root: Path) -> Iterator[tuple[str, float]]:
    """Yield the rails of NVIDIA's driver up to JetPack 4: milliwatt."""
    for device in paths_of(root / "sys/bus/i2c/drivers/ina3221x", "*/iio:device*"):
        for channel in range(3):
            power_mw = number_of(device / f"in_power{channel}_input")
            if power_mw is not None:
                yield text_of(device / f"rail_name_{channel}"), max(0, power_mw) / 1e3
