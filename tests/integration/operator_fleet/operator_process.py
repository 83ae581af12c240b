"""Runs the operator as the process that users run, as the service account of the chart."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

FAST = {
    "FLEETFIT_LEASE_DURATION_S": "3",
    "FLEETFIT_LEASE_DEADLINE_S": "2",
    "FLEETFIT_LEASE_RENEW_S": "0.4",
    "FLEETFIT_DEBOUNCE_IDLE_S": "0.05",
    "FLEETFIT_DEBOUNCE_CAP_S": "0.5",
}


class OperatorProcess:
    """One replica."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log

    async def kill(self) -> None:
        """Let it end without a chance to do anything."""
        self.process.kill()
        await self.process.wait()

    async def stop(self, timeout_s: float = 15.0) -> int:
        """Ask it to end; return its exit status."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(timeout_s):
            return await self.process.wait()

    async def get(self, path: str) -> tuple[int, str]:
        """Return status and text of a page of its HTTP server; 0 while it does not answer."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.port}{path}") as answer,
            ):
                return answer.status, await answer.text()
        except aiohttp.ClientError:
            return 0, ""

    async def until_ready(self, timeout_s: float = 60.0) -> None:
        async with asyncio.timeout(timeout_s):
            while (await self.get("/readyz"))[0] != 200:
                if self.process.returncode is not None:
                    raise AssertionError(f"the operator ended:\n{self.log.read_text()[-3000:]}")
                await asyncio.sleep(0.05)

    async def is_leader(self) -> bool:
        return "fleetfit_leader 1.0" in (await self.get("/metrics"))[1]


@asynccontextmanager
async def operator_process(
    kubeconfig: Path, directory: Path, name: str = "operator-0", **env: str
) -> AsyncIterator[OperatorProcess]:
    """Start a replica and stop it in the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = directory / f"{name}-{port}.log"
    environment = {
        "PATH": os.defpath,
        "KUBECONFIG": str(kubeconfig),
        "POD_NAME": name,
        "POD_NAMESPACE": "fleetfit-system",
        "POD_IP": "127.0.0.1",
        "FLEETFIT_METRICS_PORT": str(port),
        **FAST,
        **env,
    }
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "fleetfit_operator", env=environment, stdout=output, stderr=output
        )
    operator = OperatorProcess(process, port, log)
    try:
        yield operator
    finally:
        if process.returncode is None:
            await operator.stop()
