"""Keeps a local copy of a collection by list and watch, and tells what changed.

The copy repairs itself: after an expired or silent watch it lists again and reports what vanished in between as
deleted. Values are projections: `decode` keeps what decisions rest on, and a change that leaves the projection equal is
no change. One task runs it; callbacks come from that task (or from `store`) and must not block.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Generic, NamedTuple, TypeVar

from fleetfit_kube.backoff import Backoff
from fleetfit_kube.client import ApiClient, WatchEvent, WatchPatience
from fleetfit_kube.errors import ApiError, Expired, TooManyRequests, WatchStalled
from fleetfit_kube.resources import ResourceType

T = TypeVar("T")
logger = logging.getLogger(__name__)

_SHORTEST_WATCH_S: Final = 1.0  # a server that ends watches sooner must not be asked in a tight loop


class ObjectKey(NamedTuple):
    """Identity of an object within its kind; the namespace is empty for cluster-wide kinds."""

    namespace: str
    name: str


OnChange = Callable[[ObjectKey, T | None, T | None], None]


@dataclass(frozen=True, slots=True)
class ReflectorOptions:
    """What to watch and how patiently.

    Attributes:
        namespace: Only this namespace; all when empty.
        label_selector: Server-side label selector.
        field_selector: Server-side field selector.
        page_size: Objects per page of a list.
        watch_timeout_s: The server ends a watch after about this long.
        inactivity_timeout_s: A watch without even a bookmark for this long is dead. Servers send one about every
            minute, with jitter and late under load, so that one may be missed.
        relist_after_s: List again after this long, whatever happened; spread by a quarter either way.
        backoff_cap_s: Largest delay between attempts when the server does not answer.
    """

    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""
    page_size: int = 500
    watch_timeout_s: int = 300
    inactivity_timeout_s: float = 150.0
    relist_after_s: float = 1200.0
    backoff_cap_s: float = 30.0


@dataclass(slots=True)
class ReflectorStats:
    """What metrics and health checks read.

    Attributes:
        last_event_s: Loop time of the last sign of life: list, event or bookmark; None before the first.
        restarts: Ends of watches by reason: Closed, Expired, Stalled, Relist, or the error's reason.
        undecodable: Objects that `decode` could not read, since the start.
        last_error: Sentence of the last error; empty after a success.
    """

    last_event_s: float | None = None
    restarts: Counter[str] = field(default_factory=Counter)
    undecodable: int = 0
    last_error: str = ""


class Reflector(Generic[T]):
    """A local copy of the objects of one kind.

    Args:
        client: API access.
        resource: Kind to watch.
        decode: Object to projection; None to leave the object out. A ValueError keeps the previous projection.
        on_change: Called with (key, old, new); None stands for absence.
        options: What to watch and how patiently.
        rng: Source of jitter.
    """

    def __init__(
        self,
        client: ApiClient,
        resource: ResourceType,
        decode: Callable[[dict[str, Any]], T | None],
        *,
        on_change: OnChange[T] | None = None,
        options: ReflectorOptions | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.resource = resource
        self.synced = asyncio.Event()
        self.stats = ReflectorStats()
        self._client = client
        self._decode = decode
        self._on_change = on_change
        self._options = options or ReflectorOptions()
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._items: dict[ObjectKey, T] = {}
        self._versions: dict[ObjectKey, int] = {}
        self._stream_version = 0
        self._relist_at_s = 0.0

    @property
    def items(self) -> Mapping[ObjectKey, T]:
        """The projections by key; a live view."""
        return MappingProxyType(self._items)

    async def run(self) -> None:
        """List and watch until cancelled."""
        backoff = Backoff(self._rng, base_s=0.5, cap_s=self._options.backoff_cap_s)
        must_list = True
        while True:
            try:
                if must_list:
                    await self._list(is_truth=True)
                    must_list = False
                began_s = self._now_s()
                must_list = await self._watch_until_relist(backoff)
                self._restarted("Relist" if must_list else "Closed")
                if self._now_s() - began_s < _SHORTEST_WATCH_S:
                    await asyncio.sleep(backoff.next_s())
            except ApiError as error:
                must_list = must_list or isinstance(error, Expired)
                self._restarted(_restart_reason(error), error)
                asked_s = error.retry_after_s if isinstance(error, TooManyRequests) else 0.0
                await asyncio.sleep(max(backoff.next_s(), asked_s))

    def store(self, document: dict[str, Any]) -> None:
        """Take the answer to an own write at once, so that no decision rests on the state before it.

        What the watch has already passed is ignored: it knows better, an object may have been deleted since.
        """
        if _version(document) > self._stream_version:
            self._upsert(document)

    async def refresh(self) -> None:
        """List at once, beside the watch, for a decision that must not rest on what the watch has not told yet.

        Raises:
            ApiError: the list failed.
        """
        await self._list()

    async def _list(self, *, is_truth: bool = False) -> None:
        """Take a list.

        Args:
            is_truth: Take it even if it is older than what is known. The watch begins after it and repairs what it
                undoes; and after a restore of the cluster from a backup all versions are older.
        """
        objects = await self._client.list(
            self.resource,
            self._options.namespace,
            label_selector=self._options.label_selector,
            field_selector=self._options.field_selector,
            limit=self._options.page_size,
        )
        listed_version = _number(objects.resource_version)
        if listed_version < self._stream_version:
            if not is_truth:
                return
            self._versions = dict.fromkeys(self._versions, 0)
        seen = set()
        for document in objects.items:
            seen.add(_key(document))
            self._upsert(document)
        for key in [key for key, version in self._versions.items() if key not in seen]:
            # A newer version comes from an own write that this list is too old to know.
            if self._versions[key] <= listed_version:
                self._remove(key)
        self._stream_version = listed_version
        self._alive()
        self._relist_at_s = self._now_s() + self._options.relist_after_s * self._rng.uniform(0.75, 1.25)
        self.synced.set()

    async def _watch_until_relist(self, backoff: Backoff) -> bool:
        """Watch until the stream ends; return whether it ended because the time has come to list again."""
        try:
            async with asyncio.timeout_at(self._relist_at_s):
                await self._watch(backoff)
        except TimeoutError:
            return True
        return False

    async def _watch(self, backoff: Backoff) -> None:
        stream = self._client.watch(
            self.resource,
            str(self._stream_version),
            namespace=self._options.namespace,
            label_selector=self._options.label_selector,
            field_selector=self._options.field_selector,
            patience=WatchPatience(self._options.watch_timeout_s, self._options.inactivity_timeout_s),
        )
        async for event in stream:
            self._take(event)
            self._alive()
            backoff.reset()

    def _take(self, event: WatchEvent) -> None:
        version = _version(event.object)
        if event.type == "BOOKMARK":
            self._stream_version = max(self._stream_version, version)
            return
        if version <= self._stream_version:
            return  # a refresh has overtaken the watch
        if event.type == "DELETED":
            if version >= self._versions.get(_key(event.object), 0):
                self._remove(_key(event.object))
        else:
            self._upsert(event.object)
        self._stream_version = version

    def _upsert(self, document: dict[str, Any]) -> None:
        key, version = _key(document), _version(document)
        if version < self._versions.get(key, 0):
            return
        self._versions[key] = version
        try:
            new = self._decode(document)
        except ValueError as error:
            self.stats.undecodable += 1
            logger.warning(
                "object cannot be decoded",
                extra={"kind": self.resource.kind, "object": "/".join(key), "error": str(error)[:500]},
            )
            return
        self._set(key, new)

    def _remove(self, key: ObjectKey) -> None:
        self._versions.pop(key, None)
        self._set(key, None)

    def _set(self, key: ObjectKey, new: T | None) -> None:
        old = self._items.get(key)
        if old == new:
            return
        if new is None:
            del self._items[key]
        else:
            self._items[key] = new
        if self._on_change is not None:
            self._on_change(key, old, new)

    def _alive(self) -> None:
        self.stats.last_event_s = self._now_s()
        self.stats.last_error = ""

    def _restarted(self, reason: str, error: ApiError | None = None) -> None:
        self.stats.restarts[reason] += 1
        if error is not None:
            self.stats.last_error = str(error)
            logger.warning(
                "watch interrupted",
                extra={"kind": self.resource.kind, "reason": reason, "error": str(error)},
            )

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()


def _restart_reason(error: ApiError) -> str:
    if isinstance(error, WatchStalled):
        return "Stalled"
    return "Expired" if isinstance(error, Expired) else error.reason


def _key(document: dict[str, Any]) -> ObjectKey:
    metadata = document["metadata"]
    return ObjectKey(metadata.get("namespace", ""), metadata["name"])


def _version(document: dict[str, Any]) -> int:
    return _number(document.get("metadata", {}).get("resourceVersion", ""))


def _number(resource_version: str) -> int:
    """Return a resource version as a number; Kubernetes defines them as comparable decimal numbers."""
    return int(resource_version) if resource_version.isdigit() else 0
