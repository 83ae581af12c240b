"""Runs kopf in a thread and event loop of its own.

kopf cancels tasks that it did not start and watches on the loop that it is in; in a thread of its own neither planning
nor a reflector can stand in its way, nor it in theirs. It knows only how to log in and whom to tell.
"""

import asyncio
import logging
import threading
from collections.abc import Callable

import aiohttp
import kopf
from fleetfit_api.names import FINALIZER, GROUP
from fleetfit_kube import Connection

from fleetfit_operator.handlers import register_handlers

logger = logging.getLogger(__name__)


class KopfThread:
    """kopf with its handlers.

    Args:
        connection: How to reach the API server.
        on_declared: Called in the thread when something that users declare has changed.
        on_end: Called in the thread when kopf has ended, with the error or None.
    """

    def __init__(
        self,
        connection: Connection,
        on_declared: Callable[[], None],
        on_end: Callable[[BaseException | None], None],
    ) -> None:
        self._connection = connection
        self._on_declared = on_declared
        self._on_end = on_end
        self._stop = threading.Event()
        # A daemon: the process must end at once when it loses the Lease.
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Ask kopf to end and wait for it, but no longer than the timeout."""
        self._stop.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._operate())
        except BaseException as raised:
            # Whatever ends kopf must end the process, and that is decided where the thread was started.
            error = raised
        finally:
            # Without it the loop's executor waits for this flag for ever.
            self._stop.set()
            self._on_end(error)

    async def _operate(self) -> None:
        registry = kopf.OperatorRegistry()
        register_handlers(registry, self._on_declared)
        connection = self._connection

        async def login(**_: object) -> kopf.AiohttpSession:
            return kopf.AiohttpSession(
                server=connection.server,
                default_namespace=connection.namespace,
                aiohttp_session=_session(connection),
            )

        kopf.on.login(id="fleetfit", registry=registry)(login)
        await kopf.operator(
            registry=registry,
            settings=kopf_settings(),
            standalone=True,
            clusterwide=True,
            stop_flag=self._stop,
        )


def kopf_settings() -> kopf.OperatorSettings:
    """Return kopf's settings."""
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True  # our kinds are installed before the operator and stay
    settings.posting.enabled = False  # events are written by `apply`, once per change
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.watching.reconnect_backoff = 1
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.queueing.idle_timeout = 1  # a task per object lives this long after its last event
    settings.queueing.exit_timeout = 0.5
    settings.process.ultimate_exiting_timeout = 60
    # No handler makes kopf write to an object. Should one ever, it must be under our name: a later change of these
    # would make every object look new.
    settings.persistence.finalizer = FINALIZER
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP, v1=False)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP, v1=False)
    return settings


def _session(connection: Connection) -> aiohttp.ClientSession:
    async def authenticate(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        # Per request: the token is replaced while the session lives.
        if connection.credentials is not None:
            request.headers["Authorization"] = f"Bearer {connection.credentials.token()}"
        return await handler(request)

    connector = aiohttp.TCPConnector(ssl=connection.ssl_context or False, limit=0)
    return aiohttp.ClientSession(connector=connector, middlewares=(authenticate,))
