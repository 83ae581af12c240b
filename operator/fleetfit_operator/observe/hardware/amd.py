"""AMD: the labels of ROCm's node labeller, the GPU operator's NFD rule and the device plugin's resource.

The labeller's new form is `amd.com/gpu.vram=16G`. The old one, `beta.amd.com/gpu.vram.16G=1`, has the value in the key
and counts the GPUs that have it; where a node has unlike GPUs it does not tell which values belong together, so then
neither product nor memory is named.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from fleetfit_operator.observe.hardware import nfd
from fleetfit_operator.observe.hardware.evidence import Accelerator, Source
from fleetfit_operator.observe.hardware.readings import (
    GIBIBYTE,
    MEBIBYTE,
    NodeReadings,
    is_true,
    size_bytes,
    text,
    whole_number,
)

NEW: Final = "amd.com"
OLD: Final = "beta.amd.com"
_MEMORY = re.compile(r"([0-9]{1,9})([MG])")
_TOLD_BY: Final = ("product-name", "device-id", "family", "vram", "cu-count", "simd-count")


def accelerators(readings: NodeReadings) -> Iterator[Accelerator]:
    """Return what is known of the node's AMD GPUs."""
    if readings.labels(NEW) or readings.labels(OLD):
        yield from _from_labels(readings)
    if is_true(readings.labels(nfd.PREFIX).get("amd-gpu")):
        yield Accelerator("amd", "gpu", Source.VENDOR_LABELS)
    pieces = readings.pieces("amd.com/gpu")
    if pieces:
        yield Accelerator("amd", "gpu", Source.RESOURCE, count=pieces)


def _from_labels(readings: NodeReadings) -> Iterator[Accelerator]:
    counts = {name: _old_counts(readings, name) for name in _TOLD_BY}
    values = {name: _value(readings, name, counts[name]) for name in _TOLD_BY}
    if any(values.values()) or any(counts.values()):
        yield Accelerator(
            "amd",
            "gpu",
            Source.VENDOR_LABELS,
            product=_product(values),
            count=max(sum(each.values()) for each in counts.values()),
            memory_bytes=_memory_bytes(values["vram"]),
            driver_version=text(readings.labels(NEW).get("gpu.driver-version")),
        )


def _value(readings: NodeReadings, name: str, old_counts: Mapping[str, int]) -> str:
    """Return the value of a property, in whichever form it is; empty where unlike GPUs differ in it."""
    for prefix in (NEW, OLD):
        value = text(readings.labels(prefix).get(f"gpu.{name}"))
        if value:
            return value
    return next(iter(old_counts)) if len(old_counts) == 1 else ""


def _old_counts(readings: NodeReadings, name: str) -> dict[str, int]:
    start = f"gpu.{name}."
    return {
        value: count
        for key, number in readings.labels(OLD).items()
        if key.startswith(start)
        and (value := text(key.removeprefix(start)))
        and (count := whole_number(number))
    }


def _product(values: dict[str, str]) -> str:
    device = values["device-id"]
    return values["product-name"] or (f"device-{device}" if device else values["family"])


def _memory_bytes(vram: str) -> int:
    """Return the labeller's rounded memory in bytes; its G and M are powers of two."""
    found = _MEMORY.fullmatch(vram)
    return size_bytes(found[1], GIBIBYTE if found[2] == "G" else MEBIBYTE) if found else 0
