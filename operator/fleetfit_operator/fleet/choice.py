"""What `predict` says of a variant on a node, and what `select` makes of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from fleetfit_api.node_inference import Evidence, Prediction
from fleetfit_api.suite import Variant


@dataclass(frozen=True, slots=True)
class LatencyPrediction:
    """Expected p95 latency of one inference.

    Attributes:
        latency_p95_s: Expected 95th percentile in seconds.
        evidence: What it rests on.
    """

    latency_p95_s: float
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Candidate:
    """A variant as seen by one node.

    Attributes:
        variant: The variant.
        latency: Its expected latency.
        qoe: Its expected quality of experience, 0 to 1.
        infeasible_because: Why it must not be chosen, a sentence; empty when it may be.
    """

    variant: Variant
    latency: LatencyPrediction
    qoe: float
    infeasible_because: str = ""

    def prediction(self) -> Prediction:
        """Return the figures in the form of the API."""
        return Prediction(
            variant=self.variant.name,
            latency_p95_seconds=self.latency.latency_p95_s,
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
    """

    chosen: Candidate | None
    runner_up: Candidate | None
    candidates: Mapping[str, Candidate]
    reason: str
    recheck_s: float | None = None
