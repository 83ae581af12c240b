"""The runtime as a process of its own, started from its disk, for the runtime's tests."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
from fleetfit_api.node_inference import NodeInferenceSpec
from fleetfit_runtime.agent.node_memory import NodeMemory, Remembered
from runtime_models import assignment


def environment(directory: Path, **over: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "NODE_NAME": "n1",
        "FLEETFIT_HTTP_PORT": "0",
        "FLEETFIT_GRPC_PORT": "0",
        "FLEETFIT_STORE_DIR": str(directory),
        **over,
    }


@asynccontextmanager
async def runtime(directory: Path, **over: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    async with runtime_on_all_ports(directory, **over) as (process, line):
        yield process, f"http://{line['address']}"


@asynccontextmanager
async def runtime_on_all_ports(
    directory: Path, **over: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, str]]]:
    """Yield the process and its first line, which names its addresses."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "fleetfit_runtime",
        env=environment(directory, **over),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process, await line_with(process, "serving")
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
