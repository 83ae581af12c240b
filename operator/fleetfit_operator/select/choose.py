"""Chooses the variant that a node should run.

In this order:

1. A pin decides alone. It overrules limits and earlier failures, since the user names node and variant; it does not
   overrule what the node cannot do (provider, memory). A pin that cannot be followed leaves the node as it is: running
   something else than the user asked for by name would be worse than a message.
2. Without a feasible variant nothing is chosen, and the node keeps what it has.
3. The feasible variant with the best QoE; ties go to the faster one, then by name.
4. What the node runs now (same file, still feasible) stays unless a rival's gain exceeds what `hysteresis` asks for,
   and for the minimum dwell even then. An edit of the suite, qoe or selection ends the dwell, not the hysteresis. What
   the node merely tries (`exploration`) has neither. Of several rivals that gain enough the best one is taken.

Nothing here waits for a rollout: whether the node may change now is decided there. Nothing here explores either: that
takes a look at all nodes.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from fleetfit_api.node_inference import Assignment

from fleetfit_operator.fleet.choice import Candidate, Choice, LatencyPrediction, Opinion
from fleetfit_operator.fleet.snapshot import FleetNode
from fleetfit_operator.select import explanation
from fleetfit_operator.select.candidates import Field, field_of
from fleetfit_operator.select.hysteresis import is_worth_changing
from fleetfit_operator.select.pins import pin_for
from fleetfit_operator.select.policy import Policy
from fleetfit_operator.select.standing import standing_of


def choose(
    policy: Policy,
    node: FleetNode,
    predictions: Mapping[str, LatencyPrediction],
    now: datetime,
    opinion: Opinion | None = None,
) -> Choice:
    """Return the variant that the node should run and why.

    Args:
        policy: The deployment and its suite, from `policy_of`.
        node: The node with what it runs and reports.
        predictions: Expected latency by name of variant; a variant that is missing is infeasible.
        now: The time, UTC.
        opinion: What users are known to like; None while nothing is.
    """
    return choose_from(policy, node, field_of(policy, standing_of(policy, node), predictions, opinion), now)


def choose_from(policy: Policy, node: FleetNode, field: Field, now: datetime) -> Choice:
    """Return the variant that the node should run and why.

    Args:
        policy: The deployment and its suite.
        node: The node with what it runs and reports.
        field: The candidates as the node sees them.
        now: The time, UTC.
    """
    pin = pin_for(policy.spec.selection.pins, node.node)
    if pin is not None:
        pinned = field.by_name.get(pin.variant)
        if pinned is None or pinned.variant.name in field.impossible:
            return _nothing(field, explanation.impossible_pin_sentence(policy, pin, field))
        best = field.ranked[0] if field.ranked else None
        reason = explanation.pinned_sentence(policy.spec.qoe, pin, pinned, best)
        return replace(_choice(policy, field, pinned, reason), pinned=True)
    if not field.ranked:
        return _nothing(field, explanation.infeasible_sentence(policy, field))
    current = node.assignment(policy.key)
    kept = _still_feasible(current, field)
    if current is None or kept is None or current.exploring:
        return _best(policy, field)
    return _stay_or_change(policy, field, current, kept, now)


def _stay_or_change(
    policy: Policy, field: Field, current: Assignment, kept: Candidate, now: datetime
) -> Choice:
    best = field.ranked[0]
    if best is kept:
        return _best(policy, field)
    selection, qoe = policy.spec.selection, policy.spec.qoe
    rival = next((each for each in field.ranked if is_worth_changing(selection, kept, each)), None)
    if rival is None:
        reason = explanation.hysteresis_sentence(qoe, kept, best, selection)
        return _choice(policy, field, kept, reason)
    remaining_s = _dwell_remaining_s(policy, current, now)
    if remaining_s > 0:
        reason = explanation.dwell_sentence(qoe, kept, rival, remaining_s)
        return _choice(policy, field, kept, reason, recheck_s=remaining_s)
    if rival is best:
        return _best(policy, field)
    return _choice(policy, field, rival, explanation.surer_sentence(qoe, rival, best))


def _dwell_remaining_s(policy: Policy, current: Assignment, now: datetime) -> float:
    if current.assigned_at is None or current.decided_from != policy.decided_from:
        return 0.0
    age_s = max(0.0, (now - current.assigned_at).total_seconds())
    return policy.spec.selection.minimum_dwell_seconds - age_s


def _still_feasible(current: Assignment | None, field: Field) -> Candidate | None:
    """Return the candidate that the node runs now, if its file is the same and it is feasible."""
    candidate = field.by_name.get(current.variant) if current else None
    if current is None or candidate is None or candidate.infeasible_because:
        return None
    return candidate if candidate.variant.sha256 == current.sha256 else None


def _best(policy: Policy, field: Field) -> Choice:
    best = field.ranked[0]
    reason = explanation.best_sentence(policy.spec.qoe, best, field.runner_up(best))
    return _choice(policy, field, best, reason)


def _choice(
    policy: Policy, field: Field, chosen: Candidate, reason: str, recheck_s: float | None = None
) -> Choice:
    return Choice(
        chosen=chosen,
        runner_up=field.runner_up(chosen),
        candidates=field.by_name,
        reason=reason + explanation.notes(policy, chosen),
        recheck_s=recheck_s,
    )


def _nothing(field: Field, reason: str) -> Choice:
    best = field.ranked[0] if field.ranked else None
    return Choice(chosen=None, runner_up=best, candidates=field.by_name, reason=reason)
