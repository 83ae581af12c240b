"""Keeps one deployment's model on the node: fetch, load, swap in, try again; the old variant answers until then.

A keeper has one task at a time, for the assignment it was last given. Whatever fails, what serves goes on serving.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from fleetfit_api.model_status import ModelPhase
from fleetfit_api.node_inference import Assignment
from fleetfit_api.reasons import Reason
from fleetfit_kube.backoff import Backoff

from fleetfit_runtime.agent.crash_book import CrashBook, attempt_of
from fleetfit_runtime.agent.wanted_model import wanted_model
from fleetfit_runtime.engine.engine import Engine, LoadOrder
from fleetfit_runtime.engine.memory_budget import MemoryShort
from fleetfit_runtime.engine.model_table import ModelTable
from fleetfit_runtime.engine.run_watch import RunRefused
from fleetfit_runtime.engine.served_model import ServedModel
from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.store.blobs import BlobStore
from fleetfit_runtime.store.model_files import ModelFiles, WantedModel
from fleetfit_runtime.store.signatures import SignatureTerms

logger = logging.getLogger(__name__)

# What may stand in a model's way for long, although it is tried again and again.
_LASTING_REASONS = (
    Reason.UNREACHABLE_SOURCE,
    Reason.DISK_FULL,
    Reason.SIGNATURE_INVALID,
    Reason.INTERNAL_ERROR,
)
# The requests that the old variant has may take this long to end before the new one gives up on its memory.
_LONGEST_DRAIN_S = 30.0


@dataclass(frozen=True, slots=True)
class KeeperTools:
    """What all keepers of a node share.

    Attributes:
        store: the files on the disk.
        files: brings those of a model into it.
        engine: loads them.
        table: what answers requests.
        may_load: set once nothing is timed any more that a load would disturb.
        changed: called after every change of a keeper's state.
        rng: source of jitter.
        crashes: which models ended the process or hung.
        retry_first_s: first delay after a transient failure.
        retry_cap_s: longest delay.
    """

    store: BlobStore
    files: ModelFiles
    engine: Engine
    table: ModelTable
    may_load: asyncio.Event
    changed: Callable[[], None]
    rng: random.Random
    crashes: CrashBook
    retry_first_s: float = 1.0
    retry_cap_s: float = 120.0


class ModelKeeper:
    """Drives one model.

    Args:
        tools: what keepers share.
        last_good: the assignment that served before a restart, if any.
        earlier_good: the one that served before that; its files may be gone.
        others_settled: waits until the node's other models serve or cannot.
    """

    def __init__(
        self,
        tools: KeeperTools,
        last_good: Assignment | None = None,
        earlier_good: Assignment | None = None,
        others_settled: Callable[["ModelKeeper"], Awaitable[None]] | None = None,
    ) -> None:
        self._others_settled = others_settled
        self.earlier_good = earlier_good
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
        return self.served is not None or self.phase is ModelPhase.FAILED or self.reason in _LASTING_REASONS

    @property
    def at_rest(self) -> bool:
        """Tell whether nothing is under way for the model, nor will be by itself."""
        return self.phase in (ModelPhase.READY, ModelPhase.FAILED) or self.reason == Reason.UNLOADED

    @property
    def suspect(self) -> bool:
        """Tell whether the process ended, or a run hung, while the assigned model was at work."""
        return self.assignment is not None and self._tools.crashes.is_suspect(attempt_of(self.assignment))

    def want(self, assignment: Assignment) -> None:
        """Take an assignment; the same content again changes nothing, unless it failed and was assigned anew."""
        before, self.assignment = self.assignment, assignment
        if self.served is not None:
            self.served.batch_as(assignment.batching)
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

    def release(self) -> None:
        """Take the model out of service until it is wanted anew; its file stays."""
        self._cancel()
        if self.served is not None:
            self._withdraw(self.served)
            self.served = None
        self._set(ModelPhase.PENDING, Reason.UNLOADED, "a client has unloaded it")

    def restore(self) -> None:
        """Bring a released model back."""
        if self.assignment is not None and self.reason == Reason.UNLOADED:
            self._begin(self.assignment)

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
        if self._serves(assignment) and _signature(self.last_good) == _signature(assignment):
            # A change that was taken back before it was done: what serves is what is wanted.
            self._set(ModelPhase.READY, Reason.SERVING)
            return
        self._set(ModelPhase.PENDING, Reason.PENDING)
        name = f"keeper-{assignment.namespace}/{assignment.deployment}"
        self._task = asyncio.get_running_loop().create_task(self._drive(assignment), name=name)

    def _serves(self, assignment: Assignment) -> bool:
        return self.served is not None and _same_model(self.served, self.last_good, assignment)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _drive(self, assignment: Assignment) -> None:
        await self._tools.may_load.wait()
        suspect = self.suspect
        if suspect and self._others_settled is not None:
            # It may end the process again; the others should serve by then.
            await self._others_settled(self)
        if suspect or not self._tools.files.has(wanted_model(assignment)):
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
        barred = self._tools.crashes.bar(attempt_of(assignment))
        if barred is not None:
            raise barred
        if self.reason == Reason.PENDING:
            self._set(ModelPhase.DOWNLOADING, Reason.DOWNLOADING)
        path = await self._tools.files.ensure(wanted_model(assignment))
        if self._serves(assignment):
            # Only who must have signed it has changed.
            self.last_good = assignment
            self._set(ModelPhase.READY, Reason.SERVING)
            return
        self._set(ModelPhase.LOADING, Reason.LOADING)
        order = _order(assignment, assignment.model_name, path)
        self._serve(await self._load_in_room(order, assignment), assignment)
        self._set(ModelPhase.READY, Reason.SERVING)

    async def _load_in_room(self, order: LoadOrder, assignment: Assignment) -> ServedModel:
        """Load a model; where two variants do not fit, the old one is let go of first."""
        try:
            return await self._load(order, assignment)
        except MemoryShort as short:
            if not short.fits_alone:
                raise
            message = short.message
        # After the except clause: what the error holds on to would keep the old variant in memory.
        await self._make_room(message)
        return await self._load(order, assignment)

    async def _make_room(self, message: str) -> None:
        if self.served is None:
            return
        ticket = self.served.memory_ticket
        logger.warning(
            "old variant makes room for the new one", extra={**self._log_values(), "error": message}
        )
        self._withdraw(self.served)
        self.served = None
        self._set(ModelPhase.LOADING, Reason.MAKING_ROOM, f"both variants do not fit: {message}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_DRAIN_S):
                await self._tools.engine.memory.freed(ticket)

    async def _load(self, order: LoadOrder, assignment: Assignment) -> ServedModel:
        try:
            ticket = 0 if self.served is None else self.served.memory_ticket
            model = await self._tools.engine.load(order, ticket)
        except MemoryShort:
            raise
        except ModelFailure as failure:
            if await self._verified_path(assignment) is not None:
                raise
            # Not the model's fault, and another attempt fetches it again.
            message = f"the model's file vanished from the store or became unreadable: {failure.message}"
            raise ModelFailure(Reason.INTERNAL_ERROR, message, transient=True) from failure
        self._tools.crashes.note_loaded(order.attempt)
        return model

    async def _verified_path(self, assignment: Assignment) -> Path | None:
        """Return where a good model is; None without one and where the disk does not say."""
        try:
            return await asyncio.to_thread(self._tools.files.verified, wanted_model(assignment))
        except OSError as error:
            logger.warning("model file cannot be read", extra={**self._log_values(), "error": str(error)})
            return None

    async def _serve_last_good(self, assignment: Assignment) -> None:
        """Let what worked before answer, while the wanted variant is not to be had."""
        for good in (self.last_good, self.earlier_good):
            if self.served is None and good is not None and _content(good) != _content(assignment):
                await self._serve_good(good, assignment.model_name)

    async def _serve_good(self, good: Assignment, name: str) -> None:
        if self._tools.crashes.bar(attempt_of(good)) is not None:
            return
        path = await self._verified_path(good)
        if path is None:
            return
        try:
            self._serve(await self._load(_order(good, name, path), good), good)
        except ModelFailure as failure:
            logger.warning("last good variant no longer loads", extra=self._log_values(failure))
        self._tools.changed()

    def _hung(self, model: ServedModel, why: RunRefused) -> None:
        """Replace a model whose run does not end: by a fresh session, or what is left when that is not allowed."""
        if self.served is not model or self.last_good is None or self.assignment is None:
            return
        logger.error("model hangs and is replaced", extra={**self._log_values(), "error": str(why)})
        self._tools.crashes.note_hang(attempt_of(self.last_good))
        self._withdraw(model)
        self.served = None
        self._begin(self.assignment)

    def _serve(self, model: ServedModel, assignment: Assignment) -> None:
        before = self.served
        # What was last wanted, which may have come while this was being loaded.
        model.batch_as((self.assignment or assignment).batching)
        self._tools.table.put(model)
        self.served = model
        model.on_hang = self._hung
        good = self.last_good
        if good is not None and _content(good) != _content(assignment):
            self.earlier_good = good
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


def _order(assignment: Assignment, name: str, path: Path) -> LoadOrder:
    wanted = wanted_model(assignment)
    return LoadOrder(
        name,
        assignment.variant,
        assignment.sha256,
        path,
        attempt_of(assignment),
        wanted.set_name or assignment.sha256,
        sum(each.size_bytes for each in wanted.files),
    )


def _content(assignment: Assignment) -> tuple[str, str, WantedModel]:
    return (assignment.model_name, assignment.variant, wanted_model(assignment))


def _signature(assignment: Assignment | None) -> SignatureTerms | None:
    return None if assignment is None else wanted_model(assignment).signature


def _same_model(served: ServedModel, last_good: Assignment | None, assignment: Assignment) -> bool:
    """Tell whether what serves is what is wanted, wherever its files came from."""
    wanted = (assignment.model_name, assignment.variant, assignment.sha256)
    if (served.name, served.variant, served.sha256) != wanted:
        return False
    # What serves is always the last good assignment; only it tells the further files.
    data = wanted_model(last_good).set_name if last_good is not None else ""
    return data == wanted_model(assignment).set_name
