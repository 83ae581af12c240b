"""Makes the assignment that a node is given from the choice, writing nothing new where nothing is new.

Figures of predictions move with every measurement. They are refreshed only where they tell something else, since
every difference here is a write to the API server, times the number of nodes.
"""

import math
from datetime import datetime

from fleetfit_api.node_inference import Assignment, Prediction
from fleetfit_api.suite import ModelSuiteSpec, Variant

from fleetfit_operator.fleet.choice import Candidate, Choice
from fleetfit_operator.fleet.measurements import known_measurements
from fleetfit_operator.fleet.progress import Target
from fleetfit_operator.fleet.snapshot import FleetNode
from fleetfit_operator.select.failures import failed_variants
from fleetfit_operator.select.policy import Policy
from fleetfit_operator.select.qoe import qoe_gain

_REASON_CHARACTERS = 2048


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
    variant already gets new figures where they differ in kind or by more than the hysteresis.
    """
    current = node.assignment(policy.key)
    wanted = wanted_target(choice)
    if choice.chosen is not None and (current is None or wanted != _target(current)):
        if may_move:
            return _new(policy, node, choice, choice.chosen, now)
        return _kept(policy, node, current) if current else None
    if current is None or choice.chosen is None:
        return _kept(policy, node, current) if current else None
    if _tells_something_new(policy, current, choice.chosen):
        return _new(policy, node, choice, choice.chosen, current.assigned_at or now)
    return _kept(policy, node, current)


def absolute_uri(suite: ModelSuiteSpec, variant: Variant) -> str:
    """Return the variant's URI, resolved against the suite's storage URI when it is relative."""
    if "://" in variant.uri or not suite.storage_uri:
        return variant.uri
    return f"{suite.storage_uri.rstrip('/')}/{variant.uri.lstrip('/')}"


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
        accuracy=variant.accuracy,
        predicted=_prediction(chosen),
        runner_up=_prediction(choice.runner_up),
        reason=choice.reason[:_REASON_CHARACTERS],
        assigned_at=at,
        decided_from=policy.decided_from,
        failed_variants=list(failed_variants(policy, node)),
        measured_variants=list(known_measurements(node, policy.key, policy.suite.variants)),
    )


def _kept(policy: Policy, node: FleetNode, current: Assignment) -> Assignment:
    """Return the current assignment with the model's name of today and what failed."""
    failures = list(failed_variants(policy, node))
    return current.model_copy(update={"model_name": policy.model_name, "failed_variants": failures})


def _tells_something_new(policy: Policy, current: Assignment, chosen: Candidate) -> bool:
    if current.decided_from != policy.decided_from or current.uri != absolute_uri(
        policy.suite, chosen.variant
    ):
        return True
    old, new = current.predicted, _prediction(chosen)
    if old is None or new is None:
        return old != new
    return old.evidence != new.evidence or abs(qoe_gain(old.qoe, new.qoe)) > policy.spec.selection.hysteresis


def _prediction(candidate: Candidate | None) -> Prediction | None:
    """Return the figures; None without a candidate or for a latency that JSON cannot express."""
    if candidate is None or not math.isfinite(candidate.latency.latency_p95_s):
        return None
    return candidate.prediction()


def _target(assignment: Assignment) -> Target:
    return Target(assignment.variant, assignment.sha256)
