"""The node's only way to the API server: a plain TCP forward on the node's address.

Agent and pods both go through it, so cutting the node is closing it. TLS passes through untouched.
"""

import asyncio
import contextlib
import logging
from typing import Final

logger = logging.getLogger(__name__)
_BUFFER_BYTES: Final = 64 * 1024


class ApiProxy:
    """Forwards connections from the node's address to the API server.

    Args:
        address: Address and port to listen at.
        target: Address and port of the API server.
    """

    def __init__(self, address: tuple[str, int], target: tuple[str, int]) -> None:
        self._address = address
        self._target = target
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def is_open(self) -> bool:
        """Whether connections are forwarded."""
        return self._server is not None

    async def open(self) -> None:
        """Listen; does nothing when it does already.

        Raises:
            OSError: the address is taken.
        """
        if self._server is None:
            host, port = self._address
            self._server = await asyncio.start_server(self._connected, host, port, limit=_BUFFER_BYTES)

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or self._server is None:
            writer.transport.abort()
            return
        self._connections.add(task)
        try:
            await self._forward(reader, writer)
            writer.close()
        except asyncio.CancelledError:
            # Only `close` cancels. Aborting sends RST: whoever waits on the other side learns of the cut at once.
            writer.transport.abort()
        finally:
            self._connections.discard(task)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            api_reader, api_writer = await asyncio.open_connection(*self._target, limit=_BUFFER_BYTES)
        except OSError as error:
            logger.info("API server not reached", extra={"error": str(error)})
            return
        directions = [
            asyncio.create_task(_copy(reader, api_writer)),
            asyncio.create_task(_copy(api_reader, writer)),
        ]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            api_writer.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await source.read(_BUFFER_BYTES):
            target.write(chunk)
            await target.drain()
