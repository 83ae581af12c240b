"""Registers the node and keeps it alive in the API: labels once, the lease often, the status rarely."""

import asyncio
import logging
import random
from typing import Final

from fleetfit_kube.backoff import Backoff
from fleetfit_kube.client import ApiClient
from fleetfit_kube.config import from_kubeconfig
from fleetfit_kube.errors import ApiError, Conflict, NotFound
from fleetfit_kube.resources import LEASES, NODES

from localfleet.node.clock import Clock
from localfleet.node.manifest import Manifest
from localfleet.node.node_object import (
    LEASE_NAMESPACE,
    lease_renewal,
    new_lease,
    new_node,
    node_labels,
    node_status,
)
from localfleet.node.profile import NodeProfile
from localfleet.node_config import NodeConfig

logger = logging.getLogger(__name__)
_LATE_AFTER_INTERVALS: Final = 2.5
FEATURE_FIELD_MANAGER: Final = "localfleet-features"


class NodeHeartbeat:
    """The node's sign of life.

    Args:
        config: What the supervisor told the agent.
        profile: What the node is.
        client: API access with the node's credentials.
        clock: The time.
        rng: Source of jitter.
    """

    def __init__(
        self, config: NodeConfig, profile: NodeProfile, client: ApiClient, clock: Clock, rng: random.Random
    ) -> None:
        self._config = config
        self._profile = profile
        self._client = client
        self._clock = clock
        self._rng = rng
        self._uid = ""
        self._last_renewal_s: float | None = None
        self._last_status_s = 0.0
        self.healed = asyncio.Event()

    @property
    def last_renewal_age_s(self) -> float | None:
        """Seconds since the lease was renewed; None before the first time."""
        if self._last_renewal_s is None:
            return None
        return self._clock.monotonic_s() - self._last_renewal_s

    async def register(self) -> None:
        """Create the Node or take over the one that is there; tries until it succeeds."""
        backoff = Backoff(self._rng, base_s=0.2, cap_s=5.0)
        while True:
            try:
                await self._register_once()
            except ApiError as error:
                logger.warning("node not registered", extra={"error": str(error)})
                await asyncio.sleep(backoff.next_s())
            else:
                return

    async def run(self) -> None:
        """Renew the lease and write the status until cancelled."""
        backoff = Backoff(self._rng, base_s=0.5, cap_s=5.0)
        while True:
            try:
                await self._beat()
            except ApiError as error:
                logger.warning("no heartbeat", extra={"error": str(error)})
                delay_s = backoff.next_s()
            else:
                backoff.reset()
                delay_s = self._config.lease_renew_interval_s * self._rng.uniform(0.96, 1.04)
            self.healed.clear()
            await self._healed_within(delay_s)

    async def _healed_within(self, delay_s: float) -> None:
        try:
            async with asyncio.timeout(delay_s):
                await self.healed.wait()
        except TimeoutError:
            return

    async def _register_once(self) -> None:
        name = self._config.name
        try:
            node = await self._client.create(NODES, new_node(name, self._profile))
        except Conflict:
            labels = {"metadata": {"labels": node_labels(name, self._profile)}}
            node = await self._client.merge_patch(NODES, name, labels)
        self._uid = node["metadata"]["uid"]
        await self._label_features()
        await self._write_status(node)

    async def _label_features(self) -> None:
        """Set the labels that on a real node come from NFD and the labellers, with their kind of identity."""
        if not self._profile.feature_labels:
            return
        connection = from_kubeconfig(self._config.feature_kubeconfig)
        document = {"metadata": {"name": self._config.name, "labels": self._profile.feature_labels}}
        async with ApiClient(connection) as labeller:
            await labeller.apply(NODES, document, field_manager=FEATURE_FIELD_MANAGER)

    async def _beat(self) -> None:
        age_s = self.last_renewal_age_s
        # Late, the node was cut off or starved: the control plane may have written it off meanwhile.
        late = age_s is None or age_s > _LATE_AFTER_INTERVALS * self._config.lease_renew_interval_s
        due = self._clock.monotonic_s() - self._last_status_s >= self._config.status_interval_s
        await self._renew()
        if late or due or self.healed.is_set():
            await self._write_status(await self._node())

    async def _renew(self) -> None:
        now = self._clock.now()
        try:
            renewal = {"spec": lease_renewal(now)}
            await self._client.merge_patch(LEASES, self._config.name, renewal, LEASE_NAMESPACE)
        except NotFound:
            lease = new_lease(self._config.name, self._uid, now)
            await self._client.create(LEASES, lease, LEASE_NAMESPACE)
        self._last_renewal_s = self._clock.monotonic_s()

    async def _node(self) -> Manifest:
        """Return the Node, registered anew if somebody deleted it."""
        try:
            return await self._client.get(NODES, self._config.name)
        except NotFound:
            await self._register_once()
            return await self._client.get(NODES, self._config.name)

    async def _write_status(self, node: Manifest) -> None:
        status = node_status(self._config, self._profile, node.get("status") or {}, self._clock.now())
        await self._client.merge_patch(NODES, self._config.name, {"status": status}, subresource="status")
        self._last_status_s = self._clock.monotonic_s()
