"""Times works in turns, pass by pass, until their times are known; says which rounds count.

Knows clocks and works, and nothing of ONNX Runtime, so that it is tested with works of invented lengths.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from fleetfit_runtime.probe.reference_timing import Clock, RoundLength, TimedWork, Timing, quiet_timing
from fleetfit_runtime.probe.slowdown import disturbed_rounds, seems_slower, slowdown


@dataclass(frozen=True, slots=True)
class ReferenceBudget:
    """How long a reference run takes.

    Attributes:
        round_length: Length of one round of one network.
        min_rounds: Rounds before the run may end, unless the deadline passes.
        target_s: After this many seconds no further round begins.
        deadline_s: After this many seconds even a begun round ends, once every network was timed.
        stable_spread: The run ends early when the spread of all networks is below this.
        sure_rounds: A run in which the processor seems to slow down goes on for up to so many rounds, within the
            deadline: a neighbour that came late is gone by then, heat is not.
    """

    round_length: RoundLength = field(default_factory=RoundLength)
    min_rounds: int = 3
    target_s: float = 1.5
    deadline_s: float = 5.0
    stable_spread: float = 0.02
    sure_rounds: int = 7


@dataclass(frozen=True, slots=True)
class Clocks:
    """Where seconds come from.

    Attributes:
        wall: Seconds that pass.
        cpu: Processor seconds that this process uses.
    """

    wall: Clock = time.perf_counter
    cpu: Clock = time.process_time


@dataclass(frozen=True, slots=True)
class PassResult:
    """What the passes tell.

    Attributes:
        timings: Figures by work.
        spread: Median over the works of the spread of their rounds.
        slowed: Whether the processor slowed down; the figures are then those of the slowed one.
        disturbed: Rounds, of those that could count, that something else disturbed.
    """

    timings: dict[str, Timing]
    spread: float
    slowed: bool
    disturbed: int


def time_in_turns(
    works: Sequence[TimedWork],
    clocks: Clocks,
    budget: ReferenceBudget,
    *,
    on_processor: bool,
    after_pass: Callable[[], None] = lambda: None,
) -> PassResult:
    """Time all works in turns, round by round, until their times are stable or the budget is spent.

    Args:
        works: at least one.
        clocks: where seconds come from.
        budget: how long it may take.
        on_processor: whether the works run on the processor. Then a slowdown is looked for in the processor time that
            they take, which a neighbour hardly changes.
        after_pass: called after every pass.
    """
    _time_passes(works, clocks, budget, on_processor=on_processor, after_pass=after_pass)
    slowed = slowdown(_slowdown_series(works, on_processor=on_processor)) > 0
    spread = median(work.timing().spread for work in works)
    rounds = {work.name: work.rounds[len(work.rounds) // 2 if slowed else 0 :] for work in works}
    disturbed = disturbed_rounds(
        [work.means_s()[-len(rounds[work.name]) :] for work in works],
    )
    timings = {
        work.name: quiet_timing(rounds[work.name], flags)
        for work, flags in zip(works, disturbed, strict=True)
    }
    return PassResult(timings, spread, slowed, sum(map(sum, disturbed)))


def _time_passes(
    works: Sequence[TimedWork],
    clocks: Clocks,
    budget: ReferenceBudget,
    *,
    on_processor: bool,
    after_pass: Callable[[], None],
) -> None:
    begin = clocks.wall()
    for round_number in range(1, 1000):
        for work in works:
            if round_number > 1 and clocks.wall() - begin > budget.deadline_s:
                return
            work.time_round(clocks.wall, budget.round_length, clocks.cpu)
        after_pass()
        if round_number < budget.min_rounds:
            continue
        stable = all(work.timing().spread < budget.stable_spread for work in works)
        if not stable and clocks.wall() - begin <= budget.target_s:
            continue
        doubtful = seems_slower(_slowdown_series(works, on_processor=on_processor))
        if not doubtful or round_number >= budget.sure_rounds:
            return


def _slowdown_series(works: Sequence[TimedWork], *, on_processor: bool) -> list[list[float]]:
    """Return the seconds by round in which a slowdown is looked for."""
    if on_processor and all(min(work.cpu_s) > 0 for work in works):
        return [work.cpu_s for work in works]
    return [work.means_s() for work in works]
