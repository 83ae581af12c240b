"""Reads label values and capacities strictly: what is not of the expected form is absent.

Knows forms, not names.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from fleetfit_operator.fleet.snapshot import Node

# As Kubernetes defines it; whatever is not of this form cannot be a label's value or the name of its key.
_LABEL_TEXT = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")
_LARGEST: Final = 2**63 - 1
MEBIBYTE: Final = 2**20
GIBIBYTE: Final = 2**30

Labels = Mapping[str, str]
_NONE: Final[Labels] = {}


class NodeReadings:
    """A node's labels, sorted by prefix once, and its capacities.

    Args:
        node: The node.

    Attributes:
        resources: Pieces of each resource that the node has at least one of.
    """

    def __init__(self, node: Node) -> None:
        self._by_prefix: dict[str, dict[str, str]] = {}
        for key, value in node.labels.items():
            prefix, slash, name = key.rpartition("/")
            if slash and not prefix:
                continue  # "/name" is no key, and must not pass for "name"
            family = self._by_prefix.get(prefix)
            if family is None:
                family = self._by_prefix[prefix] = {}
            family[name] = value
        self._capacity = node.capacity
        self.resources: Mapping[str, int] = {
            name: int(amount) for name in node.capacity if (amount := self.capacity(name)) >= 1
        }

    def labels(self, prefix: str) -> Labels:
        """Return the labels under a prefix (without its slash) by name."""
        return self._by_prefix.get(prefix, _NONE)

    def capacity(self, resource: str) -> float:
        """Return a capacity in base units; 0 when it is absent or not a sensible number."""
        value = self._capacity.get(resource, 0.0)
        return value if math.isfinite(value) and 0 <= value <= _LARGEST // 2 else 0.0

    def pieces(self, resource: str) -> int:
        """Return how many pieces of an extended resource the node offers."""
        return self.resources.get(resource, 0)

    def offered(self, prefix: str) -> Iterator[str]:
        """Return the names of the extended resources under a prefix that the node has at least one piece of."""
        start = f"{prefix}/"
        return (name.removeprefix(start) for name in self.resources if name.startswith(start))


def text(value: str | None) -> str:
    """Return a label's value; empty when it is absent or no value that a label can have."""
    return value if value is not None and _LABEL_TEXT.fullmatch(value) else ""


def whole_number(value: str | None) -> int | None:
    """Return a label's value as a number from 0 on; None when it is not one."""
    return int(value) if value is not None and _WHOLE_NUMBER.fullmatch(value) else None


def size_bytes(value: str | None, unit_bytes: int) -> int:
    """Return a label's value in a unit as bytes; 0 when it is not a number or no memory is that large."""
    size = (whole_number(value) or 0) * unit_bytes
    return size if size <= _LARGEST else 0


def is_true(value: str | None) -> bool:
    """Return whether a label says true, as Go's tools write it."""
    return value is not None and value.lower() == "true"


def dotted(values: Iterable[str | None]) -> str:
    """Return numbers as a version, up to the first that is absent or no number."""
    parts: list[str] = []
    for value in values:
        if value is None or not _WHOLE_NUMBER.fullmatch(value):
            break
        parts.append(value)  # as it is written: NVIDIA's 470.57.02 keeps its 0
    return ".".join(parts)
