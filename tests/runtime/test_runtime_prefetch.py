"""Fetching ahead of a node's turn: the switch needs no download, and nothing that is needed suffers for it."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from fleetfit_api.base import ObjectMeta
from fleetfit_api.model_status import ModelPhase
from fleetfit_api.node_inference import Assignment, NodeInference, NodeInferenceSpec, UpcomingModel
from fleetfit_api.reasons import Reason
from fleetfit_runtime.store.disk_budget import DiskBudget
from runtime_models import assignment, saved, scale_model
from runtime_node import MakeNode, Node


class ModelServer:
    """Serves files by name, counts who asks, and can be made to send nothing."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.asked: Counter[str] = Counter()
        self.starts: list[int] = []
        self.broken: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.base = ""

    def model(self, name: str, factor: float, padding_bytes: int = 0) -> Assignment:
        """Return an assignment of y = factor * x, served from here; padding makes its file larger."""
        model = scale_model(factor)
        model.doc_string = "z" * padding_bytes
        path = saved(self.directory, name, model)
        return assignment(path, name, uri=f"{self.base}/{path.name}")

    async def answer(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        self.asked[name.removesuffix(".onnx")] += 1
        if name.removesuffix(".onnx") in self.broken:
            return web.Response(status=500)
        content = (self.directory / name).read_bytes()
        start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.starts.append(start)
        response = web.StreamResponse(status=206 if start else 200)
        response.content_length = len(content) - start
        response.headers["ETag"] = '"one"'
        if start:
            response.headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        await response.prepare(request)
        half = start + (len(content) - start) // 2
        await response.write(content[start:half])
        await self.gate.wait()
        await response.write(content[half:])
        return response


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ModelServer]:
    (tmp_path / "served").mkdir()
    server = ModelServer(tmp_path / "served")
    application = web.Application()
    application.router.add_get("/{name}", server.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    server.gate.set()
    await runner.cleanup()


@pytest.fixture
async def node(make_node: MakeNode) -> Node:
    return await make_node(budget=DiskBudget(spare_share=0.0))


def ahead(wanted: Assignment) -> UpcomingModel:
    return UpcomingModel(
        uri=wanted.uri, sha256=wanted.sha256, size_bytes=wanted.size_bytes, files=wanted.files
    )


def tell(node: Node, *assignments: Assignment, upcoming: tuple[Assignment, ...] = ()) -> None:
    node.generation += 1
    spec = NodeInferenceSpec(
        leader_epoch=1, assignments=list(assignments), upcoming=[ahead(each) for each in upcoming]
    )
    metadata = ObjectMeta(name="n1", uid="u1", generation=node.generation)
    node.agent.take(NodeInference(metadata=metadata, spec=spec))


async def until_stored(node: Node, *wanted: Assignment) -> None:
    async with asyncio.timeout(20):
        while not all(node.store.has(each.sha256) for each in wanted):  # noqa: ASYNC110 - a disk has no event
            await asyncio.sleep(0.01)


async def until_asked(server: ModelServer, name: str, times: int = 1) -> None:
    async with asyncio.timeout(20):
        while server.asked[name] < times:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)


async def test_switch_to_what_was_fetched_ahead_downloads_nothing(node: Node, server: ModelServer) -> None:
    old, new = server.model("old", 2.0), server.model("new", 3.0)
    tell(node, old, upcoming=(new,))
    await until_stored(node, old, new)
    assert node.keeper.phase == ModelPhase.READY
    asked = Counter(server.asked)
    assert asked == {"old": 1, "new": 1}
    server.broken = {"old", "new"}
    tell(node, new)
    await node.until_phase(ModelPhase.READY, "new")
    assert server.asked == asked
    assert (await node.infer([1.0, 1.0, 1.0]))[1]["outputs"][0]["data"] == [3.0] * 3  # type: ignore[index]


async def test_node_that_waits_for_its_first_model_fetches_it_ahead(node: Node, server: ModelServer) -> None:
    new = server.model("new", 3.0)
    tell(node, upcoming=(new,))
    await until_stored(node, new)
    tell(node, new)
    await node.until_phase(ModelPhase.READY, "new")
    assert server.asked == {"new": 1}


async def test_what_is_assigned_comes_first_and_takes_over_what_was_begun(
    node: Node, server: ModelServer
) -> None:
    first, second, later = server.model("first", 2.0), server.model("second", 3.0), server.model("later", 4.0)
    server.gate.clear()
    tell(node, first, upcoming=(later,))
    await until_asked(server, "first")
    assert server.asked["later"] == 0, "nothing is fetched ahead while a model is on its way"
    server.gate.set()
    await node.until_phase(ModelPhase.READY, "first")
    await until_stored(node, later)

    server.gate.clear()
    tell(node, first, upcoming=(second,))
    await until_asked(server, "second")
    server.gate.set()
    tell(node, second)
    await node.until_phase(ModelPhase.READY, "second")


async def test_interrupted_fetch_goes_on_where_it_stopped(node: Node, server: ModelServer) -> None:
    old, late = server.model("old", 2.0), server.model("late", 3.0, padding_bytes=600_000)
    tell(node, old)
    await node.until_phase(ModelPhase.READY)
    server.gate.clear()
    tell(node, old, upcoming=(late,))
    partial = node.store.partial_path(late.sha256)
    async with asyncio.timeout(10):
        while not partial.exists() or partial.stat().st_size == 0:  # noqa: ASYNC110 - a disk has no event
            await asyncio.sleep(0.01)
    # A look at the disk in between leaves what has come alone.
    node.agent.notice()
    await node.until(lambda: node.agent.remembered.last_good != {})
    other = server.model("other", 5.0)
    server.gate.set()
    tell(node, other, upcoming=(late,))
    await node.until_phase(ModelPhase.READY, "other")
    await until_stored(node, late)
    assert server.asked["late"] == 2
    assert server.starts[-1] > 0
    assert not partial.exists()


@pytest.mark.parametrize("content", ["broken", "other bytes"])
async def test_failure_to_fetch_ahead_is_nobodys_failure(
    node: Node, server: ModelServer, content: str
) -> None:
    old, bad, good = server.model("old", 2.0), server.model("bad", 3.0), server.model("good", 4.0)
    if content == "broken":
        server.broken.add("bad")
    else:
        bad = bad.model_copy(update={"sha256": hashlib.sha256(b"else").hexdigest()})
    tell(node, old, upcoming=(bad, good))
    await until_stored(node, old, good)
    assert not node.store.has(bad.sha256)
    assert (node.keeper.phase, node.keeper.reason, node.keeper.message) == ("Ready", Reason.SERVING, "")
    assert node.agent.readiness().ready


@pytest.mark.parametrize("room", ["budget", "disk"])
async def test_what_does_not_fit_beside_what_is_needed_is_not_fetched(
    make_node: MakeNode, server: ModelServer, room: str
) -> None:
    old = server.model("old", 2.0)
    large, small = server.model("large", 3.0, padding_bytes=100_000), server.model("small", 4.0)
    most_bytes = old.size_bytes + small.size_bytes + 1000
    budget = DiskBudget(max_bytes=most_bytes, spare_share=0.0)
    if room == "disk":
        # A quarter of the disk is to stay free, which the large one would take.
        budget = DiskBudget(
            spare_share=0.25, free_bytes=lambda _: (1 << 30) + 50_000, capacity_bytes=lambda _: 4 << 30
        )
    node = await make_node(budget=budget)
    tell(node, old, upcoming=(large, small))
    await until_stored(node, old, small)
    assert server.asked["large"] == 0
    assert node.keeper.phase == ModelPhase.READY


async def test_assigned_model_gets_the_room_of_what_was_fetched_ahead(
    make_node: MakeNode, server: ModelServer
) -> None:
    old, soon = server.model("old", 2.0), server.model("soon", 3.0, padding_bytes=50_000)
    urgent = server.model("urgent", 4.0, padding_bytes=60_000)
    node = await make_node(budget=DiskBudget(max_bytes=100_000, spare_share=0.0))
    tell(node, old, upcoming=(soon,))
    await until_stored(node, old, soon)
    tell(node, urgent, upcoming=(soon,))
    await node.until_phase(ModelPhase.READY, "urgent")
    assert node.store.has(old.sha256), "it was the last that worked"
    assert not node.store.has(soon.sha256)
    assert node.store.size_bytes() <= 100_000
    assert server.asked["soon"] == 1, "it is not fetched again while it does not fit"


async def test_older_files_make_room_for_what_is_to_come(make_node: MakeNode, server: ModelServer) -> None:
    names = ("one", "two", "three")
    one, two, three = (server.model(name, 2.0 + at, padding_bytes=50_000) for at, name in enumerate(names))
    soon = server.model("soon", 9.0, padding_bytes=50_000)
    node = await make_node(budget=DiskBudget(max_bytes=3 * soon.size_bytes + 1000, spare_share=0.0))
    for each in (one, two, three):
        tell(node, each)
        await node.until_phase(ModelPhase.READY, each.variant)
    tell(node, three, upcoming=(soon,))
    await until_stored(node, soon)
    assert node.store.has(three.sha256)
    assert not node.store.has(one.sha256)


async def test_plan_that_is_dropped_ends_the_download_and_its_beginning_goes(
    node: Node, server: ModelServer
) -> None:
    old, dropped = server.model("old", 2.0), server.model("dropped", 3.0, padding_bytes=600_000)
    tell(node, old)
    await node.until_phase(ModelPhase.READY)
    server.gate.clear()
    tell(node, old, upcoming=(dropped,))
    await until_asked(server, "dropped")
    tell(node, old)
    server.gate.set()
    partial = node.store.partial_path(dropped.sha256).parent
    async with asyncio.timeout(10):
        while list(partial.iterdir()):  # noqa: ASYNC110 - a disk has no event
            await asyncio.sleep(0.01)
    assert not node.store.has(dropped.sha256)


async def test_source_that_fails_for_a_while_is_asked_again(node: Node, server: ModelServer) -> None:
    quick = replace(node.agent._prefetcher._tools, retry_first_s=0.01, retry_cap_s=0.01)
    node.agent._prefetcher._tools = quick
    old, soon = server.model("old", 2.0), server.model("soon", 3.0)
    server.broken.add("soon")
    tell(node, old, upcoming=(soon,))
    await until_asked(server, "soon", 3)
    server.broken.clear()
    await until_stored(node, soon)
    assert node.keeper.phase == ModelPhase.READY


async def test_restart_goes_on_fetching_ahead(
    make_node: MakeNode, server: ModelServer, tmp_path: Path
) -> None:
    before = await make_node(budget=DiskBudget(spare_share=0.0))
    old, soon = server.model("old", 2.0), server.model("soon", 3.0)
    server.broken.add("soon")
    tell(before, old, upcoming=(soon,))
    memory = tmp_path / "store" / "node_memory.json"
    await before.until(lambda: memory.exists() and soon.sha256.encode() in memory.read_bytes())
    await before.until_phase(ModelPhase.READY)
    await before.stop()
    server.broken.clear()
    after = await make_node(budget=DiskBudget(spare_share=0.0))
    after.agent.resume()
    await until_stored(after, soon)
    assert after.keeper.phase == ModelPhase.READY
