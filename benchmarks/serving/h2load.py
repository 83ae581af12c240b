"""Closed-loop load over gRPC by nghttp2's h2load, whose calls cost the client's core next to nothing.

It counts HTTP statuses and not gRPC's, which come after the message: that the replies are right is checked beforehand,
and that every one of them has a message by the bytes that came.
"""

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.serving.grpc_client import METHOD, report

_PREFIX_BYTES: Final = 5


def is_installed() -> bool:
    """Tell whether the program is there."""
    return shutil.which("h2load") is not None


def load(
    port: int, message: bytes, clients: int, seconds: float, run: Callable[[Sequence[str]], str]
) -> dict[str, float]:
    """Let so many clients, each with a connection of its own, call ModelInfer again as soon as they are answered.

    Args:
        port: Where the server answers.
        message: The request.
        clients: How many.
        seconds: How long; whole seconds.
        run: Runs a command where the client belongs, and returns what it prints.

    Raises:
        RuntimeError: an answer has no message.
    """
    whole_s = max(1, round(seconds))
    with TemporaryDirectory() as directory:
        body, log = Path(directory, "body"), Path(directory, "log")
        body.write_bytes(b"\0" + len(message).to_bytes(_PREFIX_BYTES - 1, "big") + message)
        told = run(
            [
                "h2load",
                f"--clients={clients}",
                "--max-concurrent-streams=1",
                f"--duration={whole_s}",
                f"--data={body}",
                f"--log-file={log}",
                "--header=content-type: application/grpc",
                "--header=te: trailers",
                f"http://127.0.0.1:{port}{METHOD}",
            ]
        )
        rows = [tuple(map(int, line.split("\t"))) for line in log.read_text().splitlines()]
    latencies_s = [taken_us / 1e6 for _, status, taken_us in rows if status == 200]
    if not latencies_s:
        raise RuntimeError(f"no call was answered:\n{told}")
    data = re.search(r"([\d.]+)([KMG]?)B \([\d]+\) data", told)
    if data is None or float(data[1]) == 0:
        raise RuntimeError(f"the answers are empty:\n{told}")
    return report(latencies_s, len(rows) - len(latencies_s), whole_s)
