"""Fetches what the node will probably run next while it waits for its turn, so that the switch needs no download.

It comes last: nothing is fetched while a model that is assigned is on its way, and only what fits beside everything
that is needed. Whatever fails here is logged, and tried again while that may help; it changes no model's state, since
nothing depends on it yet.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass

from fleetfit_api.reasons import Reason
from fleetfit_kube.backoff import Backoff

from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.store.blobs import BlobStore
from fleetfit_runtime.store.model_files import ModelFiles, WantedModel
from fleetfit_runtime.store.uri import redacted

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PrefetchTools:
    """What pre-fetching works with.

    Attributes:
        store: the files on the disk.
        files: brings those of a model into it.
        may_load: set once nothing is timed any more that a download would disturb.
        rng: source of jitter.
        retry_first_s: first delay after a failure that may pass.
        retry_cap_s: longest delay.
    """

    store: BlobStore
    files: ModelFiles
    may_load: asyncio.Event
    rng: random.Random
    retry_first_s: float = 30.0
    retry_cap_s: float = 600.0


class Prefetcher:
    """Fetches models one after the other while it may.

    Args:
        tools: what it works with.
    """

    def __init__(self, tools: PrefetchTools) -> None:
        self._tools = tools
        self._models: tuple[WantedModel, ...] = ()
        self._allowed = False
        self._task: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    def want(self, models: Sequence[WantedModel]) -> None:
        """Take what to fetch, the most urgent first; what was wanted before and is not now is given up."""
        wanted = tuple(models)
        if wanted != self._models:
            self._models = wanted
            self._tools.store.expect(digest for model in wanted for digest in model.digests)
            self._restart()

    def allow(self, allowed: bool) -> None:
        """Fetch from now on, or stop in the middle: what has come of a file stays for the next time."""
        if allowed != self._allowed:
            self._allowed = allowed
            self._restart()

    async def close(self) -> None:
        """Stop."""
        self._models = ()
        self._restart()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _restart(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._allowed and self._models:
            self._task = asyncio.get_running_loop().create_task(self._fetch(self._models), name="prefetch")
            self._ending.add(self._task)
            self._task.add_done_callback(self._ending.discard)

    async def _fetch(self, models: Sequence[WantedModel]) -> None:
        await self._tools.may_load.wait()
        backoff = Backoff(self._tools.rng, self._tools.retry_first_s, self._tools.retry_cap_s)
        left = list(models)
        while left:
            left = [model for model in left if not await self._is_done_with(model)]
            if left:
                await asyncio.sleep(backoff.next_s())

    async def _is_done_with(self, model: WantedModel) -> bool:
        """Fetch a model; return whether there is nothing more to do for it."""
        if self._tools.files.has(model):
            return True
        shown = {"uri": redacted(model.graph.uri)}
        if not await asyncio.to_thread(self._fits, model):
            logger.info("model not fetched ahead: the store has no room to spare", extra=shown)
            return True
        try:
            await self._tools.files.fetch(model)
        except ModelFailure as failure:
            logger.info("model not fetched ahead", extra={**shown, "error": failure.message})
            return not failure.transient or failure.reason == Reason.DISK_FULL
        except Exception:
            # The edge of a worker: nothing depends on what it fetches.
            logger.exception("fetching ahead failed", extra=shown)
            return True
        logger.info("model fetched ahead", extra=shown)
        return True

    def _fits(self, model: WantedModel) -> bool:
        missing_bytes = sum(
            self._tools.store.missing_bytes(each.sha256, each.size_bytes) for each in model.files
        )
        with contextlib.suppress(OSError):
            return self._tools.store.has_room_to_spare(missing_bytes)
        return False
