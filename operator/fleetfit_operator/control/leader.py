"""Lets one replica act at a time, by a Lease.

The replica that holds the Lease renews it; one that could not renew it in time stops acting before another may begin.
Times are measured on the own monotonic clock from when a change was seen: clocks of nodes differ. What was written in
spite of all this by a replica that has lost the Lease is refused by the nodes, by the number of leader changes (epoch).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fleetfit_kube import ApiClient
from fleetfit_kube.errors import ApiError, Conflict, NotFound
from fleetfit_kube.resources import LEASES

logger = logging.getLogger(__name__)


class LeadershipLost(Exception):  # noqa: N818 - an event that ends the process, not an error of the code
    """The Lease could not be renewed in time, or another replica holds it; this process must end."""


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """Times of the Lease in seconds; renew < deadline < duration.

    Attributes:
        duration_s: Another replica may take the Lease after it has not changed for this long.
        deadline_s: The holder gives up when it could not renew for this long.
        renew_s: Time between renewals, and between looks of those that wait.
    """

    duration_s: float = 15.0
    deadline_s: float = 10.0
    renew_s: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.renew_s < self.deadline_s < self.duration_s:
            raise ValueError(
                "a Lease needs renew interval < renew deadline < duration, "
                f"got {self.renew_s} s, {self.deadline_s} s, {self.duration_s} s"
            )


@dataclass(frozen=True, slots=True)
class LeaseName:
    """Which Lease, and under which name this process holds it; the name must be unique to the process."""

    namespace: str
    name: str
    identity: str


class LeaderElector:
    """Acquires, renews and releases the Lease.

    Args:
        client: API access.
        lease: Which Lease.
        terms: Its times.
        clock: Monotonic time in seconds.
        first_epoch: Epoch to begin with when there is no Lease yet; above every epoch that nodes have seen, in case
            the Lease was deleted.
        sleep: How to wait.
    """

    def __init__(
        self,
        client: ApiClient,
        lease: LeaseName,
        terms: LeaseTerms,
        *,
        clock: Callable[[], float],
        first_epoch: Callable[[], int] = lambda: 0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._lease = lease
        self._terms = terms
        self._clock = clock
        self._first_epoch = first_epoch
        self._sleep = sleep
        self._held: dict[str, Any] | None = None
        self._renewed_s = 0.0
        self._seen_version = ""
        self._seen_changed_s = 0.0

    @property
    def is_leader(self) -> bool:
        """Whether the Lease is held and its deadline has not passed."""
        return self._held is not None and self._clock() - self._renewed_s < self._terms.deadline_s

    @property
    def epoch(self) -> int:
        """Number of leader changes up to the Lease that is held."""
        return int((self._held or {}).get("spec", {}).get("leaseTransitions") or 0)

    async def acquire(self) -> int:
        """Wait until the Lease is ours; return the epoch."""
        while True:
            began_s = self._clock()
            try:
                async with asyncio.timeout(self._terms.deadline_s):
                    self._held = await self._try_acquire()
            except (ApiError, TimeoutError) as error:
                logger.warning("lease cannot be read or taken", extra={"error": str(error)})
            if self._held is not None:
                self._renewed_s = began_s
                return self.epoch
            await self._sleep(self._terms.renew_s)

    async def keep(self) -> None:
        """Renew until cancelled.

        Raises:
            LeadershipLost: another replica holds the Lease, or the deadline has passed.
        """
        while True:
            left_s = self._renewed_s + self._terms.deadline_s - self._clock()
            if left_s <= 0:
                self._held = None
                raise LeadershipLost(f"the Lease was not renewed for {self._terms.deadline_s:g} s")
            try:
                async with asyncio.timeout(min(left_s, self._terms.deadline_s / 2)):
                    await self._renew()
            except (Conflict, NotFound) as error:
                await self._confirm_still_ours(error)
            except (ApiError, TimeoutError) as error:
                logger.warning("lease not renewed", extra={"error": str(error)})
            await self._sleep(min(self._terms.renew_s, max(0.0, left_s)))

    async def release(self) -> None:
        """Give the Lease back, so that another replica need not wait for its end."""
        if not self.is_leader or self._held is None:
            return
        held, self._held = self._held, None
        try:
            async with asyncio.timeout(self._terms.renew_s):
                await self._hand_back(held)
        except (ApiError, TimeoutError) as error:
            logger.warning("lease not released, it runs out by itself", extra={"error": str(error)})

    async def _hand_back(self, lease: dict[str, Any]) -> None:
        try:
            await self._client.replace(LEASES, _released(lease))
        except Conflict:
            # The end may have come while a renewal was on its way: it was executed, but its answer was not awaited.
            current = await self._client.get(LEASES, self._lease.name, self._lease.namespace)
            if current["spec"].get("holderIdentity") == self._lease.identity:
                await self._client.replace(LEASES, _released(current))

    async def _try_acquire(self) -> dict[str, Any] | None:
        try:
            lease = await self._client.get(LEASES, self._lease.name, self._lease.namespace)
        except NotFound:
            return await self._create()
        if not self._may_take(lease):
            return None
        spec = lease.get("spec") or {}
        taken = {
            **self._spec(),
            "acquireTime": _now(),
            "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1,
        }
        try:
            return await self._client.replace(LEASES, {**lease, "spec": taken})
        except Conflict:
            return None  # another replica was faster

    async def _create(self) -> dict[str, Any] | None:
        metadata = {"name": self._lease.name, "namespace": self._lease.namespace}
        spec = {**self._spec(), "acquireTime": _now(), "leaseTransitions": self._first_epoch()}
        body = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}
        try:
            return await self._client.create(LEASES, body)
        except Conflict:
            return None

    def _may_take(self, lease: dict[str, Any]) -> bool:
        """Return whether the Lease is free: released, or unchanged for its whole duration as we saw it."""
        spec = lease.get("spec") or {}
        version = str(lease["metadata"].get("resourceVersion"))
        if version != self._seen_version:
            self._seen_version, self._seen_changed_s = version, self._clock()
        if not spec.get("holderIdentity"):
            return True
        duration_s = float(spec.get("leaseDurationSeconds") or self._terms.duration_s)
        return self._clock() - self._seen_changed_s >= duration_s

    async def _renew(self) -> None:
        if self._held is None:
            raise LeadershipLost("the Lease is not held")
        began_s = self._clock()
        spec = {**self._held["spec"], "renewTime": _now()}
        self._held = await self._client.replace(LEASES, {**self._held, "spec": spec})
        self._renewed_s = began_s

    async def _confirm_still_ours(self, cause: ApiError) -> None:
        """Read the Lease after a conflict: an own renewal whose answer was lost also conflicts."""
        try:
            async with asyncio.timeout(self._terms.deadline_s / 2):
                lease = await self._client.get(LEASES, self._lease.name, self._lease.namespace)
        except NotFound:
            lease = {}
        except (ApiError, TimeoutError):
            return
        if (lease.get("spec") or {}).get("holderIdentity") != self._lease.identity:
            self._held = None
            raise LeadershipLost("another process holds the Lease") from cause
        self._held = lease

    def _spec(self) -> dict[str, Any]:
        return {
            "holderIdentity": self._lease.identity,
            "leaseDurationSeconds": max(1, round(self._terms.duration_s)),
            "renewTime": _now(),
        }


def _released(lease: dict[str, Any]) -> dict[str, Any]:
    return {**lease, "spec": {**lease["spec"], "holderIdentity": "", "renewTime": _now()}}


def _now() -> str:
    # For people only; no decision rests on it.
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
