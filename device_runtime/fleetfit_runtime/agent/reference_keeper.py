"""Keeps the node's reference runs true: timed before models are loaded, and again when they no longer hold.

It does not know how the set is timed nor where the runs are reported.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median

from fleetfit_api.node_telemetry import ReferenceRun

from fleetfit_runtime.agent.reference_cache import ReferenceCache, ReferenceKey
from fleetfit_runtime.agent.reference_repeats import ReferenceRepeats
from fleetfit_runtime.probe.node_probe import NodeReading

logger = logging.getLogger(__name__)

TimeRuns = Callable[[], list[ReferenceRun]]


@dataclass(frozen=True, slots=True)
class ReferenceTools:
    """What a keeper of reference runs works with.

    Attributes:
        cache: times the set and stores the runs.
        key: what the times depend on, as it is now; reads files.
        reading: state of the node as it was last seen.
        run_undisturbed: runs the timing where no model is loaded meanwhile.
        changed: called when there are new runs.
    """

    cache: ReferenceCache
    key: Callable[[], ReferenceKey]
    reading: Callable[[], NodeReading]
    run_undisturbed: Callable[[TimeRuns], Awaitable[list[ReferenceRun]]]
    changed: Callable[[], None]


class ReferenceKeeper:
    """Holds the runs.

    Args:
        tools: what it works with.
        repeats: decides when to time again.
        look_interval_s: how often that is asked.
    """

    def __init__(
        self, tools: ReferenceTools, repeats: ReferenceRepeats, look_interval_s: float = 15.0
    ) -> None:
        self._tools = tools
        self._repeats = repeats
        self._look_interval_s = look_interval_s
        self._key: ReferenceKey | None = None
        self.runs: tuple[ReferenceRun, ...] = ()

    async def begin(self) -> None:
        """Take the stored runs, or time the set; models must not be loaded meanwhile."""
        self._key = await asyncio.to_thread(self._tools.key)
        known = await asyncio.to_thread(self._tools.cache.known, self._key)
        self._take(await self._time(self._key, "first start") if known is None else known)

    async def keep(self) -> None:
        """Time the set again whenever that is due, until cancelled."""
        while True:
            await asyncio.sleep(self._look_interval_s)
            await self.look()

    async def look(self) -> None:
        """Time the set again if that is due now."""
        key = await asyncio.to_thread(self._tools.key)
        outdated = key != self._key
        due = self._repeats.due(
            asyncio.get_running_loop().time(),
            self._tools.reading(),
            outdated=outdated,
            throttled=any(run.throttled for run in self.runs),
        )
        if not due:
            return
        runs = await self._time(key, "node changed" if outdated else "node was throttled")
        self._repeats.timed(outdated=outdated)
        self._key = key
        if runs:  # Old times are better than none; those of another key are not found after a restart.
            logger.info("reference set differs", extra={"factor": slowdown_factor(self.runs, runs)})
            self._take(runs)

    async def _time(self, key: ReferenceKey, why: str) -> list[ReferenceRun]:
        begun_s = asyncio.get_running_loop().time()
        runs = await self._tools.run_undisturbed(lambda: self._tools.cache.time(key))
        values = {
            "why": why,
            "providers": [run.provider for run in runs],
            "throttled": any(run.throttled for run in runs),
            "outlier_rounds": sum(run.outlier_rounds for run in runs),
            "s": round(asyncio.get_running_loop().time() - begun_s, 2),
        }
        logger.info("reference set timed", extra=values)
        return runs

    def _take(self, runs: Sequence[ReferenceRun]) -> None:
        self.runs = tuple(runs)
        self._tools.changed()


def slowdown_factor(before: Sequence[ReferenceRun], after: Sequence[ReferenceRun]) -> float | None:
    """Return by what factor the networks take longer than before, in the median; None without common ones."""
    old = {(run.provider, each.name): each.latency_p50_seconds for run in before for each in run.times}
    logs = [
        math.log(each.latency_p50_seconds / old[run.provider, each.name])
        for run in after
        for each in run.times
        if (run.provider, each.name) in old
    ]
    return round(math.exp(median(logs)), 3) if logs else None
