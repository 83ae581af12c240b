"""The runtime as a process: starts from its disk without a control plane, drains on SIGTERM, refuses bad settings."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import orjson
import pytest
from fleetfit_api.node_inference import NodeInferenceSpec
from fleetfit_runtime.agent.node_memory import NodeMemory, Remembered
from runtime_disk import replace_by_file
from runtime_models import assignment, saved, scale_model, slow_model


def environment(directory: Path, **over: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "NODE_NAME": "n1",
        "FLEETFIT_HTTP_PORT": "0",
        "FLEETFIT_STORE_DIR": str(directory),
        **over,
    }


@asynccontextmanager
async def runtime(directory: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "fleetfit_runtime",
        env=environment(directory),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process, f"http://{(await line_with(process, 'serving'))['address']}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def line_with(process: asyncio.subprocess.Process, message: str) -> dict[str, str]:
    assert process.stdout is not None
    async with asyncio.timeout(30):
        while line := await process.stdout.readline():
            entry: dict[str, str] = orjson.loads(line)
            if entry["message"] == message:
                return entry
    raise AssertionError(f"the runtime ended without saying {message!r}")


def remember(directory: Path, path: Path) -> None:
    directory.mkdir()
    spec = NodeInferenceSpec(leader_epoch=1, assignments=[assignment(path)])
    NodeMemory(directory / "node_memory.json").write(Remembered(uid="u", generation=1, epoch=1, spec=spec))


async def test_process_serves_from_disk_and_finishes_requests_on_sigterm(tmp_path: Path) -> None:
    store = tmp_path / "store"
    remember(store, saved(tmp_path, "a", slow_model(2.0, size=500, repeats=30)))
    body = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
    async with runtime(store) as (process, base), aiohttp.ClientSession(base) as client:
        await line_with(process, "model serves")
        async with client.get("/v2/health/ready") as response:
            assert response.status == 200
        async with client.get("/metrics") as response:
            assert 'fleetfit_runtime_model_info{fallback="false",model="digits"' in await response.text()

        async def infer() -> int:
            async with client.post("/v2/models/digits/infer", json=body) as response:
                return response.status

        calls = [asyncio.create_task(infer()) for _ in range(4)]
        async with client.get("/v2/health/live") as response:
            assert response.status == 200
        process.send_signal(signal.SIGTERM)
        assert await asyncio.gather(*calls) == [200] * 4
        assert await line_with(process, "stopped")
        assert await process.wait() == 0


async def test_process_outlives_its_disk(tmp_path: Path) -> None:
    store = tmp_path / "store"
    remember(store, saved(tmp_path, "a", scale_model(2.0)))
    async with runtime(store) as (process, base), aiohttp.ClientSession(base) as client:
        await line_with(process, "model serves")
        replace_by_file(store)
        for path in ("/v2/health/live", "/v2/health/ready", "/metrics"):
            async with client.get(path) as response:
                assert response.status == 200, path
        async with client.get("/metrics") as response:
            assert "fleetfit_runtime_store_bytes 0.0" in await response.text()
        assert process.returncode is None


async def test_process_starts_without_a_disk(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.write_bytes(b"")
    async with runtime(store) as (process, base), aiohttp.ClientSession(base) as client:
        await line_with(process, "reference set timed")
        for path in ("/v2/health/live", "/metrics"):
            async with client.get(path) as response:
                assert response.status == 200, path
        process.send_signal(signal.SIGTERM)
        assert await line_with(process, "stopped")
        assert await process.wait() == 0


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"NODE_NAME": ""}, "NODE_NAME"),
        ({"FLEETFIT_HTTP_PORT": "http"}, "FLEETFIT_HTTP_PORT"),
        ({"FLEETFIT_INTRA_OP_THREADS": "0"}, "FLEETFIT_INTRA_OP_THREADS"),
    ],
)
def test_bad_settings_are_named(tmp_path: Path, over: dict[str, str], words: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "fleetfit_runtime"],
        env=environment(tmp_path, **over),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_help_and_version(tmp_path: Path) -> None:
    for option, words in (("--help", "NODE_NAME"), ("--version", "fleetfit-runtime 0.")):
        ended = subprocess.run(
            [sys.executable, "-m", "fleetfit_runtime", option],
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        assert words in ended.stdout
