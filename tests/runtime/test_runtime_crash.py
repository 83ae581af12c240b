"""A model that crashes or hangs: the process restarts, the others serve, and the model is not tried for ever."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import orjson
import pytest
from fleetfit_api.node_inference import Assignment, NodeInferenceSpec
from fleetfit_runtime.agent.node_memory import NodeMemory, Remembered
from fleetfit_runtime.engine.flight_record import SLOT_BYTES, Mark, record_path
from fleetfit_runtime.engine.model_guard import EXIT_HANGS
from onnx import ModelProto
from runtime_models import assignment, endless_model, saved, scale_model, square_model
from test_runtime_process import environment

ENDLESS = 10**15
# Rows of matrices whose product takes some seconds of one processor.
HUGE = 6000
IMPATIENT = {"FLEETFIT_HANG_SECONDS": "1", "FLEETFIT_HANG_GRACE_SECONDS": "0.3"}


class Runtime:
    """A runtime process, and what it says."""

    def __init__(
        self, process: asyncio.subprocess.Process, client: aiohttp.ClientSession, store: Path
    ) -> None:
        self.process = process
        self.client = client
        self.record = record_path(store)
        self.address = ""
        self.lines: list[dict[str, str]] = []

    async def line_with(self, message: str, **values: str) -> dict[str, str]:
        """Return the first line that says something and was not returned before, whatever was said meanwhile."""
        wanted = {"message": message, **values}
        async with asyncio.timeout(30):
            while True:
                for entry in self.lines:
                    if wanted.items() <= entry.items():
                        self.lines.remove(entry)
                        return entry
                await self._read_line()

    async def _read_line(self) -> None:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        assert line, f"the runtime ended; it has said {self.lines}"
        self.lines.append(orjson.loads(line))

    async def infer(self, model: str, **inputs: list[float] | int) -> tuple[int, str]:
        body = {"inputs": [_tensor(name, value) for name, value in inputs.items()]}
        async with self.client.post(f"{self.address}/v2/models/{model}/infer", json=body) as response:
            return response.status, await response.text()

    async def ready(self) -> bool:
        async with self.client.get(f"{self.address}/v2/health/ready") as response:
            return response.status == 200

    async def pending(self, model: str) -> str:
        """Return why a model does not answer."""
        status, text = await self.infer(model, x=[1.0] * 3, n=1)
        assert status == 503
        return text

    async def until_marked(self, mark: Mark, sha256: str) -> None:
        """Wait until something is being done with a model."""
        async with asyncio.timeout(30):
            while not self._marked(mark, sha256.encode()):  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.01)

    async def crash(self) -> None:
        """End the process as bad native code does."""
        self.process.send_signal(signal.SIGSEGV)
        assert await self.process.wait() == -signal.SIGSEGV

    async def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert await self.process.wait() == 0

    def _marked(self, mark: Mark, key: bytes) -> bool:
        content = self.record.read_bytes()
        slots = [content[at : at + SLOT_BYTES] for at in range(SLOT_BYTES, len(content), SLOT_BYTES)]
        return any(slot[0] == mark and slot[2:].startswith(key) for slot in slots)


def _tensor(name: str, value: list[float] | int) -> dict[str, object]:
    if isinstance(value, int):
        return {"name": name, "shape": [1], "datatype": "INT64", "data": [value]}
    return {"name": name, "shape": [len(value) // 3, 3], "datatype": "FP32", "data": value}


@asynccontextmanager
async def runtime(store: Path, **over: str) -> AsyncIterator[Runtime]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "fleetfit_runtime",
        env=environment(store, **over),
        stdout=asyncio.subprocess.PIPE,
    )
    async with aiohttp.ClientSession() as client:
        started = Runtime(process, client, store)
        try:
            started.address = f"http://{(await started.line_with('serving'))['address']}"
            yield started
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "store"
    directory.mkdir()
    yield directory
    record_path(directory).unlink(missing_ok=True)


def remember(store: Path, *assignments: Assignment) -> None:
    spec = NodeInferenceSpec(leader_epoch=1, assignments=list(assignments))
    NodeMemory(store / "node_memory.json").write(Remembered(uid="u", generation=1, epoch=1, spec=spec))


def good_and(tmp_path: Path, name: str, model: ModelProto) -> tuple[Assignment, Assignment]:
    """Return assignments of a model that works and of one that does not."""
    good = saved(tmp_path, "good", scale_model(2.0))
    bad = saved(tmp_path, name, model)
    return (
        assignment(good, deployment="z-good", model_name="good"),
        assignment(bad, name, deployment="a-bad", model_name="bad"),
    )


async def test_model_that_crashes_in_runs_is_loaded_last_and_then_no_more(
    store: Path, tmp_path: Path
) -> None:
    good, bad = good_and(tmp_path, "bad", endless_model())
    remember(store, good, bad)
    for crashes in range(3):
        async with runtime(store) as node:
            first = await node.line_with("model serves")
            assert crashes == 0 or first["deployment"] == "z-good"
            await node.line_with("model serves")
            run = asyncio.create_task(node.infer("bad", x=[1.0] * 3, n=ENDLESS))
            await node.until_marked(Mark.RUNNING, bad.sha256)
            await node.crash()
            await asyncio.gather(run, return_exceptions=True)
    async with runtime(store) as node:
        await node.line_with("model serves", deployment="z-good")
        await node.line_with("model failed", reason="ModelCrashed")
        assert "3 times within 10 minutes" in await node.pending("bad")
        assert (await node.infer("good", x=[1.0] * 3))[0] == 200
        assert await node.ready()


async def test_model_that_crashes_in_its_load_is_given_up_and_the_last_good_one_serves(
    store: Path, tmp_path: Path
) -> None:
    good, bad = good_and(tmp_path, "bad", endless_model(ENDLESS))
    before = assignment(saved(tmp_path, "two", scale_model(2.0)), "two", deployment="a-bad", model_name="bad")
    remember(store, before)
    async with runtime(store) as node:
        await node.line_with("model serves")
        await node.stop()
    memory = NodeMemory(store / "node_memory.json")
    spec = NodeInferenceSpec(leader_epoch=1, assignments=[good, bad])
    memory.write(memory.read().model_copy(update={"spec": spec}))
    for _ in range(2):
        async with runtime(store) as node:
            await node.until_marked(Mark.LOADING, bad.sha256)
            await node.crash()
    async with runtime(store) as node:
        await node.line_with("model failed", reason="ModelCrashed")
        await node.line_with("model serves", deployment="a-bad")
        status, text = await node.infer("bad", x=[1.0] * 3)
        assert (status, orjson.loads(text)["model_version"]) == (200, "two")
    anew = bad.model_copy(update={"assigned_at": datetime(2026, 1, 1, tzinfo=UTC)})
    memory.write(
        memory.read().model_copy(update={"spec": NodeInferenceSpec(leader_epoch=1, assignments=[anew])})
    )
    async with runtime(store) as node:
        await node.until_marked(Mark.LOADING, bad.sha256)


async def test_what_was_compiled_of_a_model_whose_load_crashed_goes_before_the_next_try(
    store: Path, tmp_path: Path
) -> None:
    good, bad = good_and(tmp_path, "bad", endless_model(ENDLESS))
    remember(store, good, bad)
    compiled = {each.sha256: store / "compiled" / each.sha256 / "blob" for each in (good, bad)}
    for path in compiled.values():
        path.parent.mkdir(parents=True)
        path.write_bytes(b"compiled")
    async with runtime(store) as node:
        await node.until_marked(Mark.LOADING, bad.sha256)
        assert compiled[bad.sha256].exists()
        await node.crash()
    async with runtime(store) as node:
        await node.line_with("model serves", deployment="z-good")
        await node.until_marked(Mark.LOADING, bad.sha256)
        assert [path.exists() for path in compiled.values()] == [True, False]


async def test_planned_stop_in_the_middle_of_a_run_blames_nobody(store: Path, tmp_path: Path) -> None:
    good, bad = good_and(tmp_path, "bad", endless_model())
    remember(store, good, bad)
    async with runtime(store, FLEETFIT_DRAIN_TIMEOUT_SECONDS="0.1", FLEETFIT_DRAIN_DELAY_SECONDS="0") as node:
        await node.line_with("model serves", deployment="a-bad")
        run = asyncio.create_task(node.infer("bad", x=[1.0] * 6, n=ENDLESS))
        await node.until_marked(Mark.RUNNING, bad.sha256)
        await node.stop()
        await asyncio.gather(run, return_exceptions=True)
    assert not (store / "crashes.json").exists()
    async with runtime(store) as node:
        await node.line_with("model serves", deployment="a-bad")
    assert not (store / "crashes.json").exists()


@pytest.mark.parametrize("items", [1, 2], ids=["on-the-event-loop", "in-the-model's-thread"])
async def test_run_that_takes_far_too_long_is_ended_and_the_model_goes_on(
    store: Path, tmp_path: Path, items: int
) -> None:
    remember(store, *good_and(tmp_path, "bad", endless_model()))
    async with runtime(store, FLEETFIT_HANG_SECONDS="0.5") as node:
        await node.line_with("model serves")
        await node.line_with("model serves")
        status, text = await node.infer("bad", x=[1.0] * 3 * items, n=ENDLESS)
        assert status == 504
        assert "took more than 0.5 s and was ended" in text
        assert (await node.infer("bad", x=[1.0] * 3 * items, n=1))[0] == 200
        assert (await node.infer("good", x=[1.0] * 3))[0] == 200


async def test_event_loop_that_hangs_for_good_ends_the_process_and_the_model_is_given_up(
    store: Path, tmp_path: Path
) -> None:
    remember(store, *good_and(tmp_path, "bad", square_model()))
    for hangs in range(2):
        async with runtime(store, **IMPATIENT) as node:
            first = await node.line_with("model serves")
            assert hangs == 0 or first["deployment"] == "z-good"
            await node.line_with("model serves")
            with pytest.raises(aiohttp.ClientError):
                await node.infer("bad", x=[1.0] * 3, n=HUGE)
            assert await node.process.wait() == EXIT_HANGS
    async with runtime(store) as node:
        await node.line_with("model serves", deployment="z-good")
        await node.line_with("model failed", reason="ModelHangs")
        assert "did not end, 2 times" in await node.pending("bad")


async def test_model_that_hangs_for_good_in_its_thread_is_replaced_and_then_given_up(
    store: Path, tmp_path: Path
) -> None:
    remember(store, *good_and(tmp_path, "bad", square_model()))
    async with runtime(store, **IMPATIENT) as node:
        await node.line_with("model serves")
        await node.line_with("model serves")
        for outcome in ("model serves", "model failed"):
            status, text = await node.infer("bad", x=[1.0] * 6, n=HUGE)
            assert status == 504
            assert "could not be ended" in text
            await node.line_with(outcome, deployment="a-bad")
            assert (await node.infer("good", x=[1.0] * 3))[0] == 200
        assert "ModelHangs" in await node.pending("bad")
        assert node.process.returncode is None


async def test_load_that_does_not_end_fails_and_others_are_loaded(store: Path, tmp_path: Path) -> None:
    remember(store, *good_and(tmp_path, "bad", endless_model(ENDLESS)))
    async with runtime(store, FLEETFIT_LONGEST_LOAD_SECONDS="3") as node:
        assert (await node.line_with("model failed"))["reason"] == "ModelHangs"
        await node.line_with("model serves", deployment="z-good")
        assert (await node.infer("good", x=[1.0] * 3))[0] == 200
