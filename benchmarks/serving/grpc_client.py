"""Closed-loop load over gRPC by Google's own client: as a program it sends a message from a file over and over.

One call takes it some tenths of a millisecond of the client's core, which does not slow a server that always has
another client's call to work on. Each client has a connection of its own.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import grpc
import grpc.aio

METHOD: Final = "/inference.GRPCInferenceService/ModelInfer"
_OPTIONS: Final = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)
_TIMEOUT_S: Final = 60.0


def call_once(port: int, message: bytes) -> bytes:
    """Call ModelInfer once and return the bytes of its answer.

    Raises:
        RuntimeError: it ended in an error.
    """
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS) as channel:
        try:
            answer: bytes = channel.unary_unary(METHOD)(message, timeout=_TIMEOUT_S, wait_for_ready=True)
        except grpc.RpcError as error:
            raise RuntimeError(f"the call failed: {error}") from error
        return answer


async def _client(port: int, message: bytes, end_s: float) -> tuple[list[float], int]:
    latencies_s: list[float] = []
    errors = 0
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS) as channel:
        call = channel.unary_unary(METHOD)
        while (begun_s := time.perf_counter()) < end_s:
            try:
                await call(message, timeout=_TIMEOUT_S)
            except grpc.aio.AioRpcError:
                errors += 1
            else:
                latencies_s.append(time.perf_counter() - begun_s)
    return latencies_s, errors


async def _load(port: int, message: bytes, clients: int, seconds: float) -> dict[str, float]:
    begun_s = time.perf_counter()
    work = [_client(port, message, begun_s + seconds) for _ in range(clients)]
    results = await asyncio.gather(*work)
    took_s = time.perf_counter() - begun_s
    latencies_s = [latency for of_client, _ in results for latency in of_client]
    return report(latencies_s, sum(errors for _, errors in results), took_s)


def report(latencies_s: Sequence[float], errors: int, took_s: float) -> dict[str, float]:
    """Return what came of a load: the latencies of calls that were answered, those that were not, how long it took."""
    ordered = sorted(latencies_s)

    def percentile_ms(fraction: float) -> float:
        return 1000 * ordered[min(len(ordered) - 1, int(fraction * len(ordered)))] if ordered else 0.0

    return {
        "ok": len(ordered),
        "ok_per_s": len(ordered) / took_s,
        "p50_ms": percentile_ms(0.5),
        "p99_ms": percentile_ms(0.99),
        "max_ms": percentile_ms(1.0),
        "errors": errors,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.grpc_client", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("message", type=Path, help="file with a ModelInferRequest")
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    print(
        json.dumps(
            asyncio.run(_load(options.port, options.message.read_bytes(), options.clients, options.seconds))
        )
    )
