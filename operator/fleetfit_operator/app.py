"""Wires the rooms together; the only file that knows every one of them.

What runs, in one event loop: a reflector per kind of which there are many, metrics and health, the Lease elector and,
on the replica that holds the Lease, the reconcile loop. kopf runs in a thread of its own and only adds to the queue.
A replica on standby keeps its reflectors warm, so that it can take over at once.
"""

import asyncio
import logging
import random
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final

from fleetfit_kube import ApiClient, Connection
from fleetfit_kube.client import ClientOptions
from prometheus_client import CollectorRegistry

from fleetfit_operator import __version__
from fleetfit_operator.apply.daemon_set import RUNTIME_POD_SELECTOR, Install
from fleetfit_operator.apply.events import EventRecorder
from fleetfit_operator.apply.fleet_writer import FleetWriter
from fleetfit_operator.control.deployment_plan import PlanTerms
from fleetfit_operator.control.fleet_model import FleetModel, ModelPlace
from fleetfit_operator.control.leader import LeaderElector, LeadershipLost, LeaseName, LeaseTerms
from fleetfit_operator.control.prediction import FleetPredictions, Predictor
from fleetfit_operator.control.queue import DebouncedQueue, Windows
from fleetfit_operator.control.reconcile import PassTerms, Reconciler, Work
from fleetfit_operator.kopf_thread import KopfThread
from fleetfit_operator.observe.fleet_cache import FleetCache, RuntimePods
from fleetfit_operator.predict.corrected_predictor import with_correction
from fleetfit_operator.predict.predictor import LatencyPredictor
from fleetfit_operator.predict.shipped_model import ShippedModel
from fleetfit_operator.settings import Settings
from fleetfit_operator.telemetry.health import Health, HealthServer
from fleetfit_operator.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

_KOPF_STOP_S: Final = 3.0


class KopfEnded(Exception):  # noqa: N818 - an event that ends the process
    """kopf has ended although nobody asked it to."""


class Operator:
    """One replica of the operator.

    Args:
        settings: What it is told by its environment.
        connection: How to reach the API server.
        predictor: Predicts latencies; the shipped model by default.
    """

    def __init__(
        self, settings: Settings, connection: Connection, predictor: Predictor | None = None
    ) -> None:
        loop = asyncio.get_running_loop()
        self._settings = settings
        self._loop = loop
        self._rng = random.Random()  # noqa: S311 - jitter, not a secret
        self._predictor = predictor or LatencyPredictor.load()
        self.metrics = Metrics(CollectorRegistry())
        self._client = ApiClient(
            connection,
            options=ClientOptions(user_agent=f"fleetfit-operator/{__version__}"),
            rng=self._rng,
            on_response=self.metrics.observe_request,
        )
        windows = Windows(settings.debounce_idle_s, settings.debounce_cap_s)
        self._queue: DebouncedQueue[Work] = DebouncedQueue(windows, loop.time, self._rng)
        self._cache = FleetCache(
            self._client,
            RuntimePods(settings.pod_namespace, RUNTIME_POD_SELECTOR),
            on_change=lambda: self._queue.add(Work.FLEET),
        )
        self._elector = LeaderElector(
            self._client,
            LeaseName(settings.pod_namespace, settings.lease_name, f"{settings.pod_name}_{uuid.uuid4()}"),
            LeaseTerms(settings.lease_duration_s, settings.lease_deadline_s, settings.lease_renew_s),
            clock=loop.time,
            first_epoch=lambda: self._cache.highest_epoch() + 1,
        )
        self._health = Health(self.metrics, self._cache.reflectors, loop.time, self._show_queue)

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            LeadershipLost: another replica acts now; this process must end.
            KopfEnded: kopf has ended.
        """
        server = HealthServer(self._health, self._settings.pod_ip, self._settings.metrics_port)
        async with self._client:
            await server.start()
            try:
                await self._run_tasks()
            except BaseExceptionGroup as group:
                raise _first_cause(group) from group
            finally:
                await server.stop()

    async def _run_tasks(self) -> None:
        async with asyncio.TaskGroup() as group:
            for reflector in self._cache.reflectors:
                group.create_task(reflector.run(), name=f"reflector {reflector.resource.plural}")
            group.create_task(self._health.watch_loop(), name="loop lag")
            group.create_task(self._lead(), name="lead")

    async def _lead(self) -> None:
        """Wait for the Lease, then act for as long as it is held."""
        await self._cache.wait_synced()
        logger.info("the fleet is known", extra={"nodes": len(self._cache.nodes.items)})
        epoch = await self._elector.acquire()
        logger.info("leading", extra={"epoch": epoch})
        self.metrics.leader.set(1)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._elector.keep(), name="lease")
                group.create_task(self._act(epoch), name="act")
        finally:
            self.metrics.leader.set(0)
            await self._elector.release()

    async def _act(self, epoch: int) -> None:
        # What the previous leader wrote last may not have come through the watches yet.
        await self._cache.refresh()
        ended: asyncio.Future[BaseException | None] = self._loop.create_future()
        kopf_thread = KopfThread(
            self._client.connection,
            on_declared=lambda: self._call(partial(self._queue.add, Work.DECLARED)),
            on_end=lambda error: self._call(partial(_resolve, ended, error)),
        )
        kopf_thread.start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._reconciler().run(epoch), name="reconcile")
                group.create_task(_raise_when_ended(ended), name="kopf")
        finally:
            await asyncio.to_thread(kopf_thread.stop, _KOPF_STOP_S)

    def _call(self, callback: Callable[[], None]) -> None:
        """Call back in the event loop from kopf's thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback)

    def _reconciler(self) -> Reconciler:
        settings = self._settings
        install = Install(settings.pod_namespace, store_dir=settings.store_dir)
        predictions = FleetPredictions(self._predictor)
        return Reconciler(
            client=self._client,
            cache=self._cache,
            queue=self._queue,
            predictions=predictions,
            fleet_model=FleetModel(
                self._client,
                ModelPlace(settings.pod_namespace, settings.model_config_map),
                ShippedModel.load(),
                with_correction=partial(with_correction, self._predictor),
                user=predictions,
                metrics=self.metrics.model,
            ),
            writer=FleetWriter(self._client, install, self._cache.inferences.store, self._cache.nodes.store),
            recorder=EventRecorder(self._client, settings.pod_name, self._loop.time, utc_now),
            metrics=self.metrics,
            terms=PassTerms(
                PlanTerms(settings.pod_namespace, settings.reference_run_grace_s),
                install,
                settings.write_concurrency,
                settings.resync_s,
            ),
            now=utc_now,
        )

    def _show_queue(self) -> None:
        self.metrics.queue_depth.set(self._queue.depth)
        self.metrics.queue_age_s.set(self._queue.oldest_age_s)


async def run_operator(env: Mapping[str, str], connection: Connection) -> None:
    """Run the operator with the settings of an environment until cancelled."""
    await Operator(Settings.from_env(env), connection).run()


def utc_now() -> datetime:
    """Return the time, UTC."""
    return datetime.now(UTC)


def _resolve(future: "asyncio.Future[BaseException | None]", error: BaseException | None) -> None:
    if not future.done():
        future.set_result(error)


async def _raise_when_ended(ended: "asyncio.Future[BaseException | None]") -> None:
    raise KopfEnded("kopf has ended") from await ended


def _first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the exception that a person wants to read: the loss of the Lease, or the first one."""
    lost, _ = group.split(LeadershipLost)
    error: BaseException = lost or group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
