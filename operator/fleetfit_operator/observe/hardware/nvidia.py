"""NVIDIA: GPU feature discovery, the device plugin's resources, MIG and shared GPUs, and cloud providers' labels."""

import re
from collections.abc import Iterator
from typing import Final

from fleetfit_operator.observe.hardware.evidence import Accelerator, Source
from fleetfit_operator.observe.hardware.readings import (
    MEBIBYTE,
    Labels,
    NodeReadings,
    dotted,
    is_true,
    size_bytes,
    text,
    whole_number,
)

PREFIX: Final = "nvidia.com"
_MIG_RESOURCE = re.compile(r"mig-([0-9]+)g\.([0-9]+)gb(?:\.[a-z0-9.]+)?")
# A GPU that is shared, and one whose MIG layout GFD cannot name, is still that GPU.
_SUFFIXES = re.compile(r"(-SHARED|-MIG-INVALID)+$")


def accelerators(readings: NodeReadings) -> Iterator[Accelerator]:
    """Return what is known of the node's NVIDIA GPUs."""
    labels = readings.labels(PREFIX)
    if _labelled(labels):
        yield _from_labels(readings, labels)
    if readings.pieces("nvidia.com/gpu") or readings.pieces("nvidia.com/gpu.shared"):
        yield Accelerator("nvidia", "gpu", Source.RESOURCE, count=_unshared(readings, labels))
    elif _mig_profiles(readings):
        yield Accelerator("nvidia", "gpu", Source.RESOURCE)
    cloud = text(readings.labels("cloud.google.com").get("gke-accelerator"))
    if cloud.startswith("nvidia-"):
        yield Accelerator("nvidia", "gpu", Source.HAND, cloud)


def product(readings: NodeReadings) -> str:
    """Return the product that GFD names; empty when it names none."""
    return _SUFFIXES.sub("", text(readings.labels(PREFIX).get("gpu.product")))


def _labelled(labels: Labels) -> bool:
    return bool(text(labels.get("gpu.product"))) or is_true(labels.get("gpu.present"))


def _from_labels(readings: NodeReadings, labels: Labels) -> Accelerator:
    """Return what GFD says; on a node whose GPUs are all cut into MIG devices, of the largest of these."""
    capability = dotted(labels.get(f"gpu.compute.{part}") for part in ("major", "minor"))
    whole = Accelerator(
        "nvidia",
        "gpu",
        Source.VENDOR_LABELS,
        product=product(readings),
        count=whole_number(labels.get("gpu.count")) or 0,
        memory_bytes=size_bytes(labels.get("gpu.memory"), MEBIBYTE),
        compute_capability=capability if "." in capability and len(capability) <= 16 else "",
        driver_version=_driver_version(labels),
    )
    profiles = _mig_profiles(readings)
    if not profiles or readings.pieces("nvidia.com/gpu"):
        return whole
    profile = profiles[-1]
    return Accelerator(
        "nvidia",
        "gpu",
        Source.VENDOR_LABELS,
        product=f"{whole.product}-{profile.replace('mig-', 'MIG-')}" if whole.product else "",
        count=readings.pieces(f"nvidia.com/{profile}"),
        memory_bytes=size_bytes(labels.get(f"{profile}.memory"), MEBIBYTE),
        compute_capability=whole.compute_capability,
        driver_version=whole.driver_version,
    )


def _mig_profiles(readings: NodeReadings) -> list[str]:
    """Return the MIG devices that are resources of their own (strategy mixed), the largest last."""
    found = [each for name in readings.offered(PREFIX) if (each := _MIG_RESOURCE.fullmatch(name))]
    return [each[0] for each in sorted(found, key=lambda each: (int(each[1]), int(each[2]), each[0]))]


def _unshared(readings: NodeReadings, labels: Labels) -> int:
    """Return the number of GPUs behind the resource, which counts shares where a GPU is shared."""
    replicas = whole_number(labels.get("gpu.replicas")) or 1
    if shared := readings.pieces("nvidia.com/gpu.shared"):
        return shared // replicas if replicas > 1 else 0
    return readings.pieces("nvidia.com/gpu") // replicas


def _driver_version(labels: Labels) -> str:
    """Return the driver's version from the newest of the three forms of its labels that is there."""
    full = text(labels.get("cuda.driver-version.full"))
    if full:
        return full
    new = dotted(labels.get(f"cuda.driver-version.{part}") for part in ("major", "minor", "revision"))
    old = dotted(labels.get(f"cuda.driver.{part}") for part in ("major", "minor", "rev"))
    return new or old
