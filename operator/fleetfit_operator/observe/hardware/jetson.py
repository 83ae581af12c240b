"""NVIDIA Jetson: GPU and processor on one chip, told by the device tree, the kernel or the processor's cores.

The compute capability is a property of the chip. Thor's is left out: the same chip is 10.1 for CUDA 12 and 11.0 for
CUDA 13. GPU feature discovery, where it runs, is more specific than all of this.
"""

from collections.abc import Iterator
from typing import Final

from fleetfit_operator.observe.hardware import device_tree, nfd, nvidia
from fleetfit_operator.observe.hardware.evidence import Accelerator, Source
from fleetfit_operator.observe.hardware.readings import NodeReadings

_CHIPS: Final = {
    "tegra210": ("Tegra-X1", "5.3"),
    "tegra186": ("Tegra-X2", "6.2"),
    "tegra194": ("Xavier", "7.2"),
    "tegra234": ("Orin", "8.7"),
    "tegra264": ("Thor", ""),
}
_DENVER_2, _CARMEL, _CORTEX_A78AE = 0x003, 0x004, 0xD42
_TEGRA_PRODUCTS: Final = (
    "Orin",
    "Xavier",
    "Tegra",
    "Thor",
    "NVIDIA-Tegra",
    "NVIDIA-Thor",
    "NVIDIA-Orin",
    "NVIDIA-Xavier",
)


def accelerators(readings: NodeReadings) -> Iterator[Accelerator]:
    """Return the GPU of the chip; nothing where GFD names a card, which then does the work."""
    named = nvidia.product(readings)
    if named and not named.startswith(_TEGRA_PRODUCTS):
        return
    chip = _chip_of_device_tree(readings) or _chip_of_processor(readings)
    if chip:
        product, capability = _CHIPS[chip]
        yield Accelerator("nvidia", "gpu", Source.BOARD, product, count=1, compute_capability=capability)
    elif nfd.processor_vendor(readings) == "NVIDIA" or _is_tegra_kernel(readings):
        yield Accelerator("nvidia", "gpu", Source.BOARD, count=1)


def _chip_of_device_tree(readings: NodeReadings) -> str:
    chips = device_tree.chips(readings)
    return next((chip for chip in _CHIPS if f"nvidia-{chip}" in chips), "")


def _chip_of_processor(readings: NodeReadings) -> str:
    """Return the chip by its cores; the Cortex-A57 of Nano and TX2 are one and the same, so they tell nothing."""
    vendor, core = nfd.processor_vendor(readings), nfd.arm_core(readings)
    if vendor == "NVIDIA":
        return {_DENVER_2: "tegra186", _CARMEL: "tegra194"}.get(core, "")
    return "tegra234" if (vendor, core) == ("ARM", _CORTEX_A78AE) and _is_tegra_kernel(readings) else ""


def _is_tegra_kernel(readings: NodeReadings) -> bool:
    return nfd.kernel(readings).endswith("-tegra")
