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
        cpu_s: Processor seconds of one run, the mean of each round; empty where no processor clock was given.
    """

    name: str
    run: Callable[[], object]
    rounds: list[list[float]] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def time_round(self, clock: Clock, length: RoundLength, cpu_clock: Clock | None = None) -> None:
        """Run until the round is long enough and keep the times as one round."""
        times: list[float] = []
        fastest_s = math.inf
        slice_s = length.slice_s
        begin_cpu_s = cpu_clock() if cpu_clock else 0.0
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
        if cpu_clock:
            self.cpu_s.append((cpu_clock() - begin_cpu_s) / len(times))

    def means_s(self) -> list[float]:
        """Return the mean time of one run by round."""
        return [_mean(times) for times in self.rounds]

    def timing(self) -> Timing:
        """Return the figures of the rounds so far; there must be one."""
        return quiet_timing(self.rounds)


def quiet_timing(rounds: Sequence[Sequence[float]], disturbed: Sequence[bool] = ()) -> Timing:
    """Return the figures of the quieter half of the rounds without those that were disturbed, at least of one."""
    flags = disturbed or [False] * len(rounds)
    by_mean = sorted(zip(rounds, flags, strict=True), key=lambda each: _mean(each[0]))
    half = by_mean[: (len(by_mean) + 1) // 2]
    kept = [times for times, is_disturbed in half if not is_disturbed] or [by_mean[0][0]]
    quiet = np.concatenate([np.asarray(times) for times in kept])
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
