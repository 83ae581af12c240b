"""All variants of a suite as one node sees them, best first."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleetfit_api.node_inference import Evidence, FailedVariant
from fleetfit_api.suite import Variant

from fleetfit_operator.fleet.choice import Candidate, LatencyPrediction
from fleetfit_operator.fleet.snapshot import FleetNode
from fleetfit_operator.select.constraints import forbidden_because, impossible_because
from fleetfit_operator.select.failures import failed_variants
from fleetfit_operator.select.policy import Policy
from fleetfit_operator.select.qoe import quality_of_experience

UNPREDICTABLE = LatencyPrediction(latency_p95_s=math.inf, evidence=Evidence.FEATURES_ONLY)
"""Stands for a prediction that is missing; such a variant is infeasible."""


@dataclass(frozen=True, slots=True)
class Field:
    """The variants that compete for a node.

    Attributes:
        by_name: All variants by name, in order of name.
        impossible: Names of those that the node cannot run at all, whatever the user says.
        ranked: Feasible ones, best first: by QoE, then latency, then name.
    """

    by_name: Mapping[str, Candidate]
    impossible: frozenset[str]
    ranked: tuple[Candidate, ...]

    def runner_up(self, chosen: Candidate) -> Candidate | None:
        """Return the best feasible candidate besides the chosen one, or None."""
        return next((c for c in self.ranked if c.variant.name != chosen.variant.name), None)


def field_of(policy: Policy, node: FleetNode, predictions: Mapping[str, LatencyPrediction]) -> Field:
    """Return the candidates; a variant without a prediction is infeasible."""
    failures = failed_variants(policy, node)
    by_name: dict[str, Candidate] = {}
    impossible = set()
    for variant in sorted(policy.suite.variants, key=lambda each: each.name):
        latency = predictions.get(variant.name, UNPREDICTABLE)
        cannot = impossible_because(variant, node)
        if cannot:
            impossible.add(variant.name)
        by_name[variant.name] = _candidate(policy, variant, latency, failures, cannot)
    feasible = (candidate for candidate in by_name.values() if not candidate.infeasible_because)
    return Field(by_name, frozenset(impossible), tuple(sorted(feasible, key=_rank)))


def _candidate(
    policy: Policy,
    variant: Variant,
    latency: LatencyPrediction,
    failures: Sequence[FailedVariant],
    cannot: str,
) -> Candidate:
    qoe = policy.spec.qoe
    return Candidate(
        variant=variant,
        latency=latency,
        qoe=quality_of_experience(qoe, variant.accuracy, policy.best_accuracy, latency.latency_p95_s),
        infeasible_because=cannot or forbidden_because(variant, latency, qoe.constraints, failures),
    )


def _rank(candidate: Candidate) -> tuple[float, float, str]:
    return (-candidate.qoe, candidate.latency.latency_p95_s, candidate.variant.name)
