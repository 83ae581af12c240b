"""The listening socket: accepts connections up to a limit, ends slow ones, and drains them at the end.

It knows nothing of what the connections speak.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

_SWEEP_S = 1.0
_BACKLOG = 1024


class ServedConnection(Protocol):
    """One connection, from the server's side; it enters and leaves the server's set by itself."""

    def announce_end(self) -> None:
        """Send the client elsewhere with the next answer."""

    def expire(self, now_s: float) -> None:
        """End the connection if its client is too slow."""

    def finish(self) -> None:
        """Answer what is asked, then close."""

    def abort(self) -> None:
        """Close at once."""


ConnectionT = TypeVar("ConnectionT", bound=ServedConnection)


class ConnectionServer(ABC, Generic[ConnectionT]):
    """Serves connections of one kind.

    Args:
        max_connections: open connections; further ones are closed at once.
    """

    def __init__(self, max_connections: int) -> None:
        self._max_connections = max_connections
        self._connections: set[ConnectionT] = set()
        self._server: asyncio.Server | None = None
        self._ending = False
        self._sweep: asyncio.TimerHandle | None = None

    @abstractmethod
    def _opener(self, now: Callable[[], float]) -> Callable[[], ConnectionT]:
        """Return what opens a connection; `now` is the loop's clock."""

    @property
    def connection_count(self) -> int:
        """Open connections."""
        return len(self._connections)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        if self._server is None:
            raise RuntimeError("the server is not started")
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self, host: str, port: int) -> None:
        """Listen.

        Raises:
            OSError: the address is taken or not this machine's.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self.protocol_factory(loop.time), host, port, backlog=_BACKLOG
        )
        self._sweep = loop.call_later(_SWEEP_S, self._end_slow_connections, loop)

    def protocol_factory(self, now: Callable[[], float]) -> Callable[[], asyncio.BaseProtocol]:
        """Return what makes the protocol of each connection."""
        opened = self._opener(now)

        def make() -> asyncio.BaseProtocol:
            if len(self._connections) >= self._max_connections:
                return _Refusal()
            connection = opened()
            if self._ending:
                connection.announce_end()
            return connection  # type: ignore[return-value]  # every connection is a protocol of asyncio besides

        return make

    def _end_slow_connections(self, loop: asyncio.AbstractEventLoop) -> None:
        # One timer for all instead of one per request, which would cost every request two timer operations.
        for connection in list(self._connections):
            connection.expire(loop.time())
        self._sweep = loop.call_later(_SWEEP_S, self._end_slow_connections, loop)

    def announce_end(self) -> None:
        """Go on accepting and answering, but send clients away with each answer.

        A connection that is merely closed may lose a request that is on its way.
        """
        self._ending = True
        for connection in list(self._connections):
            connection.announce_end()

    async def drain(self, timeout_s: float) -> bool:
        """Stop accepting, answer what is asked, close; return False if some had to be cut off."""
        if self._server is None:
            return True
        self._server.close()
        for connection in list(self._connections):
            connection.finish()
        finished = await self._await_no_connections(timeout_s)
        for connection in list(self._connections):
            connection.abort()
        if self._sweep is not None:
            self._sweep.cancel()
        return finished

    async def _await_no_connections(self, timeout_s: float) -> bool:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + timeout_s
        while self._connections:
            if loop.time() >= end_s:
                return False
            await asyncio.sleep(0.01)
        return True


class _Refusal(asyncio.Protocol):
    """Closes a connection that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
