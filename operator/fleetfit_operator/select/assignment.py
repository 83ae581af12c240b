"""Makes the assignment that a node is given from the choice, writing nothing new where nothing is new.

Figures of predictions move with every measurement. They are refreshed only where they tell something else, since
every difference here is a write to the API server, times the number of nodes.
"""

import math
from collections.abc import Iterable
from datetime import datetime

from fleetfit_api.node_inference import AssignedFile, Assignment, FailedVariant, UpcomingModel
from fleetfit_api.prediction import Contribution, Prediction
from fleetfit_api.suite import ModelSuiteSpec, Variant

from fleetfit_operator.fleet.choice import Candidate, Choice
from fleetfit_operator.fleet.measurements import known_measurements
from fleetfit_operator.fleet.progress import Target
from fleetfit_operator.fleet.snapshot import FleetNode
from fleetfit_operator.select.asking import ask_share
from fleetfit_operator.select.counterfactual import would_change
from fleetfit_operator.select.failures import failed_variants
from fleetfit_operator.select.policy import Policy
from fleetfit_operator.select.qoe import qoe_gain
from fleetfit_operator.select.trials import failed_trial

_REASON_CHARACTERS = 2048
_WOULD_CHANGE_CHARACTERS = 1024
_CONTRIBUTIONS = 5
# A hysteresis of 0 would let every measurement be a write.
_SMALLEST_NEWS = 0.005


def wanted_target(choice: Choice) -> Target | None:
    """Return what a node with this choice should run; None when it keeps what it has."""
    if choice.chosen is None:
        return None
    return Target(choice.chosen.variant.name, choice.chosen.variant.sha256)


def next_assignment(
    policy: Policy, node: FleetNode, choice: Choice, may_move: bool, now: datetime
) -> Assignment | None:
    """Return what the node should be assigned from now on; None when still nothing.

    A node that may not move keeps its variant, with what it must remember of failures. A node that has the wanted
    variant already gets new figures where they differ in kind or by more than the hysteresis: the interval, the
    contributions and what would change the choice move with every measurement and are written together with such news.
    """
    current = node.assignment(policy.key)
    wanted = wanted_target(choice)
    if choice.chosen is not None and (current is None or wanted != _target(current)):
        if may_move:
            return _new(policy, node, choice, choice.chosen, now)
        return _kept(policy, node, current) if current else None
    if current is None or choice.chosen is None:
        return _kept(policy, node, current) if current else None
    if _tells_something_new(policy, current, choice, choice.chosen):
        return _new(policy, node, choice, choice.chosen, current.assigned_at or now)
    return _kept(policy, node, current)


def absolute_uri(suite: ModelSuiteSpec, variant: Variant) -> str:
    """Return the variant's URI, resolved against the suite's storage URI when it is relative."""
    return _absolute(suite, variant.uri)


def absolute_signature_uri(suite: ModelSuiteSpec, variant: Variant) -> str:
    """Return the URI of the variant's signature, resolved likewise; empty without one."""
    return _absolute(suite, variant.signature_uri) if variant.signature_uri else ""


def absolute_files(suite: ModelSuiteSpec, variant: Variant) -> list[AssignedFile]:
    """Return the variant's further files, with their URIs resolved likewise."""
    return [
        AssignedFile(
            name=file.name, uri=_absolute(suite, file.uri), sha256=file.sha256, size_bytes=file.size_bytes
        )
        for file in variant.files
    ]


def upcoming_model(suite: ModelSuiteSpec, variant: Variant) -> UpcomingModel:
    """Return what a node fetches ahead of an assignment of the variant."""
    return UpcomingModel(
        uri=absolute_uri(suite, variant),
        sha256=variant.sha256,
        size_bytes=variant.size_bytes,
        files=absolute_files(suite, variant),
        signature_uri=absolute_signature_uri(suite, variant),
    )


def _absolute(suite: ModelSuiteSpec, uri: str) -> str:
    if "://" in uri or not suite.storage_uri:
        return uri
    return f"{suite.storage_uri.rstrip('/')}/{uri.lstrip('/')}"


def _new(policy: Policy, node: FleetNode, choice: Choice, chosen: Candidate, at: datetime) -> Assignment:
    variant = chosen.variant
    return Assignment(
        namespace=policy.key.namespace,
        deployment=policy.key.name,
        model_name=policy.model_name,
        suite=policy.suite_name,
        variant=variant.name,
        precision=variant.precision,
        uri=absolute_uri(policy.suite, variant),
        sha256=variant.sha256,
        size_bytes=variant.size_bytes,
        files=absolute_files(policy.suite, variant),
        signature_uri=absolute_signature_uri(policy.suite, variant),
        require_signature=policy.spec.serving.require_signature,
        batching=policy.spec.serving.batching,
        accuracy=variant.accuracy,
        predicted=_prediction(chosen),
        runner_up=_prediction(choice.runner_up),
        reason=choice.reason[:_REASON_CHARACTERS],
        would_change=would_change(policy, choice)[:_WOULD_CHANGE_CHARACTERS],
        contributions=_largest(chosen.latency.contributions),
        exploring=choice.exploring,
        ask_share=ask_share(policy, choice, _share_now(policy, node.assignment(policy.key))),
        assigned_at=at,
        decided_from=policy.decided_from,
        failed_variants=_failures(policy, node, chosen, at),
        measured_variants=list(known_measurements(node, policy.key, policy.suite.variants)),
    )


def _kept(policy: Policy, node: FleetNode, current: Assignment) -> Assignment:
    """Return the current assignment with how the model is served today, what failed and what was timed."""
    return current.model_copy(
        update={
            "model_name": policy.model_name,
            "require_signature": policy.spec.serving.require_signature,
            "batching": policy.spec.serving.batching,
            "failed_variants": list(failed_variants(policy, node)),
            "measured_variants": list(known_measurements(node, policy.key, policy.suite.variants)),
        }
    )


def _failures(policy: Policy, node: FleetNode, chosen: Candidate, now: datetime) -> list[FailedVariant]:
    """Return what the node must remember as failed, with a trial that it leaves without a measurement."""
    failures = {failed.variant: failed for failed in failed_variants(policy, node)}
    current = node.assignment(policy.key)
    if current is not None and current.variant != chosen.variant.name:
        trial = failed_trial(policy, node, current, now)
        if trial is not None:
            failures.setdefault(trial.variant, trial)
    return [failed for _, failed in sorted(failures.items())]


def _tells_something_new(policy: Policy, current: Assignment, choice: Choice, chosen: Candidate) -> bool:
    if current.decided_from != policy.decided_from or current.uri != absolute_uri(
        policy.suite, chosen.variant
    ):
        return True
    if current.exploring != choice.exploring:
        return True
    if current.ask_share != ask_share(policy, choice, current.ask_share):
        return True
    old, new = current.predicted, _prediction(chosen)
    if old is None or new is None:
        return old != new
    news = max(policy.spec.selection.hysteresis, _SMALLEST_NEWS)
    return old.evidence != new.evidence or abs(qoe_gain(old.qoe, new.qoe)) > news


def _share_now(policy: Policy, current: Assignment | None) -> float | None:
    """Return the share of the current assignment, if it was decided by the same declaration."""
    if current is None or current.decided_from != policy.decided_from:
        return None
    return current.ask_share


def _largest(contributions: Iterable[Contribution]) -> list[Contribution]:
    """Return the contributions that change the most, the largest first."""
    return sorted(contributions, key=lambda each: (-abs(math.log(each.factor)), each.feature))[
        :_CONTRIBUTIONS
    ]


def _prediction(candidate: Candidate | None) -> Prediction | None:
    """Return the figures; None without a candidate or for a latency that JSON cannot express."""
    if candidate is None or not math.isfinite(candidate.latency.latency_p95_s):
        return None
    return candidate.prediction()


def _target(assignment: Assignment) -> Target:
    return Target(assignment.variant, assignment.sha256)
