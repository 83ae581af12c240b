"""Sends spans to an OpenTelemetry collector over HTTP, in the background, and never at the cost of requests.

What cannot be sent is tried again a few times while the collector is away, then dropped; serving does not notice.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import aiohttp
from fleetfit_kube.backoff import Backoff

from fleetfit_runtime.telemetry.otlp import SpanForm
from fleetfit_runtime.telemetry.spans import FinishedRequest, SpanRecorder

logger = logging.getLogger(__name__)

_BATCH: Final = 256
# Answers that mean "later": too many requests, and gateways whose collector is away.
_LATER: Final = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class ExportTarget:
    """Where spans go.

    Args:
        url: whole address of the collector, with `/v1/traces`.
        headers: further headers, such as a token.
        timeout_s: how long the collector may take.
        interval_s: how often spans are sent.
        tries: how often a batch is sent before it is dropped.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 10.0
    interval_s: float = 5.0
    tries: int = 4


class SpanExporter:
    """Sends what a recorder keeps.

    Args:
        recorder: where the spans are.
        form: makes bodies of them.
        http: sends them.
        target: where to.
        rng: source of jitter.
        wall: the wall clock.

    Attributes:
        recorder: where the spans are.
        sent: requests whose spans the collector took.
        lost: requests whose spans were given up.
    """

    def __init__(
        self,
        recorder: SpanRecorder,
        form: SpanForm,
        http: aiohttp.ClientSession,
        target: ExportTarget,
        rng: random.Random,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.recorder = recorder
        self._form = form
        self._http = http
        self._target = target
        self._backoff = Backoff(rng, base_s=min(1.0, target.interval_s), cap_s=30.0)
        self._wall = wall
        self._told = False
        self._batch: list[FinishedRequest] = []
        self.sent = 0
        self.lost = 0

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await asyncio.sleep(self._target.interval_s)
            await self._send_all(self._target.tries)

    async def flush(self, timeout_s: float) -> None:
        """Send what is left, for a while and once, before the process ends."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._send_all(1)
        except TimeoutError:
            logger.info("spans left unsent", extra={"requests": len(self._batch) + len(self.recorder)})

    async def _send_all(self, tries: int) -> None:
        while self._batch or len(self.recorder):
            if not self._batch:
                self._batch = self.recorder.take(_BATCH)
            # Written in a thread: some milliseconds of JSON must not hold up requests.
            body = await asyncio.to_thread(self._form.body, self._batch, self._wall(), time.perf_counter())
            if await self._send(body, tries):
                self.sent += len(self._batch)
            else:
                self.lost += len(self._batch)
            self._batch = []

    async def _send(self, body: bytes, tries: int) -> bool:
        for attempt in range(1, tries + 1):
            later, trouble = await self._post(body)
            if not trouble:
                self._told = False
                self._backoff.reset()
                return True
            self._tell(trouble)
            if not later:
                return False
            if attempt < tries:
                await asyncio.sleep(self._backoff.next_s())
        return False

    async def _post(self, body: bytes) -> tuple[bool, str]:
        """Return whether it is worth another try, and what went wrong; nothing when all went well."""
        headers = {**self._target.headers, "Content-Type": "application/json"}
        timeout = aiohttp.ClientTimeout(total=self._target.timeout_s)
        try:
            async with self._http.post(
                self._target.url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                if response.status < 300:
                    return False, ""
                return response.status in _LATER, f"the collector answers {response.status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return True, f"{type(error).__name__}: {error}"
        except Exception as error:
            # Whatever it is: traces are not worth the end of the process, which serves.
            return False, f"{type(error).__name__}: {error}"

    def _tell(self, trouble: str) -> None:
        if not self._told:
            self._told = True  # once until it works again, not with every batch
            logger.warning("spans cannot be sent", extra={"url": self._target.url, "error": trouble})
