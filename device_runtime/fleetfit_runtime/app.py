"""Wires the rooms of the runtime together and runs them; the only file that knows every room."""

import asyncio
import logging
import random
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from fleetfit_api.node_inference import NodeInferenceStatus, ReferenceRun
from fleetfit_kube.client import ApiClient
from fleetfit_kube.config import ConfigError, discover
from prometheus_client import CollectorRegistry

import fleetfit_runtime
from fleetfit_runtime.agent.agent import Agent
from fleetfit_runtime.agent.model_keeper import KeeperTools
from fleetfit_runtime.agent.node_memory import NodeMemory
from fleetfit_runtime.agent.reference_cache import ReferenceCache, ReferenceKey
from fleetfit_runtime.agent.reporter import ReportTiming, StatusReporter
from fleetfit_runtime.agent.spec_watch import SpecWatch
from fleetfit_runtime.agent.status import NodeState, build_status
from fleetfit_runtime.engine.engine import Engine
from fleetfit_runtime.engine.model_table import ModelTable
from fleetfit_runtime.engine.session import OnnxRuntime
from fleetfit_runtime.probe.cgroup import CgroupFacts, threads_for
from fleetfit_runtime.probe.networks import SET_VERSION
from fleetfit_runtime.probe.node_facts import node_telemetry
from fleetfit_runtime.probe.reference import run_reference_set
from fleetfit_runtime.probe.turns import Turns
from fleetfit_runtime.serve.http_connection import HttpLimits
from fleetfit_runtime.serve.server import InferenceServer
from fleetfit_runtime.serve.service import InferenceService
from fleetfit_runtime.settings import Settings
from fleetfit_runtime.store.blobs import BlobStore
from fleetfit_runtime.store.fetch import Fetcher
from fleetfit_runtime.telemetry.metrics import Gauges, RequestCounts, RuntimeCollector, metrics_page

logger = logging.getLogger(__name__)

Job = Callable[[], Coroutine[Any, Any, None]]
_VERSION = fleetfit_runtime.__version__


class RuntimeApp:
    """One node's runtime.

    Args:
        settings: what it was told.
        environment: where to find the API server.
        rng: source of jitter.
    """

    def __init__(self, settings: Settings, environment: Mapping[str, str], rng: random.Random) -> None:
        self._settings = settings
        self._environment = environment
        self._rng = rng
        self._facts = CgroupFacts()
        processors = self._facts.processors()
        self._threads = settings.intra_op_threads or threads_for(processors)
        self._onnx = OnnxRuntime(settings.provider_chain, self._threads)
        self._store = BlobStore(settings.store_dir)
        self._counts = RequestCounts()
        self._engine = Engine(self._onnx, settings.max_waiting_requests, self._counts.loaded)
        self._table = ModelTable()
        self._changed = asyncio.Event()
        self._may_load = asyncio.Event()
        self._reference_runs: tuple[ReferenceRun, ...] = ()
        self._references = ReferenceCache(
            settings.store_dir / "reference_runs.json",
            ReferenceKey(
                providers=settings.provider_chain,
                onnxruntime_version=self._onnx.version,
                intra_op_threads=self._threads,
                set_version=SET_VERSION,
                cpu_count=round(processors, 2),
            ),
            self._run_reference_set,
        )
        self._stop = asyncio.Event()

    def _run_reference_set(self, providers: Sequence[str], intra_op_threads: int) -> list[ReferenceRun]:
        directory = self._settings.reference_turns_dir
        with Turns(directory).turn() if directory else nullcontext():
            return run_reference_set(providers, intra_op_threads)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain.

        Raises:
            OSError: the address cannot be bound.
        """
        self._store.open()
        self._catch_signals()
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(aiohttp.ClientSession(trust_env=True))
            agent = self._make_agent(http)
            server = self._make_server(agent)
            await server.start(self._settings.pod_ip, self._settings.http_port)
            self._log_start(server)
            agent.resume()
            client = await self._connect(stack)
            jobs: list[Job] = [agent.run, self._time_references]
            if client is not None:
                reporter = self._make_reporter(client, agent, server)
                watch = SpecWatch(client, self._settings.node_name, agent, reporter, self._rng)
                jobs += [reporter.run, watch.run, watch.await_first_list]
            await self._run_until_stopped(jobs, agent, server)
            await self._shut_down(agent, server)

    def stop(self) -> None:
        """Begin to drain."""
        self._stop.set()

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)

    def _make_agent(self, http: aiohttp.ClientSession) -> Agent:
        agent: Agent | None = None

        def changed() -> None:
            if agent is not None:
                agent.notice()

        tools = KeeperTools(
            store=self._store,
            fetcher=Fetcher(self._store, http),
            engine=self._engine,
            table=self._table,
            may_load=self._may_load,
            changed=changed,
            rng=self._rng,
        )
        memory = NodeMemory(self._settings.store_dir / "node_memory.json")
        agent = Agent(tools, memory, self._changed, self._counts.forget)
        return agent

    def _make_server(self, agent: Agent) -> InferenceServer:
        registry = CollectorRegistry()
        service = InferenceService(
            self._table,
            agent.readiness,
            agent.pending_reason,
            lambda: metrics_page(registry),
            self._counts,
            _VERSION,
        )
        limits = HttpLimits(max_body_bytes=self._settings.max_body_bytes)
        server = InferenceServer(service.handle, limits, self._settings.max_connections)
        gauges = Gauges(
            ready=lambda: agent.readiness().ready,
            connections=lambda: server.connection_count,
            store_bytes=self._store.size_bytes,
            store_free_bytes=self._store.free_bytes,
        )
        build = {
            "version": _VERSION,
            "onnxruntime": self._onnx.version,
            "hardware_class": self._settings.hardware_class,
        }
        registry.register(RuntimeCollector(self._counts, self._table, gauges, build))
        return server

    async def _connect(self, stack: AsyncExitStack) -> ApiClient | None:
        try:
            connection = discover(self._environment)
        except ConfigError as error:
            logger.warning("no control plane; serving from disk", extra={"error": str(error)})
            return None
        return await stack.enter_async_context(ApiClient(connection, rng=self._rng))

    def _make_reporter(self, client: ApiClient, agent: Agent, server: InferenceServer) -> StatusReporter:
        endpoint = f"http://{self._settings.pod_ip}:{server.port}"
        available = self._onnx.available

        def build(previous: NodeInferenceStatus, now: datetime) -> NodeInferenceStatus:
            remembered = agent.remembered
            state = NodeState(
                generation=remembered.generation,
                epoch=remembered.epoch,
                stale_epoch=agent.stale_epoch,
                endpoint=endpoint,
                reference_runs=self._reference_runs,
                telemetry=node_telemetry(
                    self._facts,
                    runtime_version=_VERSION,
                    onnxruntime_version=self._onnx.version,
                    available_providers=available,
                    store_free_bytes=self._store.free_bytes(),
                ),
            )
            return build_status(state, agent.keepers(), previous, now)

        return StatusReporter(
            client,
            self._settings.node_name,
            build,
            changed=self._changed,
            timing=ReportTiming(now=lambda: datetime.now(UTC).replace(microsecond=0), rng=self._rng),
        )

    async def _time_references(self) -> None:
        """Time the reference set before any model is loaded, so that neither disturbs the other."""
        runs = await asyncio.to_thread(self._references.known)
        if runs is None:
            begun_s = asyncio.get_running_loop().time()
            runs = await self._engine.run_undisturbed(self._references.time)
            seconds = round(asyncio.get_running_loop().time() - begun_s, 2)
            logger.info("reference set timed", extra={"providers": [r.provider for r in runs], "s": seconds})
        self._reference_runs = tuple(runs)
        self._may_load.set()
        self._changed.set()

    async def _run_until_stopped(self, jobs: list[Job], agent: Agent, server: InferenceServer) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job()) for job in jobs]
            await self._stop.wait()
            agent.drain()
            server.announce_end()
            await asyncio.sleep(self._settings.drain_delay_s)
            for task in tasks:
                task.cancel()

    async def _shut_down(self, agent: Agent, server: InferenceServer) -> None:
        finished = await server.drain(self._settings.drain_timeout_s)
        await agent.close()
        self._engine.close()
        logger.info("stopped", extra={"drained": finished})

    def _log_start(self, server: InferenceServer) -> None:
        logger.info(
            "serving",
            extra={
                "version": _VERSION,
                "address": f"{self._settings.pod_ip}:{server.port}",
                "onnxruntime": self._onnx.version,
                "providers": list(self._settings.provider_chain),
                "available_providers": self._onnx.available,
                "intra_op_threads": self._threads,
                "store": str(Path(self._settings.store_dir)),
            },
        )
