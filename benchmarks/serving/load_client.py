"""A small load client in a process of its own: closed loop (each client asks again at once) or open loop (at a rate).

It is used where wrk is missing, and for load at a given rate, which wrk does not offer. As a program it reads a request
from a file and prints what came of it as JSON.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_DRAIN_S = 5.0
_TIMER_LATENESS_S = 0.0015


class _Client(asyncio.Protocol):
    """One keep-alive connection with at most one request on its way."""

    def __init__(self, load: "_Load") -> None:
        self._load = load
        self._transport: Any = None
        self._received = bytearray()
        self._wanted = 0
        self._asked_s = 0.0
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def ask(self, request: bytes, due_s: float) -> None:
        self.busy = True
        self._asked_s = due_s
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._wanted:
            end = self._received.find(b"\r\n\r\n")
            length = _LENGTH.search(self._received, 0, end) if end > 0 else None
            if length is None:
                return
            self._wanted = end + 4 + int(length[1])
        if len(self._received) >= self._wanted:
            status = int(self._received[9:12])
            self._received.clear()
            self._wanted = 0
            self.busy = False
            self._load.answered(self, status, self._asked_s)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (the protocol's signature)
        if self.busy:
            self._load.broken += 1
        self._load.lost(self)

    def close(self) -> None:
        self._transport.close()


class _Load:
    """Sends one request over and over."""

    def __init__(self, request: bytes, seconds: float) -> None:
        self._request = request
        self._seconds = seconds
        self._clients: list[_Client] = []
        self._idle: deque[_Client] = deque()
        self._end_s = 0.0
        self._closed = True
        self.statuses: Counter[int] = Counter()
        self.latencies_s: list[float] = []
        self.in_time = 0
        self.broken = 0
        self.unsent = 0

    async def connect(self, port: int, clients: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(clients):
            _, client = await loop.create_connection(lambda: _Client(self), "127.0.0.1", port)
            self._clients.append(client)
        self._idle.extend(self._clients)

    async def closed_loop(self) -> None:
        self._end_s = time.perf_counter() + self._seconds
        for client in self._clients:
            client.ask(self._request, time.perf_counter())
        await self._finish()

    async def open_loop(self, rate: float) -> None:
        self._closed = False
        begun_s = time.perf_counter()
        self._end_s = begun_s + self._seconds
        sent = 0
        while (now_s := time.perf_counter()) < self._end_s:
            while (due_s := begun_s + sent / rate) <= now_s:
                sent += 1
                if self._idle:
                    self._idle.popleft().ask(self._request, due_s)
                else:
                    self.unsent += 1
            # The loop's timers come up to a millisecond late, which would count as the server's.
            await asyncio.sleep(max(0.0, due_s - time.perf_counter() - _TIMER_LATENESS_S))
        await self._finish()

    def answered(self, client: _Client, status: int, asked_s: float) -> None:
        now_s = time.perf_counter()
        self.statuses[status] += 1
        if status == 200:
            self.latencies_s.append(now_s - asked_s)
            # What a queue still holds at the end was not done in the time.
            self.in_time += now_s < self._end_s
        if self._closed and now_s < self._end_s:
            client.ask(self._request, now_s)
        else:
            self._idle.append(client)

    def lost(self, client: _Client) -> None:
        if client in self._idle:
            self._idle.remove(client)

    async def _finish(self) -> None:
        await asyncio.sleep(max(0.0, self._end_s - time.perf_counter()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                await self._all_idle()
        for client in self._clients:
            client.close()

    async def _all_idle(self) -> None:
        while any(client.busy for client in self._clients):  # noqa: ASYNC110 (an event would cost every answer)
            await asyncio.sleep(0.01)

    def report(self) -> dict[str, object]:
        ordered = sorted(self.latencies_s)

        def percentile_ms(fraction: float) -> float:
            return 1000 * ordered[min(len(ordered) - 1, int(fraction * len(ordered)))] if ordered else 0.0

        return {
            "ok_per_s": self.in_time / self._seconds,
            "p50_ms": percentile_ms(0.5),
            "p99_ms": percentile_ms(0.99),
            "max_ms": percentile_ms(1.0),
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "broken": self.broken,
            "unsent": self.unsent,
        }


def _come_first() -> None:
    """Let this process measure the server's delays and not its own, where it shares a core with the server."""
    with contextlib.suppress(OSError):  # Not everybody may.
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


async def _main(options: argparse.Namespace) -> None:
    if options.rate:
        _come_first()
    load = _Load(options.request.read_bytes(), options.seconds)
    await load.connect(options.port, options.clients)
    await (load.open_loop(options.rate) if options.rate else load.closed_loop())
    print(json.dumps(load.report()))


if __name__ == "__main__":
    import uvloop

    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.load_client", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("request", type=Path, help="file with a whole HTTP request")
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rate", type=float, default=0.0, help="requests a second; 0 for a closed loop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(parser.parse_args()))
