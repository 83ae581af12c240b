"""The HTTP server of metrics and health: /metrics, /healthz, /readyz.

Healthy means that the event loop turns and that no watch has been dead for long, not that the API server answers: a
restart would not cure that. Ready means that the fleet is known, so that this replica acts or could take over.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from aiohttp import web
from fleetfit_kube import Reflector
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from fleetfit_operator.telemetry.metrics import Metrics, WithoutCreationTimes

logger = logging.getLogger(__name__)

_LAG_PROBE_S: Final = 0.5
_LARGEST_LAG_S: Final = 10.0
# Far beyond the reflector's own inactivity limit and backoff: only a reflector that has stopped working is that old.
_LARGEST_REFLECTOR_IDLE_S: Final = 900.0


class Health:
    """Watches the event loop and the reflectors, and answers probes.

    Args:
        metrics: Where ages and lag are shown.
        reflectors: What must be listed for this replica to be ready.
        clock: Monotonic time in seconds; the event loop's.
        before_scrape: Called before metrics are read, to set gauges that are read from objects.
    """

    def __init__(
        self,
        metrics: Metrics,
        reflectors: Sequence[Reflector[Any]],
        clock: Callable[[], float],
        before_scrape: Callable[[], None] = lambda: None,
    ) -> None:
        self._metrics = metrics
        self._reflectors = reflectors
        self._clock = clock
        self._before_scrape = before_scrape
        self._lag_s = 0.0
        self._counted: dict[tuple[str, str], int] = {}

    async def watch_loop(self) -> None:
        """Measure the delay of timers until cancelled."""
        while True:
            due_s = self._clock() + _LAG_PROBE_S
            await asyncio.sleep(_LAG_PROBE_S)
            self._lag_s = max(0.0, self._clock() - due_s)
            self._metrics.loop_lag_s.set(self._lag_s)

    def problems(self) -> list[str]:
        """Return what a restart might cure, as sentences."""
        problems = []
        if self._lag_s > _LARGEST_LAG_S:
            problems.append(f"the event loop lags by {self._lag_s:.1f} s")
        for reflector in self._reflectors:
            age_s = self._age_s(reflector)
            connected = not reflector.stats.last_error
            if connected and age_s is not None and age_s > _LARGEST_REFLECTOR_IDLE_S:
                problems.append(f"the watch of {reflector.resource.plural} is silent for {age_s:.0f} s")
        return problems

    def unready(self) -> list[str]:
        """Return what is not known yet, as sentences."""
        return [
            f"{reflector.resource.plural} are not listed yet: {reflector.stats.last_error or 'in progress'}"
            for reflector in self._reflectors
            if not reflector.synced.is_set()
        ]

    def collect(self) -> bytes:
        """Return the metrics in the text format of Prometheus."""
        for reflector in self._reflectors:
            kind = reflector.resource.kind
            age_s = self._age_s(reflector)
            if age_s is not None:
                self._metrics.watch_age_s.labels(kind).set(age_s)
            self._metrics.cache_objects.labels(kind).set(len(reflector.items))
            for reason, count in reflector.stats.restarts.items():
                new = count - self._counted.get((kind, reason), 0)
                self._metrics.watch_restarts.labels(kind, reason).inc(new)
                self._counted[kind, reason] = count
        self._before_scrape()
        return generate_latest(WithoutCreationTimes(self._metrics.registry))

    def _age_s(self, reflector: Reflector[Any]) -> float | None:
        last_s = reflector.stats.last_event_s
        return None if last_s is None else self._clock() - last_s


class HealthServer:
    """Serves the answers of `Health` on an address.

    Args:
        health: What is served.
        host: Address to bind to.
        port: Port to bind to; 0 takes a free one.
    """

    def __init__(self, health: Health, host: str, port: int) -> None:
        self._health = health
        self._host = host
        self._wanted_port = port
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        """The port that is bound."""
        if self._runner is None:
            raise RuntimeError("the server is not started")
        return int(self._runner.addresses[0][1])

    async def start(self) -> None:
        """Bind and begin to serve."""
        app = web.Application()
        app.router.add_get("/healthz", _checks(self._health.problems))
        app.router.add_get("/readyz", _checks(self._health.unready))
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._wanted_port).start()
        logger.info("metrics and health are served", extra={"address": f"{self._host}:{self.port}"})

    async def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _metrics(self, _request: web.Request) -> web.Response:
        headers = {"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
        return web.Response(body=self._health.collect(), headers=headers)


def _checks(failures: Callable[[], list[str]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        failed = failures()
        return web.Response(text="\n".join(failed) or "ok", status=503 if failed else 200)

    return answer
