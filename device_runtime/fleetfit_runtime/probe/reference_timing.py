"""Times a piece of work so that neither a noisy neighbour nor a CPU quota deceives.

Work is timed in rounds with other work in between. A neighbour that takes the processor for a while spoils some
rounds, so figures come from the quieter half of them. A quota stops the process some milliseconds in every
period, in all rounds alike, so that the stops stay in the figures, where they belong: users meet them too.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

Clock = Callable[[], float]

# A run that takes this much longer than another was stopped midway, it did not just miss a cache.
_STOP_S = 0.002


@dataclass(frozen=True, slots=True)
class Timing:
    """Figures of one piece of work.

    Attributes:
        latency_p50_s: Median in seconds.
        latency_p95_s: 95th percentile in seconds.
        latency_mean_s: Mean in seconds, which a quota stretches even where it spares the median.
        samples: Number of runs that the figures rest on.
        spread: Distance of the quartiles of the rounds' means, relative to their median.
    """

    latency_p50_s: float
    latency_p95_s: float
    latency_mean_s: float
    samples: int
    spread: float


@dataclass(frozen=True, slots=True)
class RoundLength:
    """How long one round of one piece of work is.

    Attributes:
        slice_s: Seconds on a node whose runs all take about as long as each other.
        stopped_slice_s: Seconds once a run was stopped midway. A quota stops a process for some tens of
            milliseconds at a time, and only several of these stops give a mean.
        min_runs: Runs, however long they take.
    """

    slice_s: float = 0.04
    stopped_slice_s: float = 0.15
    min_runs: int = 5


@dataclass(slots=True)
class TimedWork:
    """A piece of work and the times of its rounds.

    Attributes:
        name: What it is called.
        run: Does the work once.
        rounds: Seconds of every run, by round.
    """

    name: str
    run: Callable[[], object]
    rounds: list[list[float]] = field(default_factory=list)

    def time_round(self, clock: Clock, length: RoundLength) -> None:
        """Run until the round is long enough and keep the times as one round."""
        times: list[float] = []
        fastest_s = math.inf
        slice_s = length.slice_s
        begin = now = clock()
        while len(times) < length.min_runs or now - begin < slice_s:
            self.run()
            end = clock()
            times.append(end - now)
            fastest_s = min(fastest_s, end - now)
            if end - now > fastest_s + _STOP_S:
                slice_s = length.stopped_slice_s
            now = end
        self.rounds.append(times)

    def timing(self) -> Timing:
        """Return the figures of the rounds so far; there must be one."""
        return quiet_timing(self.rounds)


def quiet_timing(rounds: Sequence[Sequence[float]]) -> Timing:
    """Return the figures of the quieter half of the rounds, at least one."""
    by_mean = sorted(rounds, key=_mean)
    quiet = np.concatenate([np.asarray(times) for times in by_mean[: (len(by_mean) + 1) // 2]])
    p50, p95 = np.quantile(quiet, [0.5, 0.95])
    return Timing(float(p50), float(p95), float(quiet.mean()), len(quiet), relative_spread(rounds))


def relative_spread(rounds: Sequence[Sequence[float]]) -> float:
    """Return the distance of the quartiles of the rounds' means, relative to their median."""
    means = [_mean(times) for times in rounds]
    low, high = np.quantile(means, [0.25, 0.75])
    middle = median(means)
    return float((high - low) / middle) if middle > 0 else 0.0


def _mean(times: Sequence[float]) -> float:
    return sum(times) / len(times)
