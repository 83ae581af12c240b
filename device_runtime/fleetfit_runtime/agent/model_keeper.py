"""Keeps one deployment's model on the node: fetch, load, swap in, try again; the old variant answers until then.

A keeper has one task at a time, for the assignment it was last given. Whatever fails, what serves goes on serving.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fleetfit_api.node_inference import Assignment, ModelPhase
from fleetfit_api.reasons import Reason
from fleetfit_kube.backoff import Backoff

from fleetfit_runtime.engine.engine import Engine, LoadOrder
from fleetfit_runtime.engine.model_table import ModelTable
from fleetfit_runtime.engine.served_model import ServedModel
from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.store.blobs import BlobStore
from fleetfit_runtime.store.fetch import Fetcher, Wanted

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeeperTools:
    """What all keepers of a node share.

    Attributes:
        store: the model files.
        fetcher: brings files into it.
        engine: loads them.
        table: what answers requests.
        may_load: set once nothing is timed any more that a load would disturb.
        changed: called after every change of a keeper's state.
        rng: source of jitter.
        retry_first_s: first delay after a transient failure.
        retry_cap_s: longest delay.
    """

    store: BlobStore
    fetcher: Fetcher
    engine: Engine
    table: ModelTable
    may_load: asyncio.Event
    changed: Callable[[], None]
    rng: random.Random
    retry_first_s: float = 1.0
    retry_cap_s: float = 120.0


class ModelKeeper:
    """Drives one model.

    Args:
        tools: what keepers share.
        last_good: the assignment that served before a restart, if any.
    """

    def __init__(self, tools: KeeperTools, last_good: Assignment | None = None) -> None:
        self._tools = tools
        self._task: asyncio.Task[None] | None = None
        self.assignment: Assignment | None = None
        self.last_good = last_good
        self.served: ServedModel | None = None
        self.phase = ModelPhase.PENDING
        self.reason: str = Reason.PENDING
        self.message = ""

    @property
    def settled(self) -> bool:
        """Tell whether the model serves, or cannot now: nothing is gained by waiting for it."""
        return (
            self.served is not None
            or self.phase is ModelPhase.FAILED
            or self.reason in (Reason.UNREACHABLE_SOURCE, Reason.DISK_FULL, Reason.INTERNAL_ERROR)
        )

    def want(self, assignment: Assignment) -> None:
        """Take an assignment; the same content again changes nothing, unless it failed and was assigned anew."""
        before, self.assignment = self.assignment, assignment
        if before is not None and _content(before) == _content(assignment):
            assigned_anew = before.assigned_at != assignment.assigned_at
            if not (self.phase is ModelPhase.FAILED and assigned_anew):
                return
        self._begin(assignment)

    def refuse(self, assignment: Assignment, reason: Reason, message: str) -> None:
        """Report an assignment as failed without trying it."""
        self.assignment = assignment
        self._cancel()
        self._set(ModelPhase.FAILED, reason, message)

    async def close(self) -> None:
        """Stop driving; what serves is taken off the table."""
        task = self._task
        self._cancel()
        if task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self.served is not None:
            self._withdraw(self.served)
            self.served = None

    def _begin(self, assignment: Assignment) -> None:
        self._cancel()
        if self.served is not None and _same_model(self.served, assignment):
            # A change that was taken back before it was done: what serves is what is wanted.
            self._set(ModelPhase.READY, Reason.SERVING)
            return
        self._set(ModelPhase.PENDING, Reason.PENDING)
        name = f"keeper-{assignment.namespace}/{assignment.deployment}"
        self._task = asyncio.get_running_loop().create_task(self._drive(assignment), name=name)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _drive(self, assignment: Assignment) -> None:
        await self._tools.may_load.wait()
        if not self._tools.store.has(assignment.sha256):
            await self._serve_last_good(assignment)
        backoff = Backoff(self._tools.rng, self._tools.retry_first_s, self._tools.retry_cap_s)
        while True:
            try:
                await self._attempt(assignment)
            except ModelFailure as failure:
                if not failure.transient:
                    self._fail(failure)
                    await self._serve_last_good(assignment)
                    return
                self._set(ModelPhase.DOWNLOADING, failure.reason, failure.message)
                logger.warning("model not fetched, trying again", extra=self._log_values(failure))
                await self._serve_last_good(assignment)
                await asyncio.sleep(backoff.next_s())
            except Exception as error:
                # The edge of a worker: an unforeseen error must reach the status, not end the node's other models.
                logger.exception("model keeper failed", extra=self._log_values())
                self._fail(ModelFailure(Reason.INTERNAL_ERROR, f"{type(error).__name__}: {error}"))
                return
            else:
                return

    async def _attempt(self, assignment: Assignment) -> None:
        if self.reason == Reason.PENDING:
            self._set(ModelPhase.DOWNLOADING, Reason.DOWNLOADING)
        wanted = Wanted(assignment.uri, assignment.sha256, assignment.size_bytes)
        path = await self._tools.fetcher.ensure(wanted)
        self._set(ModelPhase.LOADING, Reason.LOADING)
        order = LoadOrder(assignment.model_name, assignment.variant, assignment.sha256, path)
        self._serve(await self._load(order), assignment)
        self._set(ModelPhase.READY, Reason.SERVING)

    async def _load(self, order: LoadOrder) -> ServedModel:
        try:
            return await self._tools.engine.load(order)
        except ModelFailure as failure:
            if await self._verified_path(order.sha256) is not None:
                raise
            # Not the model's fault, and another attempt fetches it again.
            message = f"the model's file vanished from the store or became unreadable: {failure.message}"
            raise ModelFailure(Reason.INTERNAL_ERROR, message, transient=True) from failure

    async def _verified_path(self, sha256: str) -> Path | None:
        """Return the path of a good file; None without one and where the disk does not say."""
        try:
            return await asyncio.to_thread(self._tools.store.verified_path, sha256)
        except OSError as error:
            logger.warning("model file cannot be read", extra={**self._log_values(), "error": str(error)})
            return None

    async def _serve_last_good(self, assignment: Assignment) -> None:
        """Let what worked before a restart answer, while the wanted variant is not to be had."""
        good = self.last_good
        if self.served is not None or good is None or _content(good) == _content(assignment):
            return
        path = await self._verified_path(good.sha256)
        if path is None:
            return
        try:
            order = LoadOrder(assignment.model_name, good.variant, good.sha256, path)
            self._serve(await self._load(order), good)
        except ModelFailure as failure:
            logger.warning("last good variant no longer loads", extra=self._log_values(failure))
        self._tools.changed()

    def _serve(self, model: ServedModel, assignment: Assignment) -> None:
        before = self.served
        self._tools.table.put(model)
        self.served = model
        self.last_good = assignment
        if before is not None and before.name != model.name:
            self._withdraw(before)
        logger.info("model serves", extra={**self._log_values(), "provider": model.provider})

    def _withdraw(self, model: ServedModel) -> None:
        # Another deployment may have taken the name over.
        if self._tools.table.get(model.name) is model:
            self._tools.table.remove(model.name)

    def _fail(self, failure: ModelFailure) -> None:
        self._set(ModelPhase.FAILED, failure.reason, failure.message)
        logger.error("model failed", extra=self._log_values(failure))

    def _set(self, phase: ModelPhase, reason: Reason, message: str = "") -> None:
        self.phase, self.reason, self.message = phase, reason, message
        self._tools.changed()

    def _log_values(self, failure: ModelFailure | None = None) -> dict[str, str]:
        assignment = self.assignment
        values = {}
        if assignment is not None:
            values = {
                "namespace": assignment.namespace,
                "deployment": assignment.deployment,
                "variant": assignment.variant,
            }
        if failure is not None:
            values |= {"reason": failure.reason, "error": failure.message}
        return values


def _content(assignment: Assignment) -> tuple[str, str, str, str, int]:
    return (
        assignment.model_name,
        assignment.variant,
        assignment.sha256,
        assignment.uri,
        assignment.size_bytes,
    )


def _same_model(served: ServedModel, assignment: Assignment) -> bool:
    wanted = (assignment.model_name, assignment.variant, assignment.sha256)
    return (served.name, served.variant, served.sha256) == wanted
