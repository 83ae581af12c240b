"""Wires the rooms of the runtime together and runs them; the only file that knows every room."""

import asyncio
import logging
import random
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, nullcontext
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from fleetfit_api.node_inference import NodeInferenceStatus
from fleetfit_api.node_telemetry import ReferenceRun

import fleetfit_runtime
from fleetfit_runtime.agent.agent import Agent
from fleetfit_runtime.agent.crash_book import CrashBook, crashed_loads
from fleetfit_runtime.agent.model_keeper import KeeperTools
from fleetfit_runtime.agent.node_memory import NodeMemory
from fleetfit_runtime.agent.node_watch import NodeWatch
from fleetfit_runtime.agent.reference_cache import ReferenceCache, ReferenceKey
from fleetfit_runtime.agent.reference_keeper import ReferenceKeeper, ReferenceTools
from fleetfit_runtime.agent.reference_repeats import ReferenceRepeats, RepeatPolicy
from fleetfit_runtime.agent.reported_node import BuildStatus, ReportedNode, follow_later
from fleetfit_runtime.agent.status import NodeState, build_status
from fleetfit_runtime.agent.timing_repeats import TimingKeeper, TimingPolicy, TimingRepeats
from fleetfit_runtime.engine.compiled_models import CompiledModels
from fleetfit_runtime.engine.engine import Engine
from fleetfit_runtime.engine.flight_record import FlightRecord, boot_id, record_path
from fleetfit_runtime.engine.memory_budget import Footprints, MemoryBudget, default_budget_bytes
from fleetfit_runtime.engine.model_guard import GuardTools, end_process
from fleetfit_runtime.engine.model_table import ModelTable
from fleetfit_runtime.engine.plugins import configured_libraries, installed_libraries, register_libraries
from fleetfit_runtime.engine.session import OnnxRuntime
from fleetfit_runtime.engine.watchdog import Watchdog
from fleetfit_runtime.probe.cgroup import CgroupFacts, threads_for
from fleetfit_runtime.probe.networks import SET_VERSION
from fleetfit_runtime.probe.node_facts import SoftwareFacts, TelemetryReport
from fleetfit_runtime.probe.node_probe import NodeProbe
from fleetfit_runtime.probe.reference import run_reference_set
from fleetfit_runtime.probe.turns import Turns
from fleetfit_runtime.ratings.ask import Asker
from fleetfit_runtime.ratings.desk import RatingDesk
from fleetfit_runtime.ratings.journal import RatingJournal
from fleetfit_runtime.serve.grpc.call import BodyBudget, CallRules
from fleetfit_runtime.serve.grpc.services import GrpcParts, grpc_dispatcher
from fleetfit_runtime.serve.http2.connection import Http2Limits
from fleetfit_runtime.serve.http2.server import Http2Server
from fleetfit_runtime.serve.http_limits import HttpLimits
from fleetfit_runtime.serve.infer_ledger import RequestObserver
from fleetfit_runtime.serve.server import InferenceServer
from fleetfit_runtime.serve.service import InferenceService, ServiceTerms
from fleetfit_runtime.settings import Settings
from fleetfit_runtime.store.blobs import BlobStore
from fleetfit_runtime.store.credentials import Credentials
from fleetfit_runtime.store.disk_budget import DiskBudget
from fleetfit_runtime.store.fetch import Fetcher, FetchLimits
from fleetfit_runtime.store.http_session import HttpSession
from fleetfit_runtime.store.model_files import ModelFiles
from fleetfit_runtime.store.signatures import Signatures
from fleetfit_runtime.store.sources import Sources, SourceTools
from fleetfit_runtime.store.trusted_keys import TrustedKeys
from fleetfit_runtime.telemetry.gauges import Gauges
from fleetfit_runtime.telemetry.metrics_page import MetricSources, MetricsPage
from fleetfit_runtime.telemetry.request_counts import NoCounts, RequestCounts
from fleetfit_runtime.telemetry.wanted_tracing import wanted_tracing

if TYPE_CHECKING:
    from fleetfit_runtime.telemetry.span_export import SpanExporter

logger = logging.getLogger(__name__)

Job = Callable[[], Coroutine[Any, Any, None]]
_Servers = tuple[InferenceServer, Http2Server]
_VERSION = fleetfit_runtime.__version__
# Largest requests that gRPC clients together may have on their way into the node's memory.
_BODIES_AT_ONCE = 8
# How long the end of the process may wait for a collector to take the last spans.
_LAST_SPANS_S = 1.0
# The client of the API server is left to later for so long, while models are loaded from the disk.
_DISK_FIRST_S = 2.0


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
        plugins = register_libraries([*configured_libraries(settings.ep_libraries), *installed_libraries()])
        self._probe = NodeProbe()
        self._store = BlobStore(settings.store_dir, DiskBudget(settings.store_budget_bytes))
        compiled = CompiledModels(self._store, plugins.library_versions, self._probe.driver_version)
        chain, arena = settings.provider_chain, settings.cpu_arena
        self._onnx = OnnxRuntime(chain, self._threads, cpu_arena=arena, plugins=plugins, compiled=compiled)
        self._counts = RequestCounts(exemplars=settings.metric_exemplars)
        self._observer: RequestObserver = self._counts if settings.metrics else NoCounts()
        self._tracing = wanted_tracing(settings, _VERSION, self._observer, rng)
        if self._tracing is not None:
            self._observer = self._tracing.recorder
        self._record = FlightRecord(record_path(settings.store_dir), boot_id())
        self._crashes = CrashBook(settings.store_dir / "crashes.json", time.time)
        guards = GuardTools(
            self._record,
            Watchdog(settings.hang_grace_s),
            least_s=settings.hang_s,
            longest_load_s=settings.longest_load_s,
        )
        total_bytes = settings.model_memory_bytes or default_budget_bytes(
            self._facts.memory_bytes(), self._facts.available_memory_bytes()
        )
        memory = MemoryBudget(total_bytes, Footprints(settings.store_dir / "footprints.json"))
        self._engine = Engine(
            self._onnx, settings.max_waiting_requests, self._counts.loaded, self._probe, guards, memory
        )
        self._table = ModelTable()
        self._desk = RatingDesk(
            RatingJournal(settings.store_dir / "ratings"),
            Asker(rng, time.monotonic),
            settings.rating_trusted_peers,
            time.time,
        )
        self._changed = asyncio.Event()
        self._may_load = asyncio.Event()
        self._watch = NodeWatch(self._probe.read, self._changed.set)
        self._references = ReferenceKeeper(
            ReferenceTools(
                cache=ReferenceCache(settings.store_dir / "reference_runs.json", self._run_reference_set),
                key=self._reference_key,
                reading=lambda: self._watch.reading,
                run_undisturbed=self._engine.run_undisturbed,
                changed=self._changed.set,
            ),
            ReferenceRepeats(RepeatPolicy()),
        )
        self._timings = TimingKeeper(
            TimingRepeats(TimingPolicy()),
            lambda: list(self._table),
            lambda: self._watch.reading,
            self._engine.time_again,
            self._changed.set,
        )
        self._stop = asyncio.Event()

    def _run_reference_set(self, providers: Sequence[str], intra_op_threads: int) -> list[ReferenceRun]:
        directory = self._settings.reference_turns_dir
        with Turns(directory).turn() if directory else nullcontext():
            return run_reference_set(providers, intra_op_threads, probe=self._probe)

    def _reference_key(self) -> ReferenceKey:
        return ReferenceKey(
            providers=self._settings.provider_chain,
            onnxruntime_version=self._onnx.versions,
            intra_op_threads=self._threads,
            set_version=SET_VERSION,
            cpu_count=round(self._facts.processors(), 2),
            driver_version=self._probe.driver_version(),
            governor=self._probe.governor(),
        )

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain.

        Raises:
            OSError: the address cannot be bound.
        """
        self._store.open()
        self._crashes.open(self._record.suspects)
        self._store.discard_compiled(crashed_loads(self._record.suspects))  # It may be why.
        self._catch_signals()
        await asyncio.to_thread(self._desk.recover)
        async with AsyncExitStack() as stack:
            http = HttpSession()
            stack.push_async_callback(http.close)
            agent = self._make_agent(http)
            grpc = self._make_grpc_server(agent)
            exporter = self._tracing.exporter(http.get()) if self._tracing is not None else None
            page, server = self._make_server(agent, grpc, exporter)
            await server.start(self._settings.pod_ip, self._settings.http_port)
            if self._settings.grpc_port is not None:
                await grpc.start(self._settings.pod_ip, self._settings.grpc_port)
            self._log_start(server, grpc)
            agent.resume()
            jobs: list[Job] = [
                agent.run,
                self._desk.run,
                self._keep_timings,
                self._watch.run,
                partial(self._prepare_page, agent, page),
                partial(self._follow_control_plane, agent, server),
            ]
            if exporter is not None:
                stack.push_async_callback(exporter.flush, _LAST_SPANS_S)
                jobs.append(exporter.run)
            await self._run_until_stopped(jobs, agent, (server, grpc))
            await self._shut_down(agent, (server, grpc))

    def stop(self) -> None:
        """Begin to drain."""
        self._record.end_planned()
        self._stop.set()

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)

    def _make_agent(self, http: HttpSession) -> Agent:
        agent: Agent | None = None

        def changed() -> None:
            if agent is not None:
                agent.notice()

        tools = KeeperTools(
            store=self._store,
            files=self._make_files(http),
            engine=self._engine,
            table=self._table,
            may_load=self._may_load,
            changed=changed,
            rng=self._rng,
            crashes=self._crashes,
        )
        memory = NodeMemory(self._settings.store_dir / "node_memory.json")
        agent = Agent(tools, memory, self._changed, self._forget_counts)
        return agent

    def _make_files(self, http: HttpSession) -> ModelFiles:
        settings = self._settings
        tools = SourceTools(
            http.get,
            Credentials(settings.credentials_dirs, self._environment),
            settings.claims_dir,
            frozenset(settings.plain_http_registries),
        )
        limits = FetchLimits(
            settings.store_max_file_bytes, settings.store_parallel_downloads, settings.store_bytes_per_second
        )
        sources = Sources(tools)
        fetcher = Fetcher(self._store, sources, self._rng, limits)
        keys = TrustedKeys(settings.trusted_keys_dirs)
        signatures = Signatures(self._store, sources, keys, required=settings.require_signatures)
        return ModelFiles(self._store, fetcher, signatures)

    def _forget_counts(self, model: str) -> None:
        self._counts.forget(model)
        self._desk.forget_counts(model)

    def _terms(self) -> ServiceTerms:
        return ServiceTerms(_VERSION, self._settings.max_body_bytes, self._settings.model_control)

    def _make_grpc_server(self, agent: Agent) -> Http2Server:
        parts = GrpcParts(
            models=self._table,
            node=agent,
            desk=self._desk,
            observer=self._observer,
            terms=self._terms(),
        )
        most = self._settings.max_body_bytes
        rules = CallRules(most, BodyBudget(_BODIES_AT_ONCE * most), asyncio.get_running_loop())
        dispatcher = grpc_dispatcher(parts, rules)
        return Http2Server(dispatcher.open, Http2Limits(), self._settings.max_connections)

    def _make_server(
        self, agent: Agent, grpc: Http2Server, spans: "SpanExporter | None"
    ) -> tuple[MetricsPage, InferenceServer]:
        gauges = Gauges(
            ready=lambda: agent.readiness().ready,
            connections=lambda: server.connection_count + grpc.connection_count,
            store_bytes=self._store.size_bytes,
            store_free_bytes=self._store.free_bytes,
        )
        build = {
            "version": _VERSION,
            "onnxruntime": self._onnx.version,
            "hardware_class": self._settings.hardware_class,
        }
        sources = MetricSources(
            self._counts, self._table, gauges, build, lambda: self._watch.reading, self._desk, spans
        )
        page = MetricsPage(sources if self._settings.metrics else None)
        service = InferenceService(
            self._table,
            agent,
            self._desk,
            page.render,
            self._observer,
            self._terms(),
        )
        limits = HttpLimits(max_body_bytes=self._settings.max_body_bytes)
        server = InferenceServer(service.handle, limits, self._settings.max_connections, service.refuse)
        return page, server

    async def _prepare_page(self, agent: Agent, page: MetricsPage) -> None:
        """Import what metrics need once what is on the disk serves, and before somebody scrapes."""
        await agent.await_ready(_DISK_FIRST_S)
        await asyncio.to_thread(page.prepare)

    async def _follow_control_plane(self, agent: Agent, server: InferenceServer) -> None:
        """Take specs and report, once what is on the disk serves."""
        await agent.await_ready(_DISK_FIRST_S)
        node = ReportedNode(
            name=self._settings.node_name,
            agent=agent,
            build=self._make_status(agent, server),
            changed=self._changed,
            looked_at=self._watch.wait_for_reading,
        )
        await follow_later(self._environment, node, self._rng)

    def _make_status(self, agent: Agent, server: InferenceServer) -> BuildStatus:
        endpoint = f"http://{self._settings.pod_ip}:{server.port}"
        software = SoftwareFacts(_VERSION, self._onnx.version, tuple(self._onnx.available))
        report = TelemetryReport(self._facts, software)

        def build(previous: NodeInferenceStatus, now: datetime) -> NodeInferenceStatus:
            remembered = agent.remembered
            state = NodeState(
                generation=remembered.generation,
                epoch=remembered.epoch,
                stale_epoch=agent.stale_epoch,
                endpoint=endpoint,
                reference_runs=self._references.runs,
                telemetry=report.telemetry(self._watch.reading, self._store.free_bytes()),
                others_load=report.others_load(self._watch.reading),
                ratings=self._desk.all_summaries(),
            )
            return build_status(state, agent.keepers(), previous, now)

        return build

    async def _keep_timings(self) -> None:
        """Time the reference set before any model is loaded, so that neither disturbs the other; then repeat both."""
        await self._references.begin()
        self._may_load.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._references.keep())
            group.create_task(self._timings.run())

    async def _run_until_stopped(self, jobs: list[Job], agent: Agent, servers: _Servers) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job()) for job in jobs]
            await self._stop.wait()
            agent.drain()
            for server in servers:
                server.announce_end()
            await asyncio.sleep(self._settings.drain_delay_s)
            for task in tasks:
                task.cancel()

    async def _shut_down(self, agent: Agent, servers: _Servers) -> None:
        timeout_s = self._settings.drain_timeout_s
        finished = all(await asyncio.gather(*(server.drain(timeout_s) for server in servers)))
        await self._desk.flush()
        await agent.close()
        self._engine.close()
        logger.info("stopped", extra={"drained": finished})
        if self._record.marked:
            # A thread that is still in native code makes the interpreter's end a crash.
            end_process(0)

    def _log_start(self, server: InferenceServer, grpc: Http2Server) -> None:
        grpc_on = self._settings.grpc_port is not None
        logger.info(
            "serving",
            extra={
                "version": _VERSION,
                "address": f"{self._settings.pod_ip}:{server.port}",
                "grpc_address": f"{self._settings.pod_ip}:{grpc.port}" if grpc_on else "off",
                "onnxruntime": self._onnx.version,
                "providers": list(self._settings.provider_chain),
                "available_providers": self._onnx.available,
                "intra_op_threads": self._threads,
                "store": str(self._settings.store_dir),
            },
        )
