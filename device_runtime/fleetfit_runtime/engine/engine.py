"""Loads models off the event loop, one at a time so that a warm-up is not disturbed by another load."""

import asyncio
import logging
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from fleetfit_api.model_status import Measured
from fleetfit_api.reasons import Reason

from fleetfit_runtime.engine.batch_proof import BatchRule, prove_batching
from fleetfit_runtime.engine.flight_record import Mark
from fleetfit_runtime.engine.lane import Lane
from fleetfit_runtime.engine.memory_budget import MemoryBudget
from fleetfit_runtime.engine.model_guard import GuardTools, ModelGuard
from fleetfit_runtime.engine.model_session import ModelSession
from fleetfit_runtime.engine.run_watch import RunLimit
from fleetfit_runtime.engine.served_model import INLINE_S, ServedModel
from fleetfit_runtime.engine.session import OnnxRuntime
from fleetfit_runtime.engine.warm_up import WarmUp, warm_up
from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.probe.node_probe import NodeProbe
from fleetfit_runtime.probe.process_memory import LoadFootprint, release_free_memory

logger = logging.getLogger(__name__)

T = TypeVar("T")

_MOST_QUEUED: Final = 1024


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """What to load and what it will be called.

    Attributes:
        name: name in the Open Inference Protocol.
        variant: name of the variant.
        sha256: digest of the graph.
        path: where the graph is.
        attempt: what the flight record calls the load, and the runs of what was loaded.
        files: digest of all files of the model.
        file_bytes: their size.
    """

    name: str
    variant: str
    sha256: str
    path: Path
    attempt: str = ""
    files: str = ""
    file_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Loaded:
    model: ModelSession
    warm_up: WarmUp
    batches: BatchRule
    memory_bytes: int


class Engine:
    """Turns files into served models.

    Args:
        runtime: builds the sessions.
        max_waiting_requests: capacity of each model's queue.
        on_loaded: told the seconds that a load took, by model name.
        probe: looks at the node while a model is timed.
        guards: what guards the models.
        memory: how much all models may take.
    """

    def __init__(
        self,
        runtime: OnnxRuntime,
        max_waiting_requests: int,
        on_loaded: Callable[[str, float], None] = lambda _name, _seconds: None,
        probe: NodeProbe | None = None,
        guards: GuardTools | None = None,
        memory: MemoryBudget | None = None,
    ) -> None:
        self._runtime = runtime
        self._probe = probe or NodeProbe()
        self._max_waiting = max_waiting_requests
        self._on_loaded = on_loaded
        self._guards = guards or GuardTools()
        self.memory = memory or MemoryBudget()
        self._loader = Lane("loader", _MOST_QUEUED)

    async def load(self, order: LoadOrder, replaced_ticket: int = 0) -> ServedModel:
        """Load, prove and warm up a model; it does not answer requests before it is put in the table.

        Args:
            order: the model.
            replaced_ticket: the place in the memory budget of the variant that it replaces, 0 for none.

        Raises:
            MemoryShort: it does not fit beside the other models.
            ModelFailure: the file cannot be loaded or run here, or its load does not end.
        """
        memory = self.memory
        need_bytes = memory.footprints.estimate(order.files, order.file_bytes or order.path.stat().st_size)
        ticket = memory.reserve(order.name, need_bytes, memory.taken_bytes(replaced_ticket))
        try:
            served = await self._load_reserved(order, ticket)
        except BaseException:
            memory.release(ticket)
            raise
        memory.settle(ticket, served.memory_bytes)
        memory.release_with(served, ticket, asyncio.get_running_loop())
        return served

    async def _load_reserved(self, order: LoadOrder, ticket: int) -> ServedModel:
        begun = time.monotonic()
        loaded = await self._load_in_time(order)
        self._on_loaded(order.name, time.monotonic() - begun)
        measured, elements = loaded.warm_up.measured, loaded.warm_up.input_elements
        limit = RunLimit(measured.latency_p95_seconds, elements, self._guards.least_s)
        guard = ModelGuard(order.name, order.attempt, loaded.model, limit, self._guards)
        served = ServedModel(
            name=order.name,
            variant=order.variant,
            sha256=order.sha256,
            model=loaded.model,
            warm_up=measured,
            warm_up_elements=elements,
            batches=loaded.batches,
            guard=guard,
            capacity=self._max_waiting,
            memory_bytes=loaded.memory_bytes,
            memory_ticket=ticket,
        )
        weakref.finalize(served, guard.release).atexit = False
        return served

    async def time_again(self, served: ServedModel) -> Measured:
        """Time a loaded model anew, between loads; requests that come meanwhile are answered beside it.

        Raises:
            ModelFailure: the model cannot be run any more, or not to an end.
        """

        def work() -> Measured:
            with served.guard.at_work():
                return warm_up(served.model, self._probe.begin()).measured

        # What is long for one run is longer than all that a timing does.
        limit_s = served.guard.in_thread.limit.seconds({})
        message = f"timing this variant again did not end within {limit_s:.3g} s"
        served.warm_up = await self._in_time(work, limit_s, message)
        return served.warm_up

    async def run_undisturbed(self, function: Callable[[], T]) -> T:
        """Run a function between loads, for timings."""
        return await self._loader.submit(function)

    def close(self) -> None:
        """End the loader thread after what it is doing."""
        self._loader.close()
        self._guards.watchdog.close()

    async def _load_in_time(self, order: LoadOrder) -> _Loaded:
        limit_s = self._guards.longest_load_s
        message = (
            f"the load of this variant did not end within {limit_s:.3g} s; assign another one, "
            "or raise FLEETFIT_LONGEST_LOAD_SECONDS where compiling it takes that long"
        )
        return await self._in_time(lambda: self._load(order), limit_s, message)

    async def _in_time(self, function: Callable[[], T], limit_s: float, message: str) -> T:
        """Run a function in the loader's thread; let it go there, and go on in another one, if it does not end."""
        loop, begun = asyncio.get_running_loop(), asyncio.Event()

        def work() -> T:
            loop.call_soon_threadsafe(begun.set)
            return function()

        future = self._loader.submit(work)
        await begun.wait()  # What other models have it do does not count.
        try:
            async with asyncio.timeout(limit_s):
                return await future
        except TimeoutError as error:
            self._loader.abandon_run(error)
            raise ModelFailure(Reason.MODEL_HANGS, message) from error

    def _load(self, order: LoadOrder) -> _Loaded:
        with self._guards.record.at_work(order.attempt, Mark.LOADING):
            footprint = LoadFootprint()
            model, warmed = self._load_warm(order)
            memory_bytes = footprint.added_bytes(order.path.stat().st_size)
            self.memory.footprints.learn(order.files, memory_bytes)
            batches = prove_batching(model, warmed.inputs, INLINE_S)
            if model.compiled is not None:
                model.compiled.keep()  # Only now: some providers compile at the first run.
            # Building a session takes its model's size twice over, and the C library would keep what it was given back.
            release_free_memory()
            return _Loaded(model, warmed, batches, memory_bytes)

    def _load_warm(self, order: LoadOrder) -> tuple[ModelSession, WarmUp]:
        model = self._runtime.load(order.path, order.files, order.file_bytes)
        try:
            return model, warm_up(model, self._probe.begin())
        except ModelFailure as failure:
            if model.compiled is None or not model.compiled.folder.was_whole:
                raise
            logger.warning(
                "model does not run as it was compiled before, compiling it anew",
                extra={"model": order.name, "error": failure.message},
            )
            model.compiled.clear()
        # After the except clause: what the error holds on to would keep the old session in memory.
        model = self._runtime.load(order.path, order.files, order.file_bytes)
        return model, warm_up(model, self._probe.begin())
