"""Forged ratings: one source tries to flip the choice of a node that has settled.

A fleet settles with honest users. Then one source places 1,000 ratings on one node, and the operator decides. An attack
has flipped a choice when some node of the fleet changes to a variant that, by the honest ratings of the same time
alone, is not better than the one it runs by more than the hysteresis. What honest users alone speak for, and the source
merely brought forward or held up, is counted by itself.

Every attack is tried twice: with the deployment as it is, and with a near-tie: the hysteresis is set so that the
strongest rival on the attacked node is short of it by a hair, and nothing else holds nodes (no standard deviations, no
dwell).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from fleetfit_runtime.ratings.book import Outcome

from benchmarks.select.devices import Devices, FloatArray
from benchmarks.select.rated_fleet import RatedFleet
from benchmarks.select.regret import taste_of

FORGED: Final = 1000
TARGETS: Final = 3
"""Nodes that are attacked, one after the other, on each seed."""
_SETTLING: Final = 40
_HAIR: Final = 1e-4
_SOURCE: Final = "liar"
_HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Forging:
    """What came of trials.

    Attributes:
        trials: Number of trials.
        flipped: Choices that were flipped.
        hastened: Changes that honest ratings alone speak for, and that came sooner.
        held_up: Changes that honest ratings alone would have made, and that came later.
        accepted: Ratings of the source that the book took.
    """

    trials: int = 0
    flipped: int = 0
    hastened: int = 0
    held_up: int = 0
    accepted: int = 0

    def __add__(self, other: "Forging") -> "Forging":
        """Return both together."""
        return Forging(
            self.trials + other.trials,
            self.flipped + other.flipped,
            self.hastened + other.hastened,
            self.held_up + other.held_up,
            self.accepted + other.accepted,
        )


@dataclass(frozen=True, slots=True)
class Aim:
    """What the source speaks on: the variant that the node runs, and the strongest rival."""

    node: int
    runs: int
    rival: int


Attack = Callable[[RatedFleet, Aim], int]


def measure_forging(devices: Devices, seed: int, targets: int = TARGETS) -> dict[str, Forging]:
    """Return what comes of each attack on one seed, without and with near-ties."""
    rated = RatedFleet(devices, taste_of(seed), seed, explores=False)
    for _ in range(_SETTLING):
        for node in range(rated.nodes):
            rated.rate(node)
        rated.run_pass()
    nodes = [int(node) for node in rated.rng.permutation(rated.nodes)[:targets]]
    return {
        f"{name}{', near-tie' if near_tie else ''}": sum(
            (_trial(rated, node, attack, near_tie) for node in nodes), Forging()
        )
        for near_tie in (False, True)
        for name, attack in ATTACKS.items()
    }


def _trial(rated: RatedFleet, node: int, attack: Attack, near_tie: bool) -> Forging:
    """Return what one attack does, and undo it."""
    settled = rated.remember(node)
    before = rated.fleet.chosen()
    aim = Aim(node, before[node], _rival(rated.fleet.believed()[node], before[node]))
    accepted = attack(rated, aim)
    forged = rated.books[node].dump()
    rated.forget(node, settled)  # the honest ratings, seen at the time at which the attack is over
    rated.report_all()
    honest = rated.fleet.believed()
    if near_tie:
        gain = float(honest[node].max() - honest[node, before[node]])
        rated.fleet.set_hysteresis(gain + _HAIR)
    untouched = rated.fleet.remember()
    rated.fleet.run_pass(rated.now_s)
    by_honest = rated.fleet.chosen()
    rated.fleet.restore(untouched)
    rated.books[node].load(forged)
    rated.report_all()
    rated.fleet.run_pass(rated.now_s)
    after = rated.fleet.chosen()
    hysteresis = rated.fleet.hysteresis
    rated.restore(node, settled)
    found = Forging(trials=1, accepted=accepted)
    for was, now, else_now, qoe in zip(before, after, by_honest, honest, strict=True):
        if now != else_now:
            found += _judged(float(qoe[now] - qoe[was]), moved=now != was, hysteresis=hysteresis)
    return found


def _judged(honest_gain: float, moved: bool, hysteresis: float) -> Forging:
    """Return what a choice is that is another one than without the attack."""
    if not moved:
        return Forging(held_up=1)
    return Forging(hastened=1) if honest_gain > hysteresis else Forging(flipped=1)


def _rival(believed: FloatArray, runs: int) -> int:
    order = [int(each) for each in believed.argsort()[::-1]]
    return next(each for each in order if each != runs)


def _flood(rated: RatedFleet, aim: Aim) -> int:
    """Speak a thousand times against what the node runs."""
    return _accepted(rated.speak(aim.node, _SOURCE, aim.runs, 0.0) for _ in range(FORGED))


def _praise(rated: RatedFleet, aim: Aim) -> int:
    """Speak a thousand times for a variant that the node does not run."""
    return _accepted(rated.speak(aim.node, _SOURCE, aim.rival, 1.0) for _ in range(FORGED))


def _repeat(rated: RatedFleet, aim: Aim) -> int:
    """Send the same rating a thousand times."""
    return _accepted(rated.speak(aim.node, _SOURCE, aim.runs, 0.0, rating_id="one") for _ in range(FORGED))


def _late(rated: RatedFleet, aim: Aim) -> int:
    """Rate a thousand requests that are two hours old."""
    return _accepted(
        rated.speak(aim.node, _SOURCE, aim.runs, 0.0, age_s=2.0 * _HOUR_S) for _ in range(FORGED)
    )


def _drip(rated: RatedFleet, aim: Aim) -> int:
    """Speak every ten minutes for a week, against what the node runs and for its rival in turn."""
    accepted = 0
    for turn in range(FORGED):
        rated.now_s += _HOUR_S / 6.0
        variant, score = (aim.runs, 0.0) if turn % 2 else (aim.rival, 1.0)
        accepted += rated.speak(aim.node, _SOURCE, variant, score) is Outcome.ACCEPTED
    return accepted


def _everywhere(rated: RatedFleet, aim: Aim) -> int:
    """Speak of all variants in turn, for a week: for all but the one that the node runs."""
    variants = rated.devices.shape[1]
    accepted = 0
    for turn in range(FORGED):
        rated.now_s += _HOUR_S / 6.0
        variant = turn % variants
        score = 0.0 if variant == aim.runs else 1.0
        accepted += rated.speak(aim.node, _SOURCE, variant, score) is Outcome.ACCEPTED
    return accepted


def _accepted(outcomes: Iterable[Outcome]) -> int:
    return sum(outcome is Outcome.ACCEPTED for outcome in outcomes)


ATTACKS: Final[dict[str, Attack]] = {
    "flood": _flood,
    "praise": _praise,
    "repeat": _repeat,
    "late": _late,
    "drip": _drip,
    "everywhere": _everywhere,
}
