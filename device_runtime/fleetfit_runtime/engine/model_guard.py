"""What guards one loaded model: a watch for each place where it runs, and what follows when a run hangs.

In the model's own thread a hang concerns the model alone: its waiting requests are refused, and whoever keeps it is
told to replace it. On the event loop it concerns the node: where the run cannot be ended, the process must be.

Watches hold the session's memory, so nothing here may hold them in a circle: it would outlive the model's last request.
"""

import asyncio
import contextlib
import logging
import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from fleetfit_runtime.engine.flight_record import FlightRecord, Mark
from fleetfit_runtime.engine.model_session import ModelSession
from fleetfit_runtime.engine.run_watch import LEAST_S, RunLimit, RunRefused, RunWatch
from fleetfit_runtime.engine.watchdog import Watchdog

logger = logging.getLogger(__name__)

# Tells a process that ended itself from one that crashed; sysexits.h calls it EX_SOFTWARE.
EXIT_HANGS: Final = 70
# Compiling a large model for an accelerator takes a quarter of an hour on a small board.
LONGEST_LOAD_S: Final = 3600.0


def end_process(status: int = EXIT_HANGS) -> None:
    """End the process at once, without waiting for what hangs in native code."""
    for handler in logging.getLogger().handlers:
        handler.flush()
    os._exit(status)


@dataclass(frozen=True, slots=True)
class GuardTools:
    """What the guards of all models share.

    Attributes:
        record: where runs are marked.
        watchdog: looks for runs that do not end.
        least_s: no run is told to end before this.
        longest_load_s: a load with its warm-up that takes longer counts as hanging.
        end: ends the process.
    """

    record: FlightRecord = field(default_factory=FlightRecord)
    watchdog: Watchdog = field(default_factory=Watchdog)
    least_s: float = LEAST_S
    longest_load_s: float = LONGEST_LOAD_S
    end: Callable[[], None] = end_process


class Guarded(Protocol):
    """What is told, on the event loop, of runs in the model's thread."""

    def late(self, why: RunRefused) -> None:
        """A run takes too long and is being told to end."""

    def over(self) -> None:
        """It has ended."""

    def hang(self, why: RunRefused) -> None:
        """It has not."""


class ModelGuard:
    """Guards one model.

    Args:
        name: its name.
        key: what the flight record calls it.
        model: its session.
        limit: how long a run may take.
        tools: what guards share.
    """

    def __init__(self, name: str, key: str, model: ModelSession, limit: RunLimit, tools: GuardTools) -> None:
        self._record = tools.record
        self._key = key
        self._loop = asyncio.get_running_loop()
        self.in_thread = RunWatch(model.run_with, model.new_options(), tools.record.slot(key), limit)
        self.on_loop = RunWatch(model.run_with, model.new_options(), tools.record.slot(key), limit)
        self.on_loop.on_hang = partial(_end, tools.end)
        for watch in (self.in_thread, self.on_loop):
            tools.watchdog.add(name, watch)

    def tell(self, model: Guarded) -> None:
        """Say who is told; it is not held."""
        tell = partial(_tell, self._loop, weakref.ref(model))
        self.in_thread.on_late = partial(tell, "late")
        self.in_thread.on_over = partial(tell, "over")
        self.in_thread.on_hang = partial(tell, "hang")

    def at_work(self) -> contextlib.AbstractContextManager[None]:
        """Mark the model as running for as long as the context lasts, for runs that nobody asked for."""
        return self._record.at_work(self._key, Mark.RUNNING)

    def release(self) -> None:
        """Give the places in the flight record back, but for one whose run is still there."""
        for watch in (self.in_thread, self.on_loop):
            if watch.inputs is None:
                self._record.release(watch.slot)


def _end(end: Callable[[], None], why: RunRefused) -> None:
    logger.critical("the event loop hangs in a model, ending the process", extra={"error": str(why)})
    end()


def _tell(
    loop: asyncio.AbstractEventLoop, model: "weakref.ref[Guarded]", what: str, *arguments: RunRefused
) -> None:
    def call() -> None:
        alive = model()
        if alive is not None:
            getattr(alive, what)(*arguments)

    with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
        loop.call_soon_threadsafe(call)
