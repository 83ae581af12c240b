"""Writes the node's status when it changes, patiently when the API server is away, and never more than is needed."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fleetfit_api.names import RUNTIME_FIELD_MANAGER
from fleetfit_api.node_inference import NodeInference, NodeInferenceStatus
from fleetfit_kube.backoff import Backoff
from fleetfit_kube.client import ApiClient
from fleetfit_kube.errors import ApiError, NotFound
from fleetfit_kube.resources import NODE_INFERENCES

from fleetfit_runtime.agent.report_pace import ReportPace
from fleetfit_runtime.agent.reported_node import BuildStatus

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReportTiming:
    """When reports are written.

    Attributes:
        now: the wall clock.
        rng: source of jitter.
        clock: seconds, for the intervals.
        look_interval_s: how often figures are looked at when nothing else happens.
        interval_s: what only wanders is written no more often than this.
    """

    now: Callable[[], datetime]
    rng: random.Random
    clock: Callable[[], float] = time.monotonic
    look_interval_s: float = 10.0
    interval_s: float = 60.0


class StatusReporter:
    """Writes the status of one node.

    Args:
        client: API access.
        node_name: name of the node's object.
        build: makes the status of this moment from the one written last and the time.
        changed: set by others when the status may have changed.
        timing: when reports are written.
    """

    def __init__(
        self,
        client: ApiClient,
        node_name: str,
        build: BuildStatus,
        *,
        changed: asyncio.Event,
        timing: ReportTiming,
    ) -> None:
        self._client = client
        self._node_name = node_name
        self._build = build
        self._changed = changed
        self._timing = timing
        self._backoff = Backoff(timing.rng, base_s=0.5, cap_s=30.0)
        self._pace = ReportPace(timing.interval_s)
        self._uid = ""
        self._written = NodeInferenceStatus()
        self.writes = 0

    def seen(self, node_inference: NodeInference | None) -> None:
        """Note the object as the API server has it: without one there is nowhere to report."""
        uid = "" if node_inference is None else node_inference.metadata.uid
        if uid == self._uid:
            return
        self._uid = uid
        self._written = NodeInferenceStatus() if node_inference is None else node_inference.status
        self._pace.begin_anew()
        self._changed.set()

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._timing.look_interval_s):
                    await self._changed.wait()
            except TimeoutError:
                pass  # time to look at the measured figures
            self._changed.clear()
            await self.report()

    async def report(self) -> None:
        """Write the status if there is something to say."""
        now_s = self._timing.clock()
        new = self._build(self._written, self._timing.now())
        status = self._pace.damped(new, self._written, now_s)
        if not self._uid or status == self._written:
            return
        body = {"metadata": {"name": self._node_name}, "status": status.to_json()}
        try:
            await self._client.apply(
                NODE_INFERENCES, body, field_manager=RUNTIME_FIELD_MANAGER, subresource="status"
            )
        except NotFound:
            self._uid = ""  # The watch tells when there is one again.
        except ApiError as error:
            logger.warning("status not written, trying again", extra={"error": str(error)})
            self._changed.set()
            await asyncio.sleep(self._backoff.next_s())
        else:
            self._backoff.reset()
            self._pace.note(status, self._written, now_s)
            self._written = status
            self.writes += 1
