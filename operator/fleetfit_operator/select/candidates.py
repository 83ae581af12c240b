"""All variants of a suite as one node sees them, best first."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fleetfit_api.prediction import Evidence
from fleetfit_api.suite import Variant

from fleetfit_operator.fleet.choice import Candidate, LatencyPrediction, Opinion, QoeFacts
from fleetfit_operator.select.constraints import (
    Obstacle,
    Rules,
    expected_memory_bytes,
    impossible_because,
)
from fleetfit_operator.select.policy import Policy
from fleetfit_operator.select.qoe import ExpectedQoe, Figures, expected_qoe, target_share
from fleetfit_operator.select.standing import Standing

UNPREDICTABLE = LatencyPrediction(latency_p95_s=math.inf, evidence=Evidence.FEATURES_ONLY)
"""Stands for a prediction that is missing; such a variant is infeasible."""
_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Field:
    """The variants that compete for a node.

    Attributes:
        by_name: All variants by name, in order of name.
        impossible: Names of those that the node cannot run at all, whatever the user says.
        ranked: Feasible ones, best first: by QoE, then latency, then name.
        obstacles: What the user's limits and earlier failures have against each, by name.
    """

    by_name: Mapping[str, Candidate]
    impossible: frozenset[str]
    ranked: tuple[Candidate, ...]
    obstacles: Mapping[str, tuple[Obstacle, ...]]

    def runner_up(self, chosen: Candidate) -> Candidate | None:
        """Return the best feasible candidate besides the chosen one, or None."""
        return next((c for c in self.ranked if c.variant.name != chosen.variant.name), None)


def field_of(
    policy: Policy,
    standing: Standing,
    predictions: Mapping[str, LatencyPrediction],
    opinion: Opinion | None = None,
) -> Field:
    """Return the candidates; a variant without a prediction is infeasible.

    Args:
        policy: The deployment and its suite.
        standing: How the node stands towards the variants.
        predictions: Expected latency by name of variant.
        opinion: What users are known to like; None while nothing is. It counts unless ratings are disabled.
    """
    variants = sorted(policy.suite.variants, key=lambda each: each.name)
    latencies = [predictions.get(variant.name, UNPREDICTABLE) for variant in variants]
    candidates = _valued(policy, variants, latencies, opinion)
    impossible = {
        variant.name: cannot
        for variant, latency in zip(variants, latencies, strict=True)
        if (cannot := impossible_because(variant, latency, standing))
    }
    obstacles = _obstacles(policy, standing, candidates)
    by_name = {
        each.variant.name: _judged(each, impossible.get(each.variant.name, ""), obstacles)
        for each in candidates
    }
    feasible = (candidate for candidate in by_name.values() if not candidate.infeasible_because)
    return Field(by_name, frozenset(impossible), tuple(sorted(feasible, key=_rank)), obstacles)


def rated_facts(policy: Policy, predictions: Mapping[str, LatencyPrediction]) -> dict[str, QoeFacts]:
    """Return what ratings of variants on a node are explained by, by name of those that have a latency.

    Args:
        policy: The deployment and its suite.
        predictions: Latencies on the node by name of variant, of those that are rated the latency that users met.
    """
    variants = sorted(policy.suite.variants, key=lambda each: each.name)
    expected = _expected(policy, variants, [predictions.get(each.name, UNPREDICTABLE) for each in variants])
    return {expected.variants[i].name: expected.facts(policy, i) for i in expected.known()}


@dataclass(frozen=True, slots=True)
class _Expected:
    """What the formula expects of variants on a node, variant by variant."""

    variants: Sequence[Variant]
    latencies: Sequence[LatencyPrediction]
    memory_bytes: Sequence[int]
    energy_share: Figures
    memory_share: Figures
    qoe: ExpectedQoe

    def known(self) -> list[int]:
        """Return where there is a latency."""
        return [i for i, each in enumerate(self.latencies) if math.isfinite(each.latency_p95_s)]

    def facts(self, policy: Policy, i: int) -> QoeFacts:
        """Return what ratings of a variant are explained by."""
        return QoeFacts(
            accuracy=self.variants[i].accuracy,
            best_accuracy=policy.best_accuracy,
            latency_s=self.latencies[i].latency_s(policy.spec.qoe.latency_percentile),
            latency_target_s=policy.terms.latency_target_s,
            energy_share=float(self.energy_share[i]),
            memory_share=float(self.memory_share[i]),
            prior=float(self.qoe.mean[i]),
        )

    def candidates(self) -> list[Candidate]:
        """Return the variants as the formula sees them."""
        return [
            Candidate(variant, latency, float(mean), qoe_sigma=float(sigma), memory_bytes=memory_bytes)
            for variant, latency, mean, sigma, memory_bytes in zip(
                self.variants,
                self.latencies,
                self.qoe.mean,
                self.qoe.sigma,
                self.memory_bytes,
                strict=True,
            )
        ]


def _expected(
    policy: Policy, variants: Sequence[Variant], latencies: Sequence[LatencyPrediction]
) -> _Expected:
    memory = [expected_memory_bytes(*pair) for pair in zip(variants, latencies, strict=True)]
    energy_share = target_share(
        [math.nan if each.energy_j is None else each.energy_j for each in latencies],
        policy.terms.energy_target_j,
    )
    memory_share = target_share(memory, policy.terms.memory_target_bytes)
    qoe = expected_qoe(
        policy.terms,
        [each.latency_s(policy.spec.qoe.latency_percentile) for each in latencies],
        [each.log_sigma for each in latencies],
        [variant.accuracy for variant in variants],
        energy_share,
        memory_share,
    )
    return _Expected(variants, latencies, memory, energy_share, memory_share, qoe)


def _valued(
    policy: Policy,
    variants: Sequence[Variant],
    latencies: Sequence[LatencyPrediction],
    opinion: Opinion | None,
) -> list[Candidate]:
    """Return the variants with their QoE: by the formula, moved by what users say; without a latency the formula's."""
    expected = _expected(policy, variants, latencies)
    candidates = expected.candidates()
    if opinion is None or not policy.spec.qoe.ratings.enabled:
        return candidates
    known = expected.known()
    beliefs = opinion.adjusted([expected.facts(policy, i) for i in known])
    for i, belief in zip(known, beliefs, strict=True):
        candidates[i] = replace(
            candidates[i],
            qoe=round(min(1.0, max(0.0, belief.mean)), _DECIMALS),
            qoe_sigma=round(math.hypot(candidates[i].qoe_sigma, belief.sigma), _DECIMALS),
            prior_qoe=candidates[i].qoe,
            voices=belief.voices,
            sway=belief.sway,
        )
    return candidates


def _obstacles(
    policy: Policy, standing: Standing, candidates: Sequence[Candidate]
) -> dict[str, tuple[Obstacle, ...]]:
    rules = Rules(
        limits=policy.spec.qoe.constraints,
        percentile=policy.spec.qoe.latency_percentile,
        provider=standing.provider,
        failures=standing.failures,
        signed_only=standing.signed_only or policy.spec.serving.require_signature,
    )
    return {
        each.variant.name: (
            *rules.obstacles(each.variant, each.latency, standing.running == _file(each.variant)),
            *_unsupported_in_class(policy, standing.class_name, each.variant),
        )
        for each in candidates
    }


def _file(variant: Variant) -> tuple[str, str]:
    return variant.name, variant.sha256


def _unsupported_in_class(policy: Policy, class_name: str, variant: Variant) -> tuple[Obstacle, ...]:
    if (class_name, *_file(variant)) not in policy.unsupported:
        return ()
    because = f"it has an operator that the runtime does not, as a node of class {class_name} has shown"
    return (Obstacle(because),)


def _judged(candidate: Candidate, cannot: str, obstacles: Mapping[str, Sequence[Obstacle]]) -> Candidate:
    against = obstacles[candidate.variant.name]
    because = cannot or (against[0].because if against else "")
    return replace(candidate, infeasible_because=because) if because else candidate


def _rank(candidate: Candidate) -> tuple[float, float, str]:
    return (-candidate.qoe, candidate.latency.latency_p95_s, candidate.variant.name)
