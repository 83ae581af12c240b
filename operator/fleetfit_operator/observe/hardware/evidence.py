"""An accelerator as one family of labels knows it, and how several accounts of it are made one.

Knows nothing of labels.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import reduce
from itertools import groupby
from typing import Final


class Source(IntEnum):
    """Where an account comes from, the most specific first: it is right where accounts contradict each other."""

    VENDOR_LABELS = 0
    """Labels of the vendor's own labeller, which asks the driver (GFD, AMD's and Intel's labellers)."""
    BOARD = 1
    """The board or chip that the device tree, the kernel or the processor's id names."""
    RESOURCE = 2
    """An extended resource of a device plugin: something can be requested, often as shares of a device."""
    BUS = 3
    """A device on the PCI or USB bus: there is something of that vendor."""
    HAND = 4
    """Labels that people or cloud providers put on nodes."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One account of the accelerators of one kind; empty or 0 where it does not tell.

    Attributes:
        vendor: Vendor, lower case.
        kind: gpu, npu, tpu, vpu or fpga.
        source: Where the account comes from.
        product: Product name.
        count: Number of devices, not of shares of them.
        memory_bytes: Memory of one device in bytes.
        compute_capability: CUDA compute capability.
        driver_version: Version of the driver.
    """

    vendor: str
    kind: str
    source: Source
    product: str = ""
    count: int = 0
    memory_bytes: int = 0
    compute_capability: str = ""
    driver_version: str = ""


STRONGEST_FIRST: Final = (
    ("nvidia", "gpu"),
    ("amd", "gpu"),
    ("habana", "npu"),
    ("huawei", "npu"),
    ("qualcomm", "npu"),
    ("furiosa", "npu"),
    ("rebellions", "npu"),
    ("intel", "gpu"),
    ("intel", "npu"),
    ("hailo", "npu"),
    ("rockchip", "npu"),
    ("nxp", "npu"),
    ("amlogic", "npu"),
    ("google", "tpu"),
    ("intel", "vpu"),
    ("xilinx", "fpga"),
)
"""Kinds of accelerators by what they usually give to inference: GPUs with their own memory and server cards, then what
is built into processors, then add-ons of a few watts, then what does nothing without a design of its own."""


def strongest(accounts: Iterable[Accelerator]) -> Accelerator | None:
    """Return the accounts of the strongest kind as one; None without any. Their order does not matter."""
    found = list(accounts)
    if len(found) < 2:
        return found[0] if found else None
    ordered = sorted(found, key=_rank)
    _, of_strongest_kind = next(groupby(ordered, key=_kind_rank))
    return reduce(_filled, of_strongest_kind)


def _filled(account: Accelerator, weaker: Accelerator) -> Accelerator:
    """Return the account with what it does not tell from a weaker one."""
    return Accelerator(
        vendor=account.vendor,
        kind=account.kind,
        source=account.source,
        product=account.product or weaker.product,
        count=account.count or weaker.count,
        memory_bytes=account.memory_bytes or weaker.memory_bytes,
        compute_capability=account.compute_capability or weaker.compute_capability,
        driver_version=account.driver_version or weaker.driver_version,
    )


def _kind_rank(account: Accelerator) -> tuple[int, str, str]:
    kind = (account.vendor, account.kind)
    rank = STRONGEST_FIRST.index(kind) if kind in STRONGEST_FIRST else len(STRONGEST_FIRST)
    return rank, *kind


def _rank(account: Accelerator) -> tuple[object, ...]:
    # The fields after the source only make the order total.
    return (
        _kind_rank(account),
        account.source,
        account.product,
        account.count,
        account.memory_bytes,
        account.compute_capability,
        account.driver_version,
    )
