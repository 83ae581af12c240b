"""How much memory all models of the node may take together, and whether one more fits.

A load is checked before it begins: a process that runs out of memory is killed, and takes all models with it. What a
model takes is known from its last load on this node, else estimated from the size of its files. The figures are the
process's own (see `LoadFootprint`); memory of a device is not in them.
"""

import asyncio
import contextlib
import json
import logging
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fleetfit_api.reasons import Reason

from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.store.atomic_file import write_atomically

logger = logging.getLogger(__name__)

# The rest is for requests, answers and the runtime itself.
SHARE: Final = 0.8
# A load holds the file, the graph and its prepared weights for a moment at the same time.
TIMES_FILE: Final = 2.5
LEAST_BYTES: Final = 8 << 20
_MOST_KNOWN: Final = 256
_MIB: Final = 1 << 20


def default_budget_bytes(limit_bytes: int, available_bytes: int) -> int:
    """Return the budget for a limit of the process's memory and what the machine has free; 0, no budget, if unknown."""
    known = [each for each in (limit_bytes, available_bytes) if each > 0]
    return int(SHARE * min(known)) if known else 0


class MemoryShort(ModelFailure):
    """A model does not fit beside the others.

    Args:
        message: the figures.
        fits_alone: whether it would without the variant that it replaces.
    """

    def __init__(self, message: str, *, fits_alone: bool) -> None:
        super().__init__(Reason.INSUFFICIENT_MEMORY, message)
        self.fits_alone = fits_alone


class Footprints:
    """What loads of files took on this node, by the key of the files.

    Args:
        path: where it is kept over restarts; None forgets.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[str, int] = {}
        if path is not None:
            with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
                self._known = {str(key): int(value) for key, value in json.loads(path.read_text()).items()}

    def estimate(self, key: str, file_bytes: int) -> int:
        """Return the bytes that a load will take."""
        known = self._known.get(key)
        return known if known else int(TIMES_FILE * file_bytes) + LEAST_BYTES

    def learn(self, key: str, taken_bytes: int) -> None:
        """Remember what a load took; blocks."""
        if taken_bytes <= 0 or self._known.get(key) == taken_bytes:
            return
        self._known.pop(key, None)
        self._known[key] = taken_bytes
        for oldest in list(self._known)[:-_MOST_KNOWN]:
            del self._known[oldest]
        if self._path is not None:
            try:
                write_atomically(self._path, json.dumps(self._known).encode())
            except OSError as error:
                logger.warning("footprints of models cannot be written down", extra={"error": str(error)})


class MemoryBudget:
    """What models take; used on the event loop.

    Args:
        total_bytes: most that all models may take; 0 for no limit.
        footprints: what loads took before.
    """

    def __init__(self, total_bytes: int = 0, footprints: Footprints | None = None) -> None:
        self.total_bytes = total_bytes
        self.footprints = footprints or Footprints()
        self._held: dict[int, int] = {}
        self._next = 0
        self._freed = asyncio.Event()

    @property
    def held_bytes(self) -> int:
        """What models take that are loaded or being loaded."""
        return sum(self._held.values())

    def reserve(self, name: str, need_bytes: int, replaced_bytes: int = 0) -> int:
        """Set memory aside for a load and return its ticket.

        Args:
            name: name of the model, for the message.
            need_bytes: what it will take.
            replaced_bytes: what the variant takes that it replaces.

        Raises:
            MemoryShort: it does not fit.
        """
        free_bytes = self.total_bytes - self.held_bytes
        if self.total_bytes and need_bytes > free_bytes:
            message = (
                f"model {name!r} needs about {_mib(need_bytes)} of memory, but of the {_mib(self.total_bytes)} "
                f"that all models may take {_mib(self.held_bytes)} are taken, {_mib(replaced_bytes)} of them by the "
                "variant that it replaces; assign a smaller variant or fewer models, or raise "
                "FLEETFIT_MODEL_MEMORY_BYTES"
            )
            raise MemoryShort(
                message, fits_alone=replaced_bytes > 0 and need_bytes <= free_bytes + replaced_bytes
            )
        self._next += 1
        self._held[self._next] = need_bytes
        return self._next

    def settle(self, ticket: int, taken_bytes: int) -> None:
        """Put what a load really took in the place of its estimate; 0, unknown, leaves the estimate."""
        if taken_bytes > 0:
            self._held[ticket] = taken_bytes

    def taken_bytes(self, ticket: int) -> int:
        """Return what a ticket stands for."""
        return self._held.get(ticket, 0)

    def release(self, ticket: int) -> None:
        """Give back what a ticket stands for."""
        if self._held.pop(ticket, None) is not None:
            self._freed.set()

    def release_with(self, model: object, ticket: int, loop: asyncio.AbstractEventLoop) -> None:
        """Give it back when the model is gone, in whichever thread its last request ends."""
        weakref.finalize(model, _release_on, loop, self.release, ticket).atexit = False

    async def freed(self, ticket: int) -> None:
        """Wait until a ticket was given back."""
        while ticket in self._held:
            self._freed.clear()
            await self._freed.wait()


def _release_on(loop: asyncio.AbstractEventLoop, release: Callable[[int], None], ticket: int) -> None:
    with contextlib.suppress(RuntimeError):  # The loop is closed: nobody counts any more.
        loop.call_soon_threadsafe(release, ticket)


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / _MIB:.0f} MiB"
