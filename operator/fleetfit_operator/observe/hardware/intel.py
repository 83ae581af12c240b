"""Intel: the device plugins' resources, the rules for NFD that come with them, and the GPU labeller.

A GPU or NPU may be shared by any number of pods, and the resource then counts the shares: it tells the number of
devices only where it is 1. The number of devices is in labels of its own.
"""

import re
from collections.abc import Iterator
from typing import Final

from fleetfit_operator.observe.hardware.evidence import Accelerator, Source
from fleetfit_operator.observe.hardware.readings import Labels, NodeReadings, is_true, text, whole_number

RULES: Final = "intel.feature.node.kubernetes.io"
GPU: Final = "gpu.intel.com"
_DEVICE = re.compile(r"device-id\.[0-9a-f]{4}-(?P<device>[0-9a-f]{4})\.(?P<what>present|count)")


def accelerators(readings: NodeReadings) -> Iterator[Accelerator]:
    """Return what is known of the node's Intel GPUs and NPU."""
    rules, labels = readings.labels(RULES), readings.labels(GPU)
    product, count = _product(labels), _count(labels)
    if is_true(rules.get("gpu")) or product or count:
        yield Accelerator(
            "intel", "gpu", Source.VENDOR_LABELS, product, count, _memory_bytes(readings, count)
        )
    shares = {pieces for driver in ("i915", "xe") if (pieces := readings.pieces(f"{GPU}/{driver}"))}
    if shares:
        yield Accelerator("intel", "gpu", Source.RESOURCE, count=1 if shares == {1} else 0)
    if is_true(rules.get("npu")):
        yield Accelerator("intel", "npu", Source.VENDOR_LABELS, count=1)
    if readings.pieces("npu.intel.com/accel"):
        # It is a part of the processor, of which edge nodes have one.
        yield Accelerator("intel", "npu", Source.RESOURCE, count=1)


def _product(labels: Labels) -> str:
    """Return the product, else the family, else the PCI device id where there is one only."""
    named = text(labels.get("product")) or text(labels.get("family"))
    devices = {found["device"] for found in _devices(labels)}
    return named or (f"device-{devices.pop()}" if len(devices) == 1 else "")


def _count(labels: Labels) -> int:
    """Return the number of GPUs: the rule's own count, else the sum over device ids, else the labeller's list."""
    whole = whole_number(labels.get("device.count"))
    if whole:
        return whole
    counts = (whole_number(labels.get(found[0])) for found in _devices(labels) if found["what"] == "count")
    numbers = text(labels.get("gpu-numbers"))
    return sum(count or 0 for count in counts) or (len(numbers.split(".")) if numbers else 0)


def _devices(labels: Labels) -> Iterator[re.Match[str]]:
    for name, value in labels.items():
        found = _DEVICE.fullmatch(name)
        if found and (is_true(value) or whole_number(value)):
            yield found


def _memory_bytes(readings: NodeReadings, count: int) -> int:
    """Return the memory of one GPU; the resource is the sum over all of them."""
    return readings.pieces(f"{GPU}/memory.max") // count if count else 0
