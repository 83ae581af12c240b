"""What is remembered of the timings of one variant on one node, from one timing to the next.

Every timing is folded in once: the same report again changes nothing, so a plan that is made again writes nothing, and
an operator that restarts goes on from what the API has. The rules:

1. A timing that was disturbed (throttling, other work, battery) says how the node is now. It is noted, so that it is
   not taken for a good one when the disturbance is over, and changes nothing else.
2. Others are averaged, geometrically: the first ones alike, later ones by an eighth each, so that noise averages out
   and two variants that are nearly equal do not take turns for ever.
3. Two cumulative sums, one for slower and one for faster, tell a change from noise: each timing adds its standardised
   distance from the average so far, less an allowance (E. S. Page, Continuous inspection schemes, Biometrika 41, 1954;
   standardised by what came before as in D. M. Hawkins, Self-starting CUSUM charts, The Statistician 36, 1987). At the
   limit the variant counts as drifted: the average starts anew from this timing, and what it was before is kept.
   A single odd timing neither reaches the limit nor pulls the average further than noise could.
4. A drift is over when the timings are back at what they were, when eight timings have confirmed what they are now, or
   when the node has timed its reference set anew, since predictions then start from what the node is now.

Knows nothing of nodes and predictions; times are in seconds.
"""

from dataclasses import dataclass, replace
from math import exp, log, sqrt
from typing import Final

from fleetfit_api.node_inference import MeasuredVariant

MOST_TIMINGS: Final = 8
"""Timings after which an average forgets as fast as it learns."""

# Repeated timings of one variant on a quiet node differ by about this much although each rests on many inferences:
# clocks, placement in memory, what else has run.
REPEAT_LOG_SD: Final = 0.05
# Taken for the spread within a timing where the median is unknown.
_USUAL_LOG_SPREAD: Final = 0.2
_SD_OF_P95: Final = 1.6449
# Variance of the 95th percentile of n values, in units of their variance over n: q (1 - q) / density(q)^2 of a normal
# distribution. It is for values that do not hang on each other.
_P95_VARIANCE: Final = 4.466
# The usual choice for changes of one standard deviation: a false alarm in some 465 timings.
_ALLOWANCE: Final = 0.5
_LIMIT: Final = 5.0
# One timing alone, however odd, never reaches the limit.
_LARGEST_STEP: Final = 3.0
# Nearer than this to what they were before, timings are back.
_SAME_LOG: Final = log(1.15)


@dataclass(frozen=True, slots=True)
class Timing:
    """One timing of a variant by the runtime.

    Attributes:
        variant: Name of the variant.
        sha256: Digest of the file.
        latency_p50_s: Median.
        latency_p95_s: 95th percentile, above 0.
        samples: Number of inferences.
        memory_bytes: Memory that loading took; 0 when unknown.
        disturbed: Whether something other than the variant and the node made it what it is.
        reference_run: Digest of the node's reference run; empty without one.
        node_spread: How much repeated runs differ on the node, relative; 0 when unknown.
    """

    variant: str
    sha256: str
    latency_p50_s: float
    latency_p95_s: float
    samples: int
    memory_bytes: int
    disturbed: bool
    reference_run: str
    node_spread: float = 0.0


def is_known(memory: MeasuredVariant | None, latency_p95_s: float) -> bool:
    """Return whether a timing of this p95 has been folded in already."""
    if memory is None:
        return False
    last_s = memory.last_p95_seconds or memory.latency_p95_seconds
    return latency_p95_s in (last_s, memory.disturbed_p95_seconds)


def remember(memory: MeasuredVariant | None, timing: Timing) -> MeasuredVariant:
    """Return the memory with a timing folded in; the memory itself when it is known already."""
    if memory is not None and is_known(memory, timing.latency_p95_s):
        return memory
    if timing.disturbed:
        return _noted(memory, timing)
    if memory is None or memory.samples <= 0 or _is_fingerprinted_anew(memory, timing):
        return _first(timing)
    return _folded(memory, timing)


def log_variance(measured: MeasuredVariant, node_spread: float = 0.0) -> float:
    """Return the variance of the logarithm of a measured p95: noise within timings and between them.

    Args:
        measured: What was measured.
        node_spread: How much repeated runs differ on the node, relative; 0 when unknown.
    """
    timings = min(max(measured.timings, 1), MOST_TIMINGS)
    within = _within(measured.latency_p50_seconds, measured.latency_p95_seconds, measured.samples)
    return max(REPEAT_LOG_SD, node_spread) ** 2 / timings + within


def _log_variance(timing: Timing) -> float:
    within = _within(timing.latency_p50_s, timing.latency_p95_s, timing.samples)
    return max(REPEAT_LOG_SD, timing.node_spread) ** 2 + within


def _within(latency_p50_s: float, latency_p95_s: float, samples: int) -> float:
    spread = _USUAL_LOG_SPREAD
    if 0 < latency_p50_s <= latency_p95_s:
        spread = log(latency_p95_s / latency_p50_s) / _SD_OF_P95
    return _P95_VARIANCE * spread**2 / max(samples, 1)


def _folded(memory: MeasuredVariant, timing: Timing) -> MeasuredVariant:
    noise = sqrt(log_variance(memory, timing.node_spread) + _log_variance(timing))
    step = log(timing.latency_p95_s / memory.latency_p95_seconds) / noise
    step = min(max(step, -_LARGEST_STEP), _LARGEST_STEP)
    slower = max(0.0, memory.slower + step - _ALLOWANCE)
    faster = max(0.0, memory.faster - step - _ALLOWANCE)
    if max(slower, faster) >= _LIMIT:
        return _drifted(memory, timing)
    near_s = memory.latency_p95_seconds * exp(step * noise)
    near = replace(
        timing,
        latency_p95_s=near_s,
        latency_p50_s=timing.latency_p50_s * near_s / timing.latency_p95_s,
    )
    return _averaged(memory, near).model_copy(
        update={"slower": slower, "faster": faster, "last_p95_seconds": timing.latency_p95_s}
    )


def _is_fingerprinted_anew(memory: MeasuredVariant, timing: Timing) -> bool:
    return bool(memory.reference_run and timing.reference_run) and (
        memory.reference_run != timing.reference_run
    )


def _noted(memory: MeasuredVariant | None, timing: Timing) -> MeasuredVariant:
    nothing = MeasuredVariant(
        variant=timing.variant, sha256=timing.sha256, latency_p95_seconds=0.0, samples=0, timings=0
    )
    known = memory or nothing
    return known.model_copy(
        update={
            "disturbed_p95_seconds": timing.latency_p95_s,
            "memory_bytes": timing.memory_bytes or known.memory_bytes,
        }
    )


def _first(timing: Timing) -> MeasuredVariant:
    return MeasuredVariant(
        variant=timing.variant,
        sha256=timing.sha256,
        latency_p95_seconds=timing.latency_p95_s,
        latency_p50_seconds=timing.latency_p50_s,
        samples=timing.samples,
        memory_bytes=timing.memory_bytes,
        last_p95_seconds=timing.latency_p95_s,
        reference_run=timing.reference_run,
    )


def _drifted(memory: MeasuredVariant, timing: Timing) -> MeasuredVariant:
    before_s = memory.before_drift_p95_seconds or memory.latency_p95_seconds
    is_back = abs(log(timing.latency_p95_s / before_s)) < _SAME_LOG
    return _first(timing).model_copy(update={"before_drift_p95_seconds": 0.0 if is_back else before_s})


def _averaged(memory: MeasuredVariant, timing: Timing) -> MeasuredVariant:
    timings = min(memory.timings + 1, MOST_TIMINGS)
    weight = 1.0 / timings
    is_confirmed = timings == MOST_TIMINGS
    forgotten = memory.samples // MOST_TIMINGS if memory.timings >= MOST_TIMINGS else 0
    return memory.model_copy(
        update={
            "latency_p95_seconds": _between(memory.latency_p95_seconds, timing.latency_p95_s, weight),
            "latency_p50_seconds": _between(memory.latency_p50_seconds, timing.latency_p50_s, weight),
            "samples": memory.samples - forgotten + timing.samples,
            "timings": timings,
            "memory_bytes": timing.memory_bytes or memory.memory_bytes,
            "disturbed_p95_seconds": 0.0,
            "before_drift_p95_seconds": 0.0 if is_confirmed else memory.before_drift_p95_seconds,
            "reference_run": timing.reference_run or memory.reference_run,
        }
    )


def _between(old_s: float, new_s: float, weight: float) -> float:
    """Return the weighted geometric mean; the known one where the other is unknown."""
    if old_s <= 0 or new_s <= 0:
        return new_s or old_s
    return exp((1.0 - weight) * log(old_s) + weight * log(new_s))
