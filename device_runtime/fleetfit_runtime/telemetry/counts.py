"""Plain counters for the request path: an increment is a list index and an addition, some tenths of a microsecond.

`prometheus_client`'s own metrics take a lock and several calls per observation; these are written on the event loop
only and turned into metrics when somebody scrapes.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from fleetfit_runtime.telemetry.trace_context import read_trace_context

if TYPE_CHECKING:
    from prometheus_client.samples import Exemplar

LATENCY_BOUNDS_S: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
BATCH_BOUNDS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)

Bucket: TypeAlias = "tuple[str, float] | tuple[str, float, Exemplar]"


class Histogram:
    """Counts of values by bucket.

    Args:
        bounds: upper bounds of the buckets, in ascending order.

    Attributes:
        counts: values in each bucket, the last one without a bound.
        sum: sum of the values.
    """

    __slots__ = ("_bounds", "_exemplars", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = LATENCY_BOUNDS_S) -> None:
        self._bounds = bounds
        self._exemplars: dict[int, tuple[float, bytes, float]] = {}
        self.counts: list[float] = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def observe_share(self, value: float, share: float) -> None:
        """Count a part of a value; parts of one value add up to it."""
        self.counts[bisect_left(self._bounds, value)] += share
        self.sum += value * share

    def exemplify(self, value: float, trace_parent: bytes, at_s: float) -> None:
        """Let a trace stand for the bucket of a value, in the place of the one before; it is read at scrape time."""
        self._exemplars[bisect_left(self._bounds, value)] = (value, trace_parent, at_s)

    def cumulative(self) -> list[Bucket]:
        """Return (upper bound, count up to it, exemplar where there is one), as Prometheus wants it."""
        total = 0.0
        buckets: list[Bucket] = []
        for index, bound in enumerate((*map(str, self._bounds), "+Inf")):
            total += self.counts[index]
            # Parts of a value may add up to a last digit less than the whole.
            count, exemplar = float(round(total)), self._exemplar(index)
            buckets.append((bound, count) if exemplar is None else (bound, count, exemplar))
        return buckets

    def _exemplar(self, index: int) -> "Exemplar | None":
        kept = self._exemplars.get(index)
        if kept is None:
            return None
        value, trace_parent, at_s = kept
        trace = read_trace_context(trace_parent)
        if trace is None or not trace.sampled:
            return None
        # Where there are exemplars, somebody scrapes; a node's start does not need the library.
        from prometheus_client.samples import Exemplar

        return Exemplar({"trace_id": trace.trace_id}, value, at_s)
