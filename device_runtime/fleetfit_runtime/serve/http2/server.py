"""The server of HTTP/2."""

from collections.abc import Callable

from fleetfit_runtime.serve.connection_server import ConnectionServer
from fleetfit_runtime.serve.http2.connection import Http2Connection, Http2Limits, OpenStream


class Http2Server(ConnectionServer[Http2Connection]):
    """Serves streams over HTTP/2 without TLS.

    Args:
        open_stream: returns the reader of a request.
        limits: what one client may take.
        max_connections: open connections; further ones are closed at once.
    """

    def __init__(self, open_stream: OpenStream, limits: Http2Limits, max_connections: int) -> None:
        super().__init__(max_connections)
        self._open_stream = open_stream
        self._limits = limits

    def _opener(self, now: Callable[[], float]) -> Callable[[], Http2Connection]:
        return lambda: Http2Connection(self._open_stream, self._limits, self._connections, now)
