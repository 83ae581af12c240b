"""Free TCP ports on loopback, for servers that want theirs on the command line."""

import contextlib
import socket
from dataclasses import dataclass
from typing import Self

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one control plane, all on loopback."""

    etcd_client: int
    etcd_peer: int
    api: int
    controller_manager: int
    scheduler: int

    @classmethod
    def find(cls) -> Self:
        """Take ports that are free now; all are open at once, so they differ."""
        with contextlib.ExitStack() as open_sockets:
            numbers = []
            for _ in range(5):
                probe = open_sockets.enter_context(socket.socket())
                probe.bind((LOOPBACK, 0))
                numbers.append(int(probe.getsockname()[1]))
        return cls(*numbers)
