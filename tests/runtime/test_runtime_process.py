"""The runtime as a process: starts from its disk without a control plane, drains on SIGTERM, refuses bad settings."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from runtime_disk import replace_by_file
from runtime_models import saved, scale_model, slow_model
from runtime_process import environment, line_with, remember, runtime


async def test_ratings_survive_a_restart(tmp_path: Path) -> None:
    directory = tmp_path / "store"
    remember(directory, saved(tmp_path, "a", scale_model(2.0)))
    outcomes = []
    for _ in range(2):
        async with runtime(directory) as (process, address), aiohttp.ClientSession() as client:
            await line_with(process, "model serves")
            rating = {"id": "r1", "score": 0.5}
            async with client.post(f"{address}/v2/models/digits/ratings", json=rating) as response:
                outcomes.append(await response.json())
            async with client.get(f"{address}/metrics") as response:
                assert "fleetfit_runtime_rating_score{" in await response.text()
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    assert [outcome["accepted"] for outcome in outcomes] == [1, 0]
    assert [outcome["duplicate"] for outcome in outcomes] == [0, 1]


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
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "token"}, "OTEL_EXPORTER_OTLP_HEADERS"),
        ({"OTEL_TRACES_SAMPLER_ARG": "2"}, "OTEL_TRACES_SAMPLER_ARG"),
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
