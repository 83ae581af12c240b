"""Load on a server from the client's core: by wrk and h2load where they are installed, else by clients in Python.

Load at a given rate, which neither of the two offers, always comes from the own client.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.serving import h2load
from benchmarks.serving.bodies import Request
from benchmarks.serving.process import CLIENT_CORE, ServerProcess

_WRK_SCRIPT: Final = """
function init(args) local file = io.open(args[1], "rb"); message = file:read("*a"); file:close() end
function request() return message end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\\nRESULT {"requests": %d, "us": %d, "p50_us": %f, "p99_us": %f, "errors": %d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.status + e.read + e.write + e.timeout + e.connect))
end
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of some seconds of load.

    Attributes:
        ok_per_s: Answers with outputs a second.
        p50_ms: Their median latency.
        p99_ms: Their 99th percentile.
        max_ms: Their largest, 0 where it is not known.
        errors: Requests without such an answer.
        refused: Of these, those with status 503.
        cpu_us: Processor time of the server for each request that it answered in whichever way.
    """

    ok_per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    errors: int
    refused: int
    cpu_us: float


def closed_loop(server: ServerProcess, request: Request, clients: int, seconds: float) -> Measured:
    """Let so many clients ask, each again as soon as it is answered."""
    if request.grpc:
        return _over_grpc(server, request, clients, seconds)
    if shutil.which("wrk") is None:
        return _own(server, request, ["--clients", str(clients), "--seconds", str(seconds)])
    with tempfile.TemporaryDirectory() as directory:
        script, message = Path(directory, "load.lua"), Path(directory, "request")
        script.write_text(_WRK_SCRIPT)
        message.write_bytes(request.http())
        before_s = server.cpu_s()
        command = ["wrk", "-t1", f"-c{clients}", f"-d{max(1, round(seconds))}s", "-s", str(script)]
        output = _on_client_core([*command, f"http://127.0.0.1:{server.port}", "--", str(message)])
        used_s = server.cpu_s() - before_s
    told = json.loads(output.rpartition("RESULT ")[2])
    ok = told["requests"] - told["errors"]
    return Measured(
        ok_per_s=ok / told["us"] * 1e6,
        p50_ms=told["p50_us"] / 1e3,
        p99_ms=told["p99_us"] / 1e3,
        max_ms=0.0,
        errors=told["errors"],
        refused=0,
        cpu_us=used_s / max(told["requests"], 1) * 1e6,
    )


def open_loop(server: ServerProcess, request: Request, clients: int, seconds: float, rate: float) -> Measured:
    """Send so many requests a second over so many connections, whether or not answers come."""
    arguments = ["--clients", str(clients), "--seconds", str(seconds), "--rate", str(rate)]
    return _own(server, request, arguments)


def client_programs() -> str:
    """Name the programs that make the closed-loop load."""
    http = "wrk" if shutil.which("wrk") else "the own client"
    return f"{http} over HTTP, {'h2load' if h2load.is_installed() else 'grpcio'} over gRPC"


class Background:
    """Closed-loop load in the background, from the client's core too, until it is stopped.

    Args:
        server: What is asked.
        request: The request.
        clients: Connections.
    """

    def __init__(self, server: ServerProcess, request: Request, clients: int) -> None:
        self._directory = tempfile.TemporaryDirectory()
        message = Path(self._directory.name, "request")
        message.write_bytes(request.http())
        command = _client_command(server, message, ["--clients", str(clients), "--seconds", "3600"])
        pinned = ["taskset", "-c", str(CLIENT_CORE), *command]
        self._process = subprocess.Popen(pinned, stdout=subprocess.DEVNULL)  # noqa: S603 (this package)
        time.sleep(0.5)

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._directory.cleanup()


def _over_grpc(server: ServerProcess, request: Request, clients: int, seconds: float) -> Measured:
    call = h2load.load if h2load.is_installed() else _by_grpcio
    before_s = server.cpu_s()
    told = call(server.grpc_port, request.body, clients, seconds, _on_client_core)
    used_s = server.cpu_s() - before_s
    return Measured(
        ok_per_s=told["ok_per_s"],
        p50_ms=told["p50_ms"],
        p99_ms=told["p99_ms"],
        max_ms=told["max_ms"],
        errors=round(told["errors"]),
        refused=0,
        cpu_us=used_s / max(told["ok"] + told["errors"], 1) * 1e6,
    )


def _by_grpcio(
    port: int, message: bytes, clients: int, seconds: float, run: Callable[[Sequence[str]], str]
) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "message")
        path.write_bytes(message)
        command = [sys.executable, "-m", "benchmarks.serving.grpc_client", str(port), str(path)]
        told: dict[str, float] = json.loads(run([*command, f"--clients={clients}", f"--seconds={seconds}"]))
    return told


def _own(server: ServerProcess, request: Request, arguments: Sequence[str]) -> Measured:
    with tempfile.TemporaryDirectory() as directory:
        message = Path(directory, "request")
        message.write_bytes(request.http())
        before_s = server.cpu_s()
        told: dict[str, Any] = json.loads(_on_client_core(_client_command(server, message, arguments)))
        used_s = server.cpu_s() - before_s
    statuses: dict[str, int] = told["statuses"]
    answers = sum(statuses.values())
    return Measured(
        ok_per_s=told["ok_per_s"],
        p50_ms=told["p50_ms"],
        p99_ms=told["p99_ms"],
        max_ms=told["max_ms"],
        errors=answers - statuses.get("200", 0) + told["broken"],
        refused=statuses.get("503", 0),
        cpu_us=used_s / max(answers, 1) * 1e6,
    )


def _client_command(server: ServerProcess, message: Path, arguments: Sequence[str]) -> list[str]:
    return [
        sys.executable,
        "-m",
        "benchmarks.serving.load_client",
        str(server.port),
        str(message),
        *arguments,
    ]


def _on_client_core(command: Sequence[str]) -> str:
    pinned = ["taskset", "-c", str(CLIENT_CORE), *command]
    return subprocess.run(pinned, check=True, stdout=subprocess.PIPE, text=True, timeout=120).stdout  # noqa: S603
