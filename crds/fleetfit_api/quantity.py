"""Kubernetes quantities such as `500m`, `4Gi` or `2` as plain numbers."""

import re
from decimal import Decimal

_QUANTITY = re.compile(r"^([+-]?[0-9]+(?:\.[0-9]*)?|[+-]?\.[0-9]+)([eE][+-]?[0-9]+|[A-Za-z]*)$")
_SUFFIX_FACTORS = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12),
    "P": Decimal(10**15), "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40),
    "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip


def parse_quantity(quantity: int | float | str) -> float:
    """Return a quantity as a number in its base unit (cores, bytes, pieces).

    Raises:
        ValueError: the text is not a quantity; the message says which text.
    """
    if isinstance(quantity, int | float):
        return float(quantity)
    match = _QUANTITY.match(quantity.strip())
    if match is None:
        raise ValueError(f"{quantity!r} is not a Kubernetes quantity such as 2, 500m or 4Gi")
    digits, suffix = match.groups()
    if suffix[:1] in {"e", "E"} and len(suffix) > 1:
        return float(Decimal(digits + suffix))
    if suffix not in _SUFFIX_FACTORS:
        raise ValueError(
            f"{quantity!r} has the unknown unit {suffix!r}; use one of m, k, M, G, T, Ki, Mi, Gi, Ti"
        )
    return float(Decimal(digits) * _SUFFIX_FACTORS[suffix])
