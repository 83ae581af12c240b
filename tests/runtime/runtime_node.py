"""The runtime's rooms put together as `app.py` does, without a cluster: real files, real sessions, real sockets."""

import asyncio
import contextlib
import gc
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from fleetfit_api.base import ObjectMeta
from fleetfit_api.node_inference import Assignment, NodeInference, NodeInferenceSpec
from fleetfit_runtime.agent.agent import Agent
from fleetfit_runtime.agent.crash_book import CrashBook
from fleetfit_runtime.agent.model_keeper import KeeperTools, ModelKeeper
from fleetfit_runtime.agent.node_memory import NodeMemory
from fleetfit_runtime.engine.engine import Engine
from fleetfit_runtime.engine.model_table import ModelTable
from fleetfit_runtime.engine.session import OnnxRuntime
from fleetfit_runtime.ratings.ask import Asker
from fleetfit_runtime.ratings.desk import RatingDesk
from fleetfit_runtime.ratings.journal import RatingJournal
from fleetfit_runtime.ratings.source import Network
from fleetfit_runtime.serve.grpc.call import UnaryCall
from fleetfit_runtime.serve.http_limits import HttpLimits
from fleetfit_runtime.serve.http_message import HttpRequest
from fleetfit_runtime.serve.request_job import RequestJob
from fleetfit_runtime.serve.server import InferenceServer
from fleetfit_runtime.serve.service import InferenceService, ServiceTerms
from fleetfit_runtime.store.blobs import BlobStore
from fleetfit_runtime.store.disk_budget import DiskBudget
from fleetfit_runtime.store.fetch import Fetcher
from fleetfit_runtime.store.model_files import ModelFiles
from fleetfit_runtime.store.signatures import Signatures
from fleetfit_runtime.store.sources import Sources, SourceTools
from fleetfit_runtime.store.trusted_keys import TrustedKeys
from fleetfit_runtime.telemetry.request_counts import RequestCounts

CPU = "CPUExecutionProvider"


@dataclass
class Node:
    """One node's runtime in this process."""

    agent: Agent
    server: InferenceServer
    store: BlobStore
    engine: Engine
    table: ModelTable
    counts: RequestCounts
    client: aiohttp.ClientSession
    stop: Callable[[], Awaitable[None]]
    desk: RatingDesk
    generation: int = 0

    def assign(self, *assignments: Assignment, epoch: int = 1, uid: str = "u1") -> None:
        """Let the node take a spec as the watch would."""
        self.generation += 1
        self.agent.take(
            NodeInference(
                metadata=ObjectMeta(name="n1", uid=uid, generation=self.generation),
                spec=NodeInferenceSpec(leader_epoch=epoch, assignments=list(assignments)),
            )
        )

    @property
    def keeper(self) -> ModelKeeper:
        return self.agent.keepers()[0]

    async def until(self, holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
        """Wait until something holds, looked at after every change that the agent notices."""
        async with asyncio.timeout(timeout_s):
            while not holds():
                await self.agent.changed.wait()
                self.agent.changed.clear()

    async def until_phase(self, phase: str, variant: str | None = None) -> None:
        await self.until(
            lambda: (
                self.keeper.phase == phase
                and (variant is None or getattr(self.keeper.assignment, "variant", "") == variant)
            )
        )

    async def until_remembered(self, variant: str) -> None:
        """Wait until a restart would find that the variant was the last that worked."""
        memory = self.agent._memory
        async with asyncio.timeout(20):
            while variant not in {each.variant for each in memory.read().last_good.values()}:  # noqa: ASYNC110 - a disk has no event
                await asyncio.sleep(0.01)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.port}{path}"

    async def infer(self, x: list[float], model: str = "digits") -> tuple[int, dict[str, object]]:
        body = {"inputs": [{"name": "x", "shape": [1, len(x)], "datatype": "FP32", "data": x}]}
        async with self.client.post(self.url(f"/v2/models/{model}/infer"), json=body) as response:
            return response.status, await response.json()


MakeNode = Callable[..., Awaitable[Node]]


async def start_node(
    directory: Path,
    limits: HttpLimits,
    budget: DiskBudget,
    max_waiting: int,
    providers: tuple[str, ...],
    clock: Callable[[], float] = time.time,
    trusted: Sequence[Network] = (),
    model_control: bool = True,
) -> Node:
    store = BlobStore(directory, budget)
    store.open()
    table, counts, changed, may_load = ModelTable(), RequestCounts(), asyncio.Event(), asyncio.Event()
    may_load.set()
    engine = Engine(OnnxRuntime(providers, 1), max_waiting, counts.loaded)
    http = aiohttp.ClientSession()
    agents: list[Agent] = []
    sources = Sources(SourceTools(lambda: http, idle_timeout_s=5.0))
    signatures = Signatures(store, sources, TrustedKeys([directory.parent / "trusted-keys"]))
    tools = KeeperTools(
        store=store,
        files=ModelFiles(store, Fetcher(store, sources, random.Random(1)), signatures),
        engine=engine,
        table=table,
        may_load=may_load,
        changed=lambda: agents[0].notice(),
        rng=random.Random(1),
        crashes=CrashBook(None, time.time),
        retry_first_s=0.01,
        retry_cap_s=0.05,
    )
    memory = NodeMemory(directory / "node_memory.json")
    agent = Agent(tools, memory, changed, counts.forget, tidy_interval_s=0.05)
    agents.append(agent)
    desk = RatingDesk(RatingJournal(directory / "ratings"), Asker(random.Random(1), clock), trusted, clock)
    desk.recover()
    terms = ServiceTerms("test", limits.max_body_bytes, model_control)
    service = InferenceService(table, agent, desk, lambda _accept: (b"", "text/plain"), counts, terms)
    server = InferenceServer(service.handle, limits, 64, service.refuse)
    await server.start("127.0.0.1", 0)
    job, client = asyncio.create_task(agent.run()), aiohttp.ClientSession()

    async def stop() -> None:
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)
        await client.close()
        await server.drain(5.0)
        await desk.flush()
        await agent.close()
        engine.close()
        await http.close()

    return Node(agent, server, store, engine, table, counts, client, stop, desk)


@contextlib.contextmanager
def no_collector() -> Iterator[None]:
    """Let nothing be freed but what is let go."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def requests_alive() -> list[object]:
    """Return requests, and what answers them, that something still holds on to."""
    kinds = (RequestJob, HttpRequest, UnaryCall)
    return [each for each in gc.get_objects() if isinstance(each, kinds)]
