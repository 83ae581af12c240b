"""Executes many writes with bounded concurrency; one that fails does not hold up the others."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from fleetfit_kube.errors import ApiError, NotFound, TooManyRequests

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Write:
    """One write.

    Attributes:
        kind: Kind of the object, for logs and metrics.
        name: Name of the object, for logs.
        execute: Does it.
    """

    kind: str
    name: str
    execute: Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class WriteResult:
    """How many writes succeeded, and the others with their errors."""

    done: int
    failures: tuple[tuple[Write, ApiError], ...]

    @property
    def complete(self) -> bool:
        """Whether every write succeeded."""
        return not self.failures


async def execute_writes(
    writes: Iterable[Write], concurrency: int, on_outcome: Callable[[str, str], None] | None = None
) -> WriteResult:
    """Execute the writes, at most `concurrency` at the same time.

    An object that is gone meanwhile needs no write. A server that sheds load in spite of retries is not asked for the
    rest of the batch: the caller comes again later.

    Args:
        writes: What to write.
        concurrency: Largest number of simultaneous writes.
        on_outcome: Called with (kind, outcome) for every write, for metrics.
    """
    pending = iter(list(writes))
    failures: list[tuple[Write, ApiError]] = []
    done = 0
    overloaded = False

    async def work() -> None:
        nonlocal done, overloaded
        for write in pending:
            if overloaded:
                return
            outcome = await _execute(write, failures)
            overloaded = overloaded or (outcome == "error" and isinstance(failures[-1][1], TooManyRequests))
            done += outcome == "done"
            if on_outcome is not None:
                on_outcome(write.kind, outcome)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work())
    return WriteResult(done, tuple(failures))


async def _execute(write: Write, failures: list[tuple[Write, ApiError]]) -> str:
    try:
        await write.execute()
    except NotFound:
        return "gone"
    except ApiError as error:
        logger.warning("write failed", extra={"kind": write.kind, "object": write.name, "error": str(error)})
        failures.append((write, error))
        return "error"
    return "done"
