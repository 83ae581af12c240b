"""Who rates: a user that the client declares, or else the address that the rating came from; both only as hashes. Pure.

A declaration is not checked, so the address bounds how many users it can speak for (see `book`). An address is trusted
when the operator of the node says that it speaks for many users, such as an application's backend or a gateway.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network
# One household or machine gets a network of this size, and may take any address of it.
_IPV6_SITE_BITS = 64


@dataclass(frozen=True, slots=True)
class Source:
    """Who rates.

    Args:
        key: hash that stands for the user or the address.
        peer: hash that stands for the address; empty where the address is trusted.
    """

    key: str
    peer: str


class SourceNamer:
    """Makes hashes that only this node can make, so that nobody can look users up in its journal.

    Args:
        salt: the node's secret, 16 to 64 bytes.
        trusted: networks whose declared users are believed.
    """

    def __init__(self, salt: bytes, trusted: Sequence[Network]) -> None:
        self._salt = salt
        self._trusted = tuple(trusted)

    def name(self, address: str, user: str | None) -> Source:
        """Return who rates.

        Args:
            address: address of the peer; a text that is no address counts as one place.
            user: what the client calls its user; None when it does not say.
        """
        place, trusted = self._place(address)
        peer = self._hash(f"peer {place}")
        key = peer if user is None else self._hash(f"user {user}")
        return Source(key, "" if trusted else peer)

    def _place(self, address: str) -> tuple[str, bool]:
        try:
            parsed = ip_address(address)
        except ValueError:
            return "", False
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        trusted = any(parsed in network for network in self._trusted)
        if isinstance(parsed, IPv4Address):
            return str(parsed), trusted
        return str(IPv6Network((int(parsed), _IPV6_SITE_BITS), strict=False)), trusted

    def _hash(self, text: str) -> str:
        return hashlib.blake2b(
            text.encode("utf-8", "surrogatepass"), digest_size=12, key=self._salt
        ).hexdigest()
