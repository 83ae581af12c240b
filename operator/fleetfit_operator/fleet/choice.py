"""What `predict` says of a variant on a node, and what `select` makes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp
from statistics import NormalDist
from typing import Final, Protocol

from fleetfit_api.prediction import Contribution, Evidence, Prediction
from fleetfit_api.suite import Variant

HALF_WIDTH: Final = NormalDist().inv_cdf(0.95)
"""Standard deviations from the middle of a normal distribution to the ends of its central 90 %."""


@dataclass(frozen=True, slots=True)
class LatencyPrediction:
    """Expected cost of one inference of a variant on a node.

    Attributes:
        latency_p95_s: Expected 95th percentile of latency in seconds.
        evidence: What it rests on.
        latency_p50_s: Expected median in seconds; 0 when unknown, the 95th percentile then stands for all.
        log_sigma: Standard deviation of the logarithm of the true latency around the expected one, calibrated so that
            `interval` holds 9 true values of 10.
        memory_bytes: Expected memory of the loaded variant; None when unknown.
        energy_j: Expected energy of one inference in joules; None where the node reports no power.
        contributions: Features that changed the prediction the most, with the factor of each.
        caveat: What the prediction lacks, a sentence for people; empty when nothing.
    """

    latency_p95_s: float
    evidence: Evidence
    latency_p50_s: float = 0.0
    log_sigma: float = 0.0
    memory_bytes: int | None = None
    energy_j: float | None = None
    contributions: tuple[Contribution, ...] = ()
    caveat: str = ""

    def latency_s(self, percentile: int) -> float:
        """Return the expected latency at a percentile, taking latencies for lognormal between median and 95th."""
        if self.latency_p50_s <= 0 or percentile == 95:
            return self.latency_p95_s
        share = NormalDist().inv_cdf(percentile / 100) / HALF_WIDTH
        return float(self.latency_p50_s * (self.latency_p95_s / self.latency_p50_s) ** share)

    def shifted(self, p95: float, p50: float, log_sigma: float, evidence: Evidence) -> "LatencyPrediction":
        """Return the prediction with latencies that are longer by these logarithms, and what is known of it then.

        Energy is power times time, so it follows the median. (Not `replace`, which takes three times as long.)
        """
        latency_p95_s, factor = self.latency_p95_s * exp(p95), exp(p50)
        return LatencyPrediction(
            latency_p95_s=latency_p95_s,
            evidence=evidence,
            latency_p50_s=min(self.latency_p50_s * factor, latency_p95_s),
            log_sigma=log_sigma,
            memory_bytes=self.memory_bytes,
            energy_j=None if self.energy_j is None else self.energy_j * factor,
            contributions=self.contributions,
            caveat=self.caveat,
        )

    def interval_s(self, percentile: int = 95) -> tuple[float, float]:
        """Return the ends of the 90 % interval of the latency at a percentile."""
        middle, factor = self.latency_s(percentile), exp(HALF_WIDTH * self.log_sigma)
        return middle / factor, middle * factor


@dataclass(frozen=True, slots=True)
class QoeFacts:
    """What users' ratings are explained by: one variant on one node, and what the formula says of it.

    Attributes:
        accuracy: Accuracy of the variant on held-out data, 0 to 1.
        best_accuracy: Accuracy of the most accurate variant of the suite.
        latency_s: Expected latency in seconds at the percentile of the target.
        latency_target_s: Latency target in seconds.
        energy_share: Energy target over expected energy, at most 1; 1 where no energy is known.
        memory_share: Memory target over expected memory, at most 1; 1 where no memory is known.
        prior: Expected QoE by the formula, 0 to 1.
    """

    accuracy: float
    best_accuracy: float
    latency_s: float
    latency_target_s: float
    energy_share: float
    memory_share: float
    prior: float


class Sway(Protocol):
    """How a belief hangs together with others of the same pass: they rest on the same ratings."""

    def source_against(self, other: "Sway") -> float:
        """Return the most that a single source can have changed of the difference to another belief."""
        ...

    def less_uncertain_by(self, other: "Sway") -> float:
        """Return by how much the variance of the difference is below the sum of the two variances."""
        ...


@dataclass(frozen=True, slots=True)
class QoeEstimate:
    """What is believed of the QoE of one variant on one node once ratings count.

    Attributes:
        mean: Expected QoE, 0 to 1.
        sigma: Standard deviation of that belief by what users have not said yet; the spread of the latency that was
            put in does not count.
        voices: Number of sources of ratings that it rests on, those of alike variants and nodes in part; 0 when it is
            the formula's.
        sway: How it hangs together with others; None when it is the formula's.
    """

    mean: float
    sigma: float
    voices: float
    sway: Sway | None = field(default=None, compare=False, repr=False)


class Opinion(Protocol):
    """What users are known to like, learnt from their ratings."""

    def adjusted(self, facts: Sequence[QoeFacts]) -> Sequence[QoeEstimate]:
        """Return the belief on every entry, in the order given."""
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """A variant as seen by one node.

    Attributes:
        variant: The variant.
        latency: Its expected latency.
        qoe: Its expected quality of experience, 0 to 1.
        infeasible_because: Why it must not be chosen, a sentence; empty when it may be.
        qoe_sigma: Standard deviation of the QoE, by the spread of the latency and by what users have not said.
        prior_qoe: Expected QoE by the formula, without ratings; None when no ratings were looked at.
        voices: Number of sources of ratings that the QoE rests on.
        sway: How its QoE hangs together with others by ratings; None when no ratings were looked at.
        memory_bytes: Expected memory of the loaded variant; None when unknown.
    """

    variant: Variant
    latency: LatencyPrediction
    qoe: float
    infeasible_because: str = ""
    qoe_sigma: float = 0.0
    prior_qoe: float | None = None
    voices: float = 0.0
    sway: Sway | None = field(default=None, compare=False, repr=False)
    memory_bytes: int | None = None

    def prediction(self) -> Prediction:
        """Return the figures in the form of the API; without an interval where no spread is known."""
        low_s, high_s = self.latency.interval_s() if self.latency.log_sigma > 0 else (None, None)
        return Prediction(
            variant=self.variant.name,
            latency_p95_seconds=self.latency.latency_p95_s,
            latency_low_seconds=low_s,
            latency_high_seconds=high_s,
            energy_joules=self.latency.energy_j,
            memory_bytes=self.memory_bytes,
            qoe=self.qoe,
            evidence=self.latency.evidence,
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """The variant that a node should run.

    Attributes:
        chosen: The variant to run; None when none is feasible.
        runner_up: The best feasible variant besides the chosen one, or None.
        candidates: All variants by name.
        reason: Why, a sentence for people.
        recheck_s: Seconds until the choice may change by the passing of time alone (the minimum dwell); None when
            it cannot.
        pinned: Whether the user has fixed the variant.
        exploring: Whether it is tried for what is learnt from it, although another one is expected to be better.
    """

    chosen: Candidate | None
    runner_up: Candidate | None
    candidates: Mapping[str, Candidate]
    reason: str
    recheck_s: float | None = None
    pinned: bool = False
    exploring: bool = False
