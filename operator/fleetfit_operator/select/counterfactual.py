"""What would make the runner-up win: the smallest change of a latency, of the target, else of the accuracy weight.

Winning means what it means for a node that runs the chosen variant: a gain that exceeds the hysteresis. Everything else
stays as it is: energy, memory and what ratings added to the formula. Answers are rounded so that they still hold.

The search looks at a grid of changes and then at a finer one where the winner turns, for all kinds of change together:
two rounds over arrays cost less than a bisection of single values.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from fleetfit_operator.fleet.choice import Candidate, Choice
from fleetfit_operator.select.hysteresis import LARGEST_UNCERTAIN_TERM, source_sway
from fleetfit_operator.select.policy import Policy
from fleetfit_operator.select.qoe import Figures, expected_qoe

_LARGEST_FACTOR: Final = 100.0
_LARGEST_WEIGHT: Final = 10.0
_STEPS: Final = 129
_SMALLEST_SHARE: Final = 1e-12
# Signs of the logarithms by which the latency of the chosen variant and that of its rival change. Latency counts
# relative to the target: a target that is doubled halves both.
_SLOWER_CHOSEN: Final = (1.0, 0.0)
_FASTER_RIVAL: Final = (0.0, -1.0)
_LOOSER_TARGET: Final = (-1.0, -1.0)
_TIGHTER_TARGET: Final = (1.0, 1.0)
_CHANGES: Final = (_SLOWER_CHOSEN, _FASTER_RIVAL, _LOOSER_TARGET, _TIGHTER_TARGET)


def would_change(policy: Policy, choice: Choice) -> str:
    """Return a sentence on what would make the runner-up win; empty where nothing to say.

    That is so without a runner-up, for a pin and for a trial, which do not go by QoE, and where the runner-up wins as
    soon as the dwell is over.
    """
    chosen, rival = choice.chosen, choice.runner_up
    if chosen is None or rival is None or choice.pinned or choice.exploring:
        return ""
    if not math.isfinite(chosen.latency.latency_p95_s):
        return ""
    contest = _Contest(policy, _Entrant.of(policy, chosen), _Entrant.of(policy, rival))
    if contest.is_decided():
        return ""
    clauses = contest.latency_clauses() or contest.weight_clauses()
    return f"{rival.variant.name} would win if {' or '.join(clauses)}" if clauses else ""


@dataclass(frozen=True, slots=True)
class _Entrant:
    """A candidate with what does not hang on its latency.

    Attributes:
        candidate: The candidate.
        latency_s: Its expected latency at the percentile of the target.
        scale: Factor by energy and memory.
        added: What ratings added to the formula's QoE.
        opinion_sigma: Standard deviation by ratings alone.
    """

    candidate: Candidate
    latency_s: float
    scale: float
    added: float
    opinion_sigma: float

    @staticmethod
    def of(policy: Policy, candidate: Candidate) -> "_Entrant":
        """Return the candidate as it stands now."""
        latency_s = candidate.latency.latency_s(policy.spec.qoe.latency_percentile)
        now = expected_qoe(policy.terms, latency_s, candidate.latency.log_sigma, candidate.variant.accuracy)
        prior = candidate.qoe if candidate.prior_qoe is None else candidate.prior_qoe
        scale = prior / float(now.mean) if now.mean > 0 else 1.0
        by_latency = scale * float(now.sigma)
        return _Entrant(
            candidate,
            latency_s,
            scale,
            added=candidate.qoe - prior,
            opinion_sigma=math.sqrt(max(0.0, candidate.qoe_sigma**2 - by_latency**2)),
        )

    def valued(
        self, policy: Policy, latency_factors: Figures, added_accuracy_weights: Figures
    ) -> tuple[Figures, Figures]:
        """Return mean and standard deviation of the QoE after changes."""
        terms, accuracy = policy.terms, self.candidate.variant.accuracy
        expected = expected_qoe(
            terms, self.latency_s * latency_factors, self.candidate.latency.log_sigma, accuracy
        )
        share = max(accuracy / terms.best_accuracy, _SMALLEST_SHARE) if terms.best_accuracy > 0 else 1.0
        scale = self.scale * share**added_accuracy_weights
        mean: Figures = np.clip(scale * expected.mean + self.added, 0.0, 1.0)
        return mean, np.hypot(scale * expected.sigma, self.opinion_sigma)


@dataclass(frozen=True, slots=True)
class _Contest:
    """The chosen variant against its runner-up."""

    policy: Policy
    chosen: _Entrant
    rival: _Entrant

    def is_decided(self) -> bool:
        """Return whether the rival wins as things are."""
        return bool(self._rival_wins(np.ones(1), np.ones(1), np.zeros(1))[0])

    def latency_clauses(self) -> list[str]:
        """Say which latency, the nearer of the two, and which target would have to be what."""
        slower, faster, looser, tighter = (math.exp(sized) for sized in self._smallest_changes())
        percentile, largest = self.policy.spec.qoe.latency_percentile, _LARGEST_FACTOR * (1 + 1e-9)
        clauses = []
        if min(slower, faster) <= largest:
            if faster <= slower:
                clauses.append(f"its p{percentile} were {_milliseconds(self.rival.latency_s, 1 / faster)}")
            else:
                change = _milliseconds(self.chosen.latency_s, slower)
                clauses.append(f"the p{percentile} of {self.chosen.candidate.variant.name} were {change}")
        if min(looser, tighter) <= largest:
            factor = looser if looser <= tighter else 1 / tighter
            target = _milliseconds(self.policy.terms.latency_target_s, factor)
            clauses.append(f"the latency target were {target}")
        return clauses

    def weight_clauses(self) -> list[str]:
        """Say which accuracy weight would do it."""
        now = self.policy.terms.accuracy_weight
        for limit in (_LARGEST_WEIGHT, 0.0):
            weight = self._nearest_weight(now, limit)
            if weight is not None:
                return [f"the accuracy weight were {_beyond(weight, now)}"]
        return []

    def _smallest_changes(self) -> list[float]:
        """Return for each of the changes the smallest logarithm that lets the rival win; infinite where none does."""
        signs = np.array(_CHANGES)
        starts, ends = np.zeros(len(signs)), np.full(len(signs), math.log(_LARGEST_FACTOR))
        found = np.ones(len(signs), dtype=bool)
        for _ in range(2):
            sizes = np.linspace(starts, ends, _STEPS, axis=1)
            wins = self._rival_wins(
                np.exp(signs[:, :1] * sizes), np.exp(signs[:, 1:] * sizes), np.zeros_like(sizes)
            )
            found &= wins.any(axis=1)
            at = np.maximum(np.argmax(wins, axis=1), 1)
            rows = np.arange(len(signs))
            starts, ends = sizes[rows, at - 1], sizes[rows, at]
        return [float(end) if is_found else math.inf for end, is_found in zip(ends, found, strict=True)]

    def _nearest_weight(self, start: float, end: float) -> float | None:
        for _ in range(2):
            weights = np.linspace(start, end, _STEPS)
            unchanged = np.ones_like(weights)
            wins = self._rival_wins(unchanged, unchanged, weights - self.policy.terms.accuracy_weight)
            if not wins.any():
                return None
            at = max(1, int(np.argmax(wins)))
            start, end = float(weights[at - 1]), float(weights[at])
        return end

    def _rival_wins(
        self, chosen_factors: Figures, rival_factors: Figures, added_weights: Figures
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Return where the rival's gain exceeds what is needed, with latencies multiplied and a weight added."""
        selection = self.policy.spec.selection
        chosen_mean, chosen_sigma = self.chosen.valued(self.policy, chosen_factors, added_weights)
        rival_mean, rival_sigma = self.rival.valued(self.policy, rival_factors, added_weights)
        uncertain = selection.hysteresis_sigmas * np.hypot(chosen_sigma, rival_sigma)
        least = selection.hysteresis + source_sway(self.chosen.candidate, self.rival.candidate)
        needed = np.maximum(least, np.minimum(uncertain, LARGEST_UNCERTAIN_TERM))
        wins: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = rival_mean - chosen_mean > needed
        return wins


def _milliseconds(now_s: float, factor: float) -> str:
    return _beyond(now_s * factor * 1000.0, now_s * 1000.0, " ms")


def _beyond(value: float, now: float, unit: str = "") -> str:
    """Say a figure after a change, rounded away from now so that it still does, and now's."""
    if value <= 0:
        return f"{value:g}{unit} (now {now:.3g})"
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    if value > now:
        return f"above {math.ceil(value / step) * step:.3g}{unit} (now {now:.3g})"
    return f"below {math.floor(value / step) * step:.3g}{unit} (now {now:.3g})"
