"""Accelerators without a labeller of their own: extended resources of small device plugins, and a label or two.

Some plugins name their resource after the device file (smarter-device-manager, generic-device-plugin) or after what a
user called it (Akri), so those are told by words in the name. They offer shares of a device: what counts is how many
resources there are.
"""

import re
from collections.abc import Iterator
from typing import Final

from fleetfit_operator.observe.hardware.evidence import Accelerator, Source
from fleetfit_operator.observe.hardware.readings import NodeReadings, text

# The strongest first where a vendor has several.
_RESOURCES: Final = {
    "habana.ai/gaudi": ("habana", "npu", "Gaudi"),
    "huawei.com/Ascend910": ("huawei", "npu", "Ascend910"),
    "huawei.com/Ascend310P": ("huawei", "npu", "Ascend310P"),
    "huawei.com/Ascend310": ("huawei", "npu", "Ascend310"),
    "qualcomm.com/qaic": ("qualcomm", "npu", "Cloud-AI-100"),
    "furiosa.ai/rngd": ("furiosa", "npu", "RNGD"),
    "furiosa.ai/warboy": ("furiosa", "npu", "Warboy"),
    "alpha.furiosa.ai/npu": ("furiosa", "npu", ""),
    "rebellions.ai/ATOM": ("rebellions", "npu", "ATOM"),
    "hailo.ai/h10": ("hailo", "npu", "Hailo-10H"),
    "hailo.ai/h8": ("hailo", "npu", "Hailo-8"),
    "hailo.ai/h8l": ("hailo", "npu", "Hailo-8L"),
    "coral.ai/tpu": ("google", "tpu", "Edge-TPU"),
    "kkohtaka.org/edgetpu": ("google", "tpu", "Edge-TPU"),
}
_NAMED_BY_USERS: Final = ("smarter-devices", "akri.sh", "squat.ai")
_WORDS: Final = (
    (re.compile(r"hailo[0-9]*"), ("hailo", "npu", "")),
    (re.compile(r"apex|apex[0-9]+|coral|edgetpu"), ("google", "tpu", "Edge-TPU")),
    (re.compile(r"rknpu"), ("rockchip", "npu", "")),
    (re.compile(r"davinci|davinci[0-9]+"), ("huawei", "npu", "")),
    (re.compile(r"qaic|qaic[0-9]+"), ("qualcomm", "npu", "")),
)
_FPGA = re.compile(r"xilinx\.com/fpga-([A-Za-z0-9_.-]+)")
_ASCEND = re.compile(r"huawei-(Ascend[0-9]{3}[A-Z]?)")


def accelerators(readings: NodeReadings) -> Iterator[Accelerator]:
    """Return what such resources and labels tell."""
    yield from _known_resources(readings)
    yield from _resources_named_by_users(readings)
    for name in sorted(readings.offered("xilinx.com")):
        if found := _FPGA.fullmatch(f"xilinx.com/{name}"):
            pieces = readings.pieces(f"xilinx.com/{name}")
            yield Accelerator("xilinx", "fpga", Source.RESOURCE, text(found[1]), count=pieces)
    # Ascend's plugin needs the label to be there, and somebody sets it.
    ascend = _ASCEND.fullmatch(text(readings.labels("").get("accelerator")))
    if ascend:
        yield Accelerator("huawei", "npu", Source.HAND, ascend[1])


def _known_resources(readings: NodeReadings) -> Iterator[Accelerator]:
    told: set[tuple[str, str]] = set()
    if _RESOURCES.keys().isdisjoint(readings.resources):
        return
    for resource, (vendor, kind, product) in _RESOURCES.items():
        pieces = readings.pieces(resource)
        if pieces and (vendor, kind) not in told:
            told.add((vendor, kind))
            yield Accelerator(vendor, kind, Source.RESOURCE, product, count=pieces)


def _resources_named_by_users(readings: NodeReadings) -> Iterator[Accelerator]:
    counts: dict[tuple[str, str, str], int] = {}
    for prefix in _NAMED_BY_USERS:
        for name in readings.offered(prefix):
            device = _device_of(name)
            if device is not None:
                counts[device] = counts.get(device, 0) + 1
    for (vendor, kind, product), count in counts.items():
        yield Accelerator(vendor, kind, Source.RESOURCE, product, count=count)


def _device_of(name: str) -> tuple[str, str, str] | None:
    words = re.split(r"[^a-z0-9]+", name.lower())
    return next((device for pattern, device in _WORDS if any(map(pattern.fullmatch, words))), None)
