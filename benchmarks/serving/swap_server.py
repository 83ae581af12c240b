"""A server whose model is loaded anew and swapped in at a signal.

Engine, table, service and sockets are put together as the runtime does it, but without an agent, which would wait for a
control plane to order the swap.
"""

import asyncio
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop
from fleetfit_runtime.engine.engine import Engine, LoadOrder
from fleetfit_runtime.engine.model_table import ModelTable
from fleetfit_runtime.engine.session import OnnxRuntime
from fleetfit_runtime.ratings.ask import Asker
from fleetfit_runtime.ratings.desk import RatingDesk
from fleetfit_runtime.ratings.journal import RatingJournal
from fleetfit_runtime.serve.http_limits import HttpLimits
from fleetfit_runtime.serve.node_side import Readiness
from fleetfit_runtime.serve.repository_calls import ModelState
from fleetfit_runtime.serve.server import InferenceServer
from fleetfit_runtime.serve.service import InferenceService, ServiceTerms
from fleetfit_runtime.telemetry.request_counts import RequestCounts

_CAPACITY = 128


class _Node:
    """A node with one model that nobody assigns."""

    def __init__(self, models: ModelTable) -> None:
        self._models = models

    def readiness(self) -> Readiness:
        return Readiness(ready=len(self._models) > 0)

    def pending_reason(self, model_name: str) -> str | None:  # noqa: ARG002 - the protocol's signature
        return None

    def ask_share(self, model_name: str) -> float:  # noqa: ARG002 - the protocol's signature
        return 0.0

    def model_states(self) -> Sequence[ModelState]:
        return ()

    def load_model(self, name: str) -> bool:  # noqa: ARG002 - the protocol's signature
        return False

    def unload_model(self, name: str) -> bool:  # noqa: ARG002 - the protocol's signature
        return False


async def _serve(port: int, name: str, path: Path, directory: Path) -> None:
    table, counts, wanted = ModelTable(), RequestCounts(), asyncio.Event()
    engine = Engine(OnnxRuntime(["CPUExecutionProvider"], 1), _CAPACITY, counts.loaded)
    asker = Asker(random.Random(1), time.monotonic)  # noqa: S311 - no secret
    desk = RatingDesk(RatingJournal(directory), asker, (), time.time)
    service = InferenceService(
        table, _Node(table), desk, lambda _accept: (b"", "text/plain"), counts, ServiceTerms("bench")
    )
    server = InferenceServer(service.handle, HttpLimits(), 256)
    await server.start("127.0.0.1", port)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, wanted.set)
    version = 0
    while True:
        version += 1
        table.put(await engine.load(LoadOrder(name, f"v{version}", "", path)))
        await wanted.wait()
        wanted.clear()


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory() as scratch,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(_serve(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Path(scratch)))
