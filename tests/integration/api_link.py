"""A way to an API server that a test can cut and mend."""

import dataclasses
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fleetfit_kube import Connection

from localfleet.controlplane.control_plane import ControlPlane
from localfleet.controlplane.ports import LOOPBACK
from localfleet.node.api_proxy import ApiProxy


class ApiLink:
    """A forwarder to an API server.

    Attributes:
        connection: The administrator's connection through it.
    """

    def __init__(self, proxy: ApiProxy, connection: Connection) -> None:
        self._proxy = proxy
        self.connection = connection

    async def cut(self) -> None:
        """Drop all connections and refuse new ones."""
        await self._proxy.close()

    async def mend(self) -> None:
        """Accept connections again."""
        await self._proxy.open()


@asynccontextmanager
async def api_link(control_plane: ControlPlane) -> AsyncIterator[ApiLink]:
    """Forward for the time of the context."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = int(probe.getsockname()[1])
    proxy = ApiProxy((LOOPBACK, port), (LOOPBACK, control_plane.ports.api))
    await proxy.open()
    connection = dataclasses.replace(control_plane.admin(), server=f"https://{LOOPBACK}:{port}")
    try:
        yield ApiLink(proxy, connection)
    finally:
        await proxy.close()
