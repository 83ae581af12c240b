"""How things stand on the node at scrape time, under the names of their metrics. Pure."""

from collections.abc import Callable
from typing import Final

STORE_BYTES: Final = "fleetfit_runtime_store_bytes"
STORE_FREE_BYTES: Final = "fleetfit_runtime_store_free_bytes"
READY: Final = "fleetfit_runtime_ready"
CONNECTIONS: Final = "fleetfit_runtime_open_connections"


class Gauges:
    """Callables that say how things stand at scrape time.

    Args:
        ready: whether the server is ready.
        connections: open connections.
        store_bytes: bytes in the model store.
        store_free_bytes: free bytes of its file system.
    """

    def __init__(
        self,
        *,
        ready: Callable[[], bool],
        connections: Callable[[], int],
        store_bytes: Callable[[], int],
        store_free_bytes: Callable[[], int],
    ) -> None:
        self.by_name: dict[str, tuple[str, Callable[[], float]]] = {
            READY: ("1 when the server accepts traffic.", ready),
            CONNECTIONS: ("Open connections.", connections),
            STORE_BYTES: ("Bytes of model files on the node.", store_bytes),
            STORE_FREE_BYTES: ("Free bytes of the model store's file system.", store_free_bytes),
        }
