"""The server of REST."""

from collections.abc import Callable

from fleetfit_runtime.serve.connection_server import ConnectionServer
from fleetfit_runtime.serve.http_connection import Handler, HttpConnection
from fleetfit_runtime.serve.http_limits import HttpLimits
from fleetfit_runtime.serve.http_reader import ReadingSide, Refuse, take_all


class InferenceServer(ConnectionServer[HttpConnection]):
    """Serves a handler over HTTP.

    Args:
        handler: answers requests.
        limits: what one client may take.
        max_connections: open connections; further ones are closed at once.
        refuse: answers requests that will not be taken before their bodies are read.
    """

    def __init__(
        self, handler: Handler, limits: HttpLimits, max_connections: int, refuse: Refuse = take_all
    ) -> None:
        super().__init__(max_connections)
        self._handler = handler
        self._limits = limits
        self._refuse = refuse

    def _opener(self, now: Callable[[], float]) -> Callable[[], HttpConnection]:
        shared = ReadingSide(self._limits, now, self._refuse)
        return lambda: HttpConnection(self._handler, shared, self._connections)
