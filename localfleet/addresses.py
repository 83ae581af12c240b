"""The loopback addresses of a fleet's nodes, and who holds which of them on this machine.

Every process node lives on an address of its own, as a real node would. The API server's certificate names them
all, so this module is the one place that knows how many there are. An address is held through an abstract unix
socket: it has the scope of the loopback interface itself (the network namespace) and goes with its process, so
two fleets on one machine never meet and a crash leaves nothing to clean up.
"""

import socket
from typing import Final, Self

MAX_NODES: Final = 64


def node_address(index: int) -> str:
    """Give the address of the node with this index, which counts from 1.

    Raises:
        ValueError: the index is outside of the fleet.
    """
    if not 1 <= index <= MAX_NODES:
        raise ValueError(f"a fleet has nodes 1 to {MAX_NODES}, there is no node {index}")
    return f"127.77.{index}.1"


def fleet_addresses() -> tuple[str, ...]:
    """Give the addresses of all nodes that a fleet can have."""
    return tuple(node_address(index) for index in range(1, MAX_NODES + 1))


class AddressesExhaustedError(RuntimeError):
    """Every node address of this machine is held by some fleet."""

    def __init__(self) -> None:
        super().__init__(f"all {MAX_NODES} node addresses of this machine are in use by running fleets")


class AddressPool:
    """Holds node addresses for one fleet, against every other fleet on this machine."""

    def __init__(self, scope: str = "fleetfit") -> None:
        self._scope = scope
        self._held: dict[str, socket.socket] = {}

    @property
    def held(self) -> tuple[str, ...]:
        """The addresses that this fleet holds."""
        return tuple(self._held)

    def take(self) -> str:
        """Hold the first free address.

        Raises:
            AddressesExhaustedError: none is free.
        """
        for address in fleet_addresses():
            if address in self._held:
                continue
            guard = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                guard.bind(f"\0{self._scope}/node/{address}")
            except OSError:
                guard.close()
                continue
            self._held[address] = guard
            return address
        raise AddressesExhaustedError

    def release(self, address: str) -> None:
        """Let go of an address; one that is not held is no error."""
        guard = self._held.pop(address, None)
        if guard is not None:
            guard.close()

    def close(self) -> None:
        """Let go of all addresses."""
        for address in tuple(self._held):
            self.release(address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
