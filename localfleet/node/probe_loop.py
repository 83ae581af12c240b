"""A running container's probes over time: start-up first, then readiness and liveness side by side."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from localfleet.node.manifest import Manifest
from localfleet.node.probe_actions import ProbeResult
from localfleet.node.probing import ProbeCounter, ProbeTiming


@dataclass(frozen=True)
class ProbeVerdict:
    """A probe says that the container must be started again.

    Attributes:
        message: For people.
        grace_s: The probe's own grace period, if it has one.
    """

    message: str
    grace_s: float | None


class ContainerProbes:
    """The probes of one start of a container.

    Args:
        container: The container.
        probe_once: Carries out a probe.
        on_state: Called with (started, ready) when one of them changes.
        on_failure: Called with a sentence for every failed probe.
    """

    def __init__(
        self,
        container: Manifest,
        probe_once: Callable[[Manifest], Awaitable[ProbeResult]],
        on_state: Callable[[bool, bool], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._container = container
        self._probe_once = probe_once
        self._on_state = on_state
        self._on_failure = on_failure

    async def run(self) -> ProbeVerdict:
        """Probe until a probe says that the container must be started again."""
        startup = self._container.get("startupProbe")
        if startup is not None and not await self._first_verdict(startup, "Startup"):
            return self._verdict(startup, "startup")
        readiness = self._container.get("readinessProbe")
        self._on_state(True, readiness is None)
        watching = asyncio.create_task(self._watch_readiness(readiness))
        try:
            return await self._watch_liveness(self._container.get("livenessProbe"))
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching

    async def _first_verdict(self, probe: Manifest, name: str) -> bool:
        async for verdict in self._verdicts(probe, name):
            return verdict
        raise AssertionError("unreachable: verdicts do not end")

    async def _watch_readiness(self, probe: Manifest | None) -> None:
        if probe is None:
            return
        async for ready in self._verdicts(probe, "Readiness"):
            self._on_state(True, ready)

    async def _watch_liveness(self, probe: Manifest | None) -> ProbeVerdict:
        if probe is None:
            await asyncio.get_running_loop().create_future()  # no verdict ever
        else:
            async for alive in self._verdicts(probe, "Liveness"):
                if not alive:
                    return self._verdict(probe, "liveness")
        raise AssertionError("unreachable: verdicts do not end")

    async def _verdicts(self, probe: Manifest, name: str) -> AsyncIterator[bool]:
        timing = ProbeTiming.of(probe)
        counter = ProbeCounter(timing)
        await asyncio.sleep(timing.initial_delay_s)
        while True:
            result = await self._probe_once(probe)
            if not result.success:
                self._on_failure(f"{name} probe failed: {result.message}")
            verdict = counter.observe(result.success)
            if verdict is not None:
                yield verdict
            await asyncio.sleep(timing.period_s)

    def _verdict(self, probe: Manifest, name: str) -> ProbeVerdict:
        grace_s = probe.get("terminationGracePeriodSeconds")
        return ProbeVerdict(
            f"Container {self._container['name']} failed {name} probe, will be restarted",
            None if grace_s is None else float(grace_s),
        )
