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

_METHOD: Final = "/inference.GRPCInferenceService/ModelInfer"
_PREFIX_BYTES: Final = 5
_SECOND: Final = 1e6


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
    with TemporaryDirectory() as directory:
        body, log = Path(directory, "body"), Path(directory, "log")
        body.write_bytes(b"\0" + len(message).to_bytes(_PREFIX_BYTES - 1, "big") + message)
        told = run(
            [
                "h2load",
                f"--clients={clients}",
                "--max-concurrent-streams=1",
                f"--duration={max(1, round(seconds))}",
                f"--data={body}",
                f"--log-file={log}",
                "--header=content-type: application/grpc",
                "--header=te: trailers",
                f"http://127.0.0.1:{port}{_METHOD}",
            ]
        )
        rows = [tuple(map(int, line.split("\t"))) for line in log.read_text().splitlines()]
    ordered = sorted(taken_us for _, status, taken_us in rows if status == 200)
    if not ordered:
        raise RuntimeError(f"no call was answered:\n{told}")
    data = re.search(r"([\d.]+)([KMG]?)B \([\d]+\) data", told)
    if data is None or float(data[1]) == 0:
        raise RuntimeError(f"the answers are empty:\n{told}")
    return {
        "ok": len(ordered),
        "errors": len(rows) - len(ordered),
        "ok_per_s": len(ordered) / max(1, round(seconds)),
        "p50_ms": ordered[len(ordered) // 2] / 1e3,
        "p99_ms": ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))] / 1e3,
        "max_ms": ordered[-1] / 1e3,
    }
