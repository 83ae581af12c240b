"""Node Feature Discovery: the processor, its instruction sets, and devices on the PCI and USB buses.

NFD writes a PCI device as `pci-<class>_<vendor>.present` by default and as `pci-<vendor>.present` where it is
configured for the vendor alone, as NVIDIA's stack does. The vendor alone tells only where all that the vendor makes is
an accelerator: Intel, Huawei and Qualcomm make network cards as well. Graphics of Intel and AMD that a monitor may be
plugged into (0300) are not named: almost every processor has some, and hardly any of them is worth its provider.
"""

import re
from collections.abc import Iterator
from typing import Final

from fleetfit_operator.observe.hardware.evidence import Accelerator, Source
from fleetfit_operator.observe.hardware.readings import Labels, NodeReadings, is_true, text, whole_number

PREFIX: Final = "feature.node.kubernetes.io"

X86_SETS: Final = (
    "AVX", "AVX2", "FMA3", "AVX512F", "AVX512BW", "AVX512DQ", "AVX512VL", "AVX512VNNI", "AVX512BF16", "AVX512FP16",
    "AVXVNNI", "AVXVNNIINT8", "AVXVNNIINT16", "AVXIFMA", "AVX10", "AMXTILE", "AMXINT8", "AMXBF16", "AMXFP16", "AMXFP8",
    "AMXTF32", "AMXCOMPLEX", "X86_64_V1", "X86_64_V2", "X86_64_V3", "X86_64_V4",
)  # fmt: skip
ARM_SETS: Final = (
    "ASIMD", "ASIMDHP", "ASIMDRDM", "ASIMDDP", "ASIMDFHM", "FPHP", "FCMA", "I8MM", "BF16", "SVE", "SVE2", "SVEI8MM",
    "SVEBF16", "SME", "NEON", "VFPV3", "VFPV4",
)  # fmt: skip
"""Instruction sets that change what a multiplication costs; NFD names many more."""
_SETS: Final = {f"cpu-cpuid.{name}": name for name in (*X86_SETS, *ARM_SETS)}

# Part numbers of Arm's cores (bits 4 to 15 of the main id register). Board and server processors of one core differ in
# clock and cache, yet less than cores differ among themselves.
_ARM_CORES: Final = {
    0xD03: "Cortex-A53", 0xD04: "Cortex-A35", 0xD05: "Cortex-A55", 0xD07: "Cortex-A57", 0xD08: "Cortex-A72",
    0xD09: "Cortex-A73", 0xD0A: "Cortex-A75", 0xD0B: "Cortex-A76", 0xD0C: "Neoverse-N1", 0xD0D: "Cortex-A77",
    0xD40: "Neoverse-V1", 0xD41: "Cortex-A78", 0xD42: "Cortex-A78AE", 0xD44: "Cortex-X1", 0xD46: "Cortex-A510",
    0xD47: "Cortex-A710", 0xD49: "Neoverse-N2", 0xD4B: "Cortex-A78C", 0xD4F: "Neoverse-V2", 0xD80: "Cortex-A520",
    0xD81: "Cortex-A720",
}  # fmt: skip

# Kernels that are built for one family of boards alone: Ubuntu's and Raspberry Pi OS' for the Pi, JetPack's. NFD has
# replaced the characters that a label must not have.
_KERNELS: Final = (
    (re.compile(r".*-raspi|.*-rpi-(?:v[678].*|2712)|[0-9.]+-v[78]l?(?:-16k)?"), "raspberrypi"),
    (re.compile(r".*-tegra"), "nvidia-tegra"),
)
_PCI = re.compile(r"pci-(?:(?P<class>[0-9a-f]{4})_)?(?P<vendor>[0-9a-f]{4})(?:_[0-9a-f_]+)?\.present")
_USB = re.compile(r"usb-[0-9a-f]{2}_(?P<vendor>[0-9a-f]{4})_(?P<device>[0-9a-f]{4})(?:_[0-9a-f_]+)?\.present")

# Per vendor what it makes, its product where there is one only, and the classes that count (None: all, also where the
# label names no class). Class 12 is a processing accelerator, 0302 and 0380 are GPUs without a monitor.
_PCI_DEVICES: Final[dict[str, tuple[tuple[str, str, str, tuple[str, ...] | None], ...]]] = {
    "10de": (("nvidia", "gpu", "", None),),
    "1002": (("amd", "gpu", "", ("1200", "0302")),),
    "8086": (("intel", "npu", "", ("1200",)), ("intel", "gpu", "", ("0380", "0302"))),
    "1ac1": (("google", "tpu", "Edge-TPU", None),),
    "1e60": (("hailo", "npu", "", None),),
    "17cb": (("qualcomm", "npu", "", ("1200",)),),
    "19e5": (("huawei", "npu", "", ("1200",)),),
    "10ee": (("xilinx", "fpga", "", ("1200", "0580")),),
    "1da3": (("habana", "npu", "", None),),
    "1ed2": (("furiosa", "npu", "", None),),
    "1eff": (("rebellions", "npu", "", None),),
}
# The Coral stick is another vendor's device until its firmware is loaded, by the first program that uses it.
_USB_DEVICES: Final = {
    ("1a6e", "089a"): ("google", "tpu", "Edge-TPU"),
    ("18d1", "9302"): ("google", "tpu", "Edge-TPU"),
    ("03e7", "2150"): ("intel", "vpu", "Movidius-Myriad-2"),
    ("03e7", "2485"): ("intel", "vpu", "Movidius-Myriad-X"),
}


def processor(readings: NodeReadings) -> str:
    """Return the processor as NFD knows it; empty when it does not."""
    labels = readings.labels(PREFIX)
    vendor = text(labels.get("cpu-model.vendor_id"))
    if not vendor or vendor == "VendorUnknown":
        return ""
    if vendor == "ARM" and arm_core(readings) in _ARM_CORES:
        return f"ARM {_ARM_CORES[arm_core(readings)]}"
    family, model = (whole_number(labels.get(f"cpu-model.{part}")) for part in ("family", "id"))
    if family is None or model is None:
        return vendor
    return f"{vendor} family {family} model {model}"


def arm_core(readings: NodeReadings) -> int:
    """Return the part number of the Arm core; 0 when it is unknown. NFD's model is the low half of the id register."""
    return (whole_number(readings.labels(PREFIX).get("cpu-model.id")) or 0) >> 4 & 0xFFF


def processor_vendor(readings: NodeReadings) -> str:
    """Return the vendor of the processor's cores as NFD writes it; empty when unknown."""
    return text(readings.labels(PREFIX).get("cpu-model.vendor_id"))


def kernel(readings: NodeReadings) -> str:
    """Return the version of the kernel; empty when unknown."""
    return text(readings.labels(PREFIX).get("kernel-version.full"))


def board_of_kernel(readings: NodeReadings) -> str:
    """Return the family of boards that the kernel is built for; empty when it is a general one."""
    version = kernel(readings)
    return next((family for pattern, family in _KERNELS if pattern.fullmatch(version)), "")


def instruction_sets(readings: NodeReadings) -> list[str]:
    """Return the instruction sets that matter for inference, sorted."""
    labels = readings.labels(PREFIX)
    return sorted(_SETS[name] for name in _SETS.keys() & labels.keys() if is_true(labels[name]))


def accelerators(readings: NodeReadings) -> Iterator[Accelerator]:
    """Return the accelerators on the PCI and USB buses; labels tell that there are some, not how many."""
    labels = readings.labels(PREFIX)
    for name in labels:
        if name.startswith(("pci-", "usb-")) and is_true(labels[name]):
            yield from _pci(labels, name) if name.startswith("pci-") else _usb(name)


def _pci(labels: Labels, name: str) -> Iterator[Accelerator]:
    found = _PCI.fullmatch(name)
    if found is None:
        return
    for vendor, kind, product, classes in _PCI_DEVICES.get(found["vendor"], ()):
        if classes is not None and found["class"] not in classes:
            continue
        # Intel's FPGA cards are processing accelerators too; they have virtual functions, NPUs have none.
        if kind == "npu" and vendor == "intel" and is_true(labels.get(_virtual_functions(name))):
            continue
        yield Accelerator(vendor, kind, Source.BUS, product)


def _virtual_functions(name: str) -> str:
    return f"{name.removesuffix('.present')}.sriov.capable"


def _usb(name: str) -> Iterator[Accelerator]:
    found = _USB.fullmatch(name)
    device = _USB_DEVICES.get((found["vendor"], found["device"])) if found else None
    if device is not None:
        vendor, kind, product = device
        yield Accelerator(vendor, kind, Source.BUS, product)
