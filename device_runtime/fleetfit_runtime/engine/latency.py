"""Percentiles of inference times: of a warm-up once, of users' requests over a rolling window. Pure."""

import math
from collections import deque
from collections.abc import Iterable, Sequence

from fleetfit_api.model_status import Measured, MeasurementSource

LIVE_WINDOW = 512
LIVE_LEAST_SAMPLES = 30


def percentile(sorted_values: Sequence[float], fraction: float) -> float:
    """Return the nearest-rank percentile of values in ascending order."""
    rank = math.ceil(fraction * len(sorted_values))
    return sorted_values[min(len(sorted_values), max(rank, 1)) - 1]


def summarise(durations_s: Iterable[float], source: MeasurementSource) -> Measured:
    """Return the figures of at least one duration."""
    ordered = sorted(durations_s)
    return Measured(
        latency_p50_seconds=percentile(ordered, 0.5),
        latency_p95_seconds=percentile(ordered, 0.95),
        samples=len(ordered),
        source=source,
    )


class LatencyWindow:
    """The last inference times of one model; written and read on the event loop only."""

    def __init__(self, capacity: int = LIVE_WINDOW) -> None:
        self._durations_s: deque[float] = deque(maxlen=capacity)
        self.record = self._durations_s.append

    def measured(self) -> Measured | None:
        """Return the live figures, or None while there are too few to mean anything."""
        if len(self._durations_s) < LIVE_LEAST_SAMPLES:
            return None
        return summarise(self._durations_s, MeasurementSource.LIVE)
