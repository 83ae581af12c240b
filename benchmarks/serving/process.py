"""A server as a process on one core: start, wait until it answers, what processor time and memory it took, stop."""

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SERVER_CORE: Final = 0
CLIENT_CORE: Final = 1
# Each server answers gRPC on the port that is its HTTP port and so many more.
GRPC_PORTS_ABOVE: Final = 100
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_READY_TIMEOUT_S: Final = 60.0
_LOOK_AGAIN_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running server.

    Attributes:
        process: The process that was started.
        port: Where it answers on the loopback address.
        cold_start_s: Seconds from its start to its first ready answer.
    """

    process: subprocess.Popen[bytes]
    port: int
    cold_start_s: float

    @property
    def grpc_port(self) -> int:
        """Where it answers gRPC, if it does."""
        return self.port + GRPC_PORTS_ABOVE

    def cpu_s(self) -> float:
        """Return the processor seconds that the whole process tree has used."""
        return sum(_cpu_s(pid) for pid in _tree(self.process.pid))

    def pss_bytes(self) -> int:
        """Return the memory of the process tree, shared pages divided among those that share them."""
        return sum(_pss_bytes(pid) for pid in _tree(self.process.pid))


@contextlib.contextmanager
def running(
    command: Sequence[str],
    environment: Mapping[str, str],
    port: int,
    ready_path: str,
    *,
    cores: Sequence[int] = (SERVER_CORE,),
    log: Path,
) -> Iterator[ServerProcess]:
    """Run a server for the time of the context.

    Args:
        command: The program with its arguments.
        environment: All its environment.
        port: Where it will answer.
        ready_path: Path that answers 200 once it is ready.
        cores: Processor cores that it may use.
        log: File for what it prints.

    Raises:
        RuntimeError: it ended, or was not ready in a minute; the message has the end of its log. Or something else
            answers there already and would be measured in its place.
    """
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise RuntimeError(f"port {port} is taken by another process: stop it first")
    pinned = ["taskset", "-c", ",".join(map(str, cores)), *command]
    with log.open("wb") as output:
        begun = time.monotonic()
        process = subprocess.Popen(  # noqa: S603 (commands of this benchmark)
            pinned, env=dict(environment), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _await_ready(process, f"http://127.0.0.1:{port}{ready_path}", log)
        yield ServerProcess(process, port, time.monotonic() - begun)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end_s = time.monotonic() + _READY_TIMEOUT_S
    while time.monotonic() < end_s:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 (loopback)
            if answer.status == 200:
                return
        time.sleep(_LOOK_AGAIN_S)
    raise RuntimeError(f"the server was not ready: {log.read_text(errors='replace')[-2000:]}")


def _tree(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def _pss_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
