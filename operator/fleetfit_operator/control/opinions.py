"""What users of a deployment say, gathered from its nodes; learnt anew only when they say something else.

Pure but for that memory.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from fleetfit_api.model_status import RatingSummary
from fleetfit_api.names import NodeName

from fleetfit_operator.fleet.choice import LatencyPrediction, Opinion, QoeFacts
from fleetfit_operator.fleet.snapshot import DeploymentKey, FleetNode
from fleetfit_operator.predict.label_accuracy import Labelled, local_accuracies
from fleetfit_operator.predict.preference import Weights
from fleetfit_operator.predict.qoe_model import Rated, learn_opinion
from fleetfit_operator.select.candidates import rated_facts
from fleetfit_operator.select.policy import Policy

Predictions = Mapping[str, LatencyPrediction]


@dataclass(frozen=True, slots=True)
class _Heard:
    """What a node's ratings came to."""

    ratings: list[RatingSummary]
    rated: tuple[Rated, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    """What was learnt of a deployment, and from what."""

    policy: Policy
    nodes: Mapping[NodeName, _Heard]
    opinion: Opinion | None


class FleetOpinions:
    """Opinions for a pass; what the last pass knew is not learnt again."""

    def __init__(self) -> None:
        self._known: dict[DeploymentKey, _Known] = {}
        self._used: dict[DeploymentKey, _Known] = {}

    def begin_pass(self) -> None:
        """Forget what the last pass did not use: deployments that are gone."""
        self._known, self._used = self._used, {}

    def of(
        self, policy: Policy, nodes: Iterable[FleetNode], predictions: Mapping[NodeName, Predictions]
    ) -> Opinion | None:
        """Return what the users of a deployment are known to like; None while they have said nothing.

        Args:
            policy: The deployment and its suite.
            nodes: Its nodes.
            predictions: Expected latencies by node and variant.
        """
        if not policy.spec.qoe.ratings.enabled:
            return None
        before = self._used.get(policy.key) or self._known.get(policy.key)
        edited = before is None or before.policy.decided_from != policy.decided_from
        remembered = {} if before is None or edited else before.nodes
        heard = {
            node.name: _heard(policy, node, remembered.get(node.name), predictions[node.name])
            for node in nodes
            if _ratings(policy, node)
        }
        if before is not None and not edited and heard == before.nodes:
            opinion = before.opinion
        else:
            opinion = _learnt(policy, heard)
        self._used[policy.key] = _Known(policy, heard, opinion)
        return opinion


def local_policy(policy: Policy, node: FleetNode) -> Policy:
    """Return the policy with the accuracies that labels give variants on the node; itself where there are none."""
    labelled = [
        Labelled(each.variant, each.accuracy, each.labels)
        for each in _ratings(policy, node)
        if each.accuracy is not None and each.labels > 0
    ]
    if not labelled or not policy.spec.qoe.ratings.enabled:
        return policy
    suite = {variant.name: variant.accuracy for variant in policy.suite.variants}
    local = local_accuracies(suite, labelled)
    variants = [
        variant.model_copy(update={"accuracy": local[variant.name]}) for variant in policy.suite.variants
    ]
    return replace(policy, suite=policy.suite.model_copy(update={"variants": variants}))


def _heard(policy: Policy, node: FleetNode, before: _Heard | None, predictions: Predictions) -> _Heard:
    ratings = _ratings(policy, node)
    if before is not None and before.ratings == ratings:
        return before
    facts = _facts(local_policy(policy, node), ratings, predictions)
    rated = tuple(
        Rated(node.name, facts[each.variant], each.score, each.voices)
        for each in ratings
        if each.voices > 0 and each.variant in facts
    )
    return _Heard(ratings, rated)


def _facts(policy: Policy, ratings: Iterable[RatingSummary], predicted: Predictions) -> dict[str, QoeFacts]:
    """Return the facts of rated variants, with the latencies that users met where they are known."""
    met = dict(predicted)
    for each in ratings:
        expected = predicted.get(each.variant)
        if each.latency_p95_seconds > 0 and expected is not None:
            ratio = each.latency_p95_seconds / expected.latency_p95_s
            met[each.variant] = replace(
                expected,
                latency_p95_s=each.latency_p95_seconds,
                latency_p50_s=expected.latency_p50_s * ratio,
                log_sigma=0.0,
            )
    return rated_facts(policy, met)


def _ratings(policy: Policy, node: FleetNode) -> list[RatingSummary]:
    """Return what users of the node say of files that the suite still has."""
    report = node.report(policy.key)
    if report is None or not report.ratings:
        return []
    files = {(variant.name, variant.sha256) for variant in policy.suite.variants}
    return [each for each in report.ratings if (each.variant, each.sha256) in files]


def _learnt(policy: Policy, heard: Mapping[NodeName, _Heard]) -> Opinion | None:
    terms = policy.terms
    return learn_opinion(
        [rated for each in heard.values() for rated in each.rated],
        Weights(terms.accuracy_weight, terms.latency_weight, terms.energy_weight, terms.memory_weight),
        policy.spec.qoe.ratings.prior_strength,
    )
