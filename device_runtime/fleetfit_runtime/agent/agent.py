"""Takes the node's spec, keeps one keeper per deployment, remembers, and throws away files that nothing needs.

It does not know where specs come from (the watch, or the disk after a restart) nor where the status goes.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable

from fleetfit_api.node_inference import Assignment, NodeInference, NodeInferenceSpec
from fleetfit_api.reasons import Reason

from fleetfit_runtime.agent.crash_book import attempt_of
from fleetfit_runtime.agent.model_keeper import KeeperTools, ModelKeeper
from fleetfit_runtime.agent.node_memory import NodeMemory, Remembered
from fleetfit_runtime.agent.prefetcher import Prefetcher, PrefetchTools
from fleetfit_runtime.agent.wanted_model import wanted_model
from fleetfit_runtime.serve.node_side import Readiness
from fleetfit_runtime.serve.repository_calls import ModelState

logger = logging.getLogger(__name__)

# Others may have to be downloaded first, over a line that is slow; a model that may work should not wait for that.
_LONGEST_WAIT_S = 120.0


class Agent:
    """The node's side of the loop.

    Args:
        tools: what the keepers share; its `changed` must be this agent's `changed` event setter.
        memory: what survives a restart.
        changed: set whenever something that the status or the memory holds may have changed.
        on_dropped: told the name of a model that is no longer assigned.
        tidy_interval_s: how often the disk is looked at when nothing changes: what it refused is tried again, and a
            memory that vanished is written again.
    """

    def __init__(
        self,
        tools: KeeperTools,
        memory: NodeMemory,
        changed: asyncio.Event,
        on_dropped: Callable[[str], None] = lambda _name: None,
        *,
        tidy_interval_s: float = 60.0,
    ) -> None:
        self._tools = tools
        self._memory = memory
        self._on_dropped = on_dropped
        self._tidy_interval_s = tidy_interval_s
        self._keepers: dict[str, ModelKeeper] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._ask_shares: dict[str, float] = {}
        self._ready = False
        self._draining = False
        self._remembered = Remembered()
        self._work = asyncio.Event()
        self._prefetcher = Prefetcher(PrefetchTools(tools.store, tools.files, tools.may_load, tools.rng))
        self._noticed = asyncio.Event()
        self.changed = changed
        self.stale_epoch: int | None = None
        self.spec_known = False

    @property
    def remembered(self) -> Remembered:
        """What was taken last: spec, generation, epoch."""
        return self._remembered

    def keepers(self) -> list[ModelKeeper]:
        """Return the keepers in order of deployment."""
        return [self._keepers[key] for key in sorted(self._keepers)]

    def resume(self) -> None:
        """Serve what the node served before it restarted; needs no network."""
        self._remembered = self._memory.read()
        if self._remembered.spec is not None:
            logger.info("resuming from disk", extra={"assignments": len(self._remembered.spec.assignments)})
            self._take_spec(self._remembered.spec)

    def take(self, node_inference: NodeInference) -> None:
        """Take the node's object as the API server has it, unless an outdated operator wrote it."""
        metadata, spec = node_inference.metadata, node_inference.spec
        known = self._remembered
        if spec.leader_epoch < known.epoch and metadata.uid == known.uid:
            # A former leader that has not noticed yet. An object made anew begins a new count.
            if self.stale_epoch != spec.leader_epoch:
                logger.warning(
                    "spec of an outdated leader refused",
                    extra={"epoch": spec.leader_epoch, "seen": known.epoch},
                )
            self.stale_epoch = spec.leader_epoch
            self._tools.changed()
            return
        self.stale_epoch = None
        self._remembered = known.model_copy(
            update={
                "uid": metadata.uid,
                "generation": metadata.generation,
                "epoch": spec.leader_epoch,
                "spec": spec,
            }
        )
        self._take_spec(spec)

    def take_absence(self) -> None:
        """Note that the API server has no object for this node: nothing is assigned, but what serves goes on."""
        self.spec_known = True
        self.notice()

    def notice(self) -> None:
        """Note that a keeper's state changed."""
        self._update_ready()
        self._prefetcher.allow(all(keeper.at_rest for keeper in self._keepers.values()))
        self._noticed.set()
        self._work.set()
        self.changed.set()

    async def await_ready(self, timeout_s: float) -> None:
        """Wait until the models known from the disk serve or cannot, if there are any, and not longer than this."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.spec_known and not self._ready:
                    self._noticed.clear()
                    await self._noticed.wait()

    def drain(self) -> None:
        """Stop being ready; requests are still answered."""
        self._draining = True

    def readiness(self) -> Readiness:
        """Tell whether the node should get traffic.

        Once it is ready it stays so while further models come, because the models it has must not lose their traffic
        to the download of another.
        """
        if self._draining:
            return Readiness(ready=False, message="the runtime is shutting down")
        if self._ready:
            return Readiness(ready=True)
        if not self.spec_known:
            return Readiness(ready=False, message="the node's NodeInference has not been read yet")
        waiting = [keeper for keeper in self.keepers() if not keeper.settled]
        names = ", ".join(keeper.assignment.model_name for keeper in waiting if keeper.assignment)
        return Readiness(ready=False, message=f"models are being prepared: {names}")

    def pending_reason(self, model_name: str) -> str | None:
        """Say why an assigned model does not answer; None for a name that is not assigned."""
        for keeper in self._keepers.values():
            if keeper.assignment is not None and keeper.assignment.model_name == model_name:
                return f"{keeper.reason}: {keeper.message}" if keeper.message else str(keeper.reason)
        return None

    def model_states(self) -> list[ModelState]:
        """Return how the assigned models stand."""
        states: list[ModelState] = []
        for keeper in self.keepers():
            assignment = keeper.assignment
            if assignment is not None:
                ready = keeper.served is not None
                reason = "" if ready else self.pending_reason(assignment.model_name) or ""
                states.append(ModelState(assignment.model_name, assignment.variant, ready, reason))
        return states

    def load_model(self, name: str) -> bool:
        """Bring an assigned model back that a client has unloaded; return False for one that is not assigned."""
        keepers = self._keepers_of(name)
        for keeper in keepers:
            keeper.restore()
        return bool(keepers)

    def unload_model(self, name: str) -> bool:
        """Take an assigned model out of service until it is loaded or assigned anew; False if not assigned."""
        keepers = self._keepers_of(name)
        for keeper in keepers:
            keeper.release()
        return bool(keepers)

    def _keepers_of(self, name: str) -> list[ModelKeeper]:
        return [
            each for each in self._keepers.values() if each.assignment and each.assignment.model_name == name
        ]

    def ask_share(self, model_name: str) -> float:
        """Return the share of replies in which to ask for a rating; may be called from any thread."""
        return self._ask_shares.get(model_name, 0.0)

    async def run(self) -> None:
        """Write down and tidy up after changes, until cancelled; both need the disk and so run in a thread."""
        while True:
            try:
                async with asyncio.timeout(self._tidy_interval_s):
                    await self._work.wait()
            except TimeoutError:
                # Time to look whether the disk is as it was left, or has come at last.
                if not self.spec_known:
                    self.resume()
            self._work.clear()
            try:
                await self._remember_and_tidy()
            except OSError as error:
                # A disk that is full, went read-only or vanished must not end the server that answers from memory.
                logger.error("model store cannot be tidied", extra={"error": str(error)})

    async def _remember_and_tidy(self) -> None:
        if self._remembered.spec is None:
            return  # Nothing was ever taken: a disk that was away at the start may hold more than is known here.
        self._remembered = self._remembered.model_copy(
            update={"last_good": self._last_good(), "earlier_good": self._earlier_good()}
        )
        self._tools.crashes.keep({attempt_of(each) for each in self._remembered.assignments})
        # Remembered first: a restart must find the files that its memory names, be it an old one on a full disk.
        on_disk = await asyncio.to_thread(self._memory.write, self._remembered)
        removed = self._tools.store.discard_unneeded(self._needed_digests() | on_disk.digests)
        await asyncio.to_thread(self._tools.store.empty_trash)
        if removed:
            logger.info("files removed that nothing needs", extra={"digests": removed})
            self.changed.set()  # the free space that is reported

    async def close(self) -> None:
        """Stop all keepers."""
        await self._prefetcher.close()
        await asyncio.gather(*(keeper.close() for keeper in self._keepers.values()), *self._closing)

    def _take_spec(self, spec: NodeInferenceSpec) -> None:
        self.spec_known = True
        self._ask_shares = {each.model_name: each.ask_share for each in spec.assignments}
        wanted = {_key(assignment): assignment for assignment in spec.assignments}
        for key in self._keepers.keys() - wanted.keys():
            self._drop(key)
        users = Counter(assignment.model_name for assignment in spec.assignments)
        taken: set[str] = set()
        for key in sorted(wanted):
            assignment = wanted[key]
            keeper = self._keepers.get(key)
            if keeper is None:
                keeper = ModelKeeper(
                    self._tools,
                    self._remembered.last_good.get(key),
                    self._remembered.earlier_good.get(key),
                    self._others_settled,
                )
                self._keepers[key] = keeper
            if users[assignment.model_name] > 1 and assignment.model_name in taken:
                keeper.refuse(
                    assignment,
                    Reason.MODEL_NAME_CONFLICT,
                    f"another deployment on this node already serves under the name {assignment.model_name!r}",
                )
            else:
                taken.add(assignment.model_name)
                keeper.want(assignment)
        # Said before any download begins to make room for itself.
        self._tools.store.need(self._needed_digests())
        self._prefetcher.want([wanted_model(each) for each in spec.upcoming])
        self.notice()

    def _drop(self, key: str) -> None:
        keeper = self._keepers.pop(key)
        task = asyncio.get_running_loop().create_task(keeper.close(), name=f"drop-{key}")
        self._closing.add(task)
        task.add_done_callback(self._dropped)
        if keeper.assignment is not None:
            logger.info("model no longer assigned", extra={"model": keeper.assignment.model_name})
            self._on_dropped(keeper.assignment.model_name)

    def _dropped(self, task: "asyncio.Task[None]") -> None:
        self._closing.discard(task)
        self.notice()

    def _update_ready(self) -> None:
        if not self._ready and self.spec_known:
            self._ready = all(keeper.settled for keeper in self._keepers.values())

    async def _others_settled(self, keeper: ModelKeeper) -> None:
        """Wait until every other model serves or cannot, as far as it need not wait itself, and not for ever."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_WAIT_S):
                while any(
                    not (each is keeper or each.settled or each.suspect) for each in self._keepers.values()
                ):
                    self._noticed.clear()
                    await self._noticed.wait()

    def _earlier_good(self) -> dict[str, Assignment]:
        return {
            key: keeper.earlier_good
            for key, keeper in self._keepers.items()
            if keeper.earlier_good is not None
        }

    def _last_good(self) -> dict[str, Assignment]:
        return {
            key: keeper.last_good for key, keeper in self._keepers.items() if keeper.last_good is not None
        }

    def _needed_digests(self) -> set[str]:
        needed: set[str] = set()
        for keeper in self._keepers.values():
            for assignment in (keeper.assignment, keeper.last_good):
                if assignment is not None:
                    needed |= wanted_model(assignment).digests
            if keeper.served is not None:
                needed.add(keeper.served.sha256)
        return needed


def _key(assignment: Assignment) -> str:
    return f"{assignment.namespace}/{assignment.deployment}"
