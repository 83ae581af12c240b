"""Which nodes try a variant for what is learnt from it: the one step of choosing that looks at all nodes together.

A variant that is expected to be a little worse than the best is never run, so a prediction that is wrong about it stays
wrong. A few nodes may therefore try one, within these bounds, all of which hold at any time:

1. At most floor(`maxNodesShare` * nodes of the deployment) nodes try something, counted until they have left it.
2. On each the expected loss of QoE against the best variant is at most `maxExpectedLoss`.
3. Never what is infeasible, never a pinned node, never in a class whose rollout is stopped; none begins while the
   rollout is paused, before a node has settled with what it runs, or before its minimum dwell is over.
4. In a hardware class one node at a time tries a variant, and only one that no node of the class has measured or
   failed to run. So every variant costs a class one trial.

Tried first is what may be best: by expected QoE plus one standard deviation. Which node tries it is decided by a hash
of deployment, node, variant and what the user declared: every operator decides the same at any time, and not always
the same node has the trouble. A trial goes on until the node has measured the variant; then the node runs its best
variant again, which may be the one that it tried.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from fleetfit_api.model_status import ModelPhase
from fleetfit_api.names import NodeName
from fleetfit_api.node_inference import Assignment
from fleetfit_api.prediction import Evidence

from fleetfit_operator.fleet.choice import Candidate, Choice
from fleetfit_operator.fleet.snapshot import FleetNode
from fleetfit_operator.select import explanation
from fleetfit_operator.select.failures import failed_variants
from fleetfit_operator.select.policy import Policy
from fleetfit_operator.select.qoe import qoe_gain
from fleetfit_operator.select.trials import failed_trial, is_measured, measured_variants, trial_left_s

_MEASURED_IN_CLASS: Final = frozenset({Evidence.MEASURED, Evidence.HARDWARE_CLASS})
# So that a share of 0.29 of 100 nodes is 29 of them.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Explorer:
    """A node that may try a variant.

    Attributes:
        node: The node.
        choice: Its choice without exploration.
        may_begin: Whether a trial may begin there now: the node answers, and its class is neither stopped nor paused.
        may_go_on: Whether one that has begun may go on: the class is not stopped.
    """

    node: FleetNode
    choice: Choice
    may_begin: bool
    may_go_on: bool


@dataclass(frozen=True, slots=True)
class Trials:
    """What is tried.

    Attributes:
        choices: The choices of the nodes that try something, instead of their own.
        recheck_s: Seconds until this may change by the passing of time alone; None when it cannot.
    """

    choices: Mapping[NodeName, Choice]
    recheck_s: float | None


def explore(policy: Policy, explorers: Sequence[Explorer], now: datetime) -> Trials:
    """Return which nodes try what.

    Args:
        policy: The deployment and its suite.
        explorers: All nodes of the deployment that have a choice, in any order.
        now: The time, UTC.
    """
    share = policy.spec.selection.exploration.max_nodes_share
    budget = math.floor(share * len(explorers) + _ROUNDING)
    if budget <= 0:
        return Trials({}, None)
    search = _Search(policy, explorers, now)
    going_on = search.going_on()[:budget]
    begun, wait_s = search.beginning(budget - len(search.busy))
    waits_s = [search.left_s(each) for each, _ in going_on]
    if wait_s is not None:
        waits_s.append(wait_s)
    return Trials(
        {each.node.name: _trial(policy, each, tried) for each, tried in (*going_on, *begun)},
        min(waits_s, default=None),
    )


class _Search:
    """The nodes of a deployment, with what they try and what is still to be tried."""

    def __init__(self, policy: Policy, explorers: Sequence[Explorer], now: datetime) -> None:
        self._policy = policy
        self._now = now
        self._idle: list[Explorer] = []
        self.busy: list[tuple[Explorer, Assignment]] = []
        self._closed: set[tuple[str, str]] = set()
        for each in explorers:
            assignment = each.node.assignment(policy.key)
            if assignment is not None and assignment.exploring:
                self.busy.append((each, assignment))
                self._closed.add((each.node.class_name, assignment.variant))
            else:
                self._idle.append(each)
            self._closed.update((each.node.class_name, name) for name in self._known(each))

    def going_on(self) -> list[tuple[Explorer, Candidate]]:
        """Return the trials that go on, in an order that does not change."""
        trials = [
            (each, tried)
            for each, assignment in self.busy
            if (tried := self._goes_on(each, assignment)) is not None
        ]
        return sorted(trials, key=lambda trial: self._draw(*trial))

    def left_s(self, explorer: Explorer) -> float:
        """Return the seconds that a trial may still take."""
        assignment = explorer.node.assignment(self._policy.key)
        return max(0.0, trial_left_s(self._policy, assignment, self._now)) if assignment else 0.0

    def beginning(self, room: int) -> tuple[list[tuple[Explorer, Candidate]], float | None]:
        """Return at most that many new trials, and the seconds until a further node may begin one."""
        if room <= 0:
            return [], None
        open_trials: list[tuple[Explorer, Candidate]] = []
        waits_s: list[float] = []
        for each in self._idle:
            tempting = list(self._tempting(each))
            wait_s = self._dwell_left_s(each)
            if tempting and wait_s > 0:
                waits_s.append(wait_s)
            elif tempting:
                open_trials.extend((each, tried) for tried in tempting)
        begun: list[tuple[Explorer, Candidate]] = []
        taken: set[NodeName] = set()
        for each, tried in sorted(open_trials, key=self._promise):
            pair = (each.node.class_name, tried.variant.name)
            if len(begun) < room and each.node.name not in taken and pair not in self._closed:
                begun.append((each, tried))
                taken.add(each.node.name)
                self._closed.add(pair)
        return begun, min(waits_s, default=None) if len(begun) < room else None

    def _known(self, explorer: Explorer) -> Iterator[str]:
        """Yield the variants that need no trial in the node's class: measured there, or failed on this node."""
        for candidate in explorer.choice.candidates.values():
            if candidate.latency.evidence in _MEASURED_IN_CLASS:
                yield candidate.variant.name
        yield from measured_variants(self._policy, explorer.node)
        for failed in failed_variants(self._policy, explorer.node):
            yield failed.variant

    def _goes_on(self, explorer: Explorer, assignment: Assignment) -> Candidate | None:
        tried = explorer.choice.candidates.get(assignment.variant)
        if tried is None or tried.variant.sha256 != assignment.sha256 or not explorer.may_go_on:
            return None
        if is_measured(self._policy, explorer.node, assignment):
            return None
        if failed_trial(self._policy, explorer.node, assignment, self._now) is not None:
            return None
        return tried if self._is_bearable(explorer, tried) else None

    def _tempting(self, explorer: Explorer) -> Iterator[Candidate]:
        """Yield what the node could try now or when its dwell is over."""
        if not explorer.may_begin or not _is_settled(self._policy, explorer):
            return
        chosen = explorer.choice.chosen
        for candidate in explorer.choice.candidates.values():
            is_open = (explorer.node.class_name, candidate.variant.name) not in self._closed
            if is_open and candidate is not chosen and self._is_bearable(explorer, candidate):
                yield candidate

    def _is_bearable(self, explorer: Explorer, tried: Candidate) -> bool:
        if explorer.choice.pinned or tried.infeasible_because:
            return False
        loss = qoe_gain(tried.qoe, _best(explorer.choice, tried).qoe)
        return loss <= self._policy.spec.selection.exploration.max_expected_loss

    def _dwell_left_s(self, explorer: Explorer) -> float:
        assignment = explorer.node.assignment(self._policy.key)
        if assignment is None or assignment.assigned_at is None:
            return 0.0
        dwell_s = self._policy.spec.selection.minimum_dwell_seconds
        return dwell_s - (self._now - assignment.assigned_at).total_seconds()

    def _promise(self, trial: tuple[Explorer, Candidate]) -> tuple[float, str, NodeName]:
        return (-(trial[1].qoe + trial[1].qoe_sigma), *self._draw(*trial))

    def _draw(self, explorer: Explorer, tried: Candidate) -> tuple[str, NodeName]:
        policy, name = self._policy, explorer.node.name
        lot = f"{policy.key} {name} {tried.variant.name} {policy.decided_from}"
        return hashlib.sha256(lot.encode()).hexdigest(), name


def _is_settled(policy: Policy, explorer: Explorer) -> bool:
    """Return whether the node serves what it should and has nothing else to do."""
    assignment, report = explorer.node.assignment(policy.key), explorer.node.report(policy.key)
    chosen = explorer.choice.chosen
    if assignment is None or report is None or chosen is None:
        return False
    wanted = (chosen.variant.name, chosen.variant.sha256)
    ready = report.phase is ModelPhase.READY
    return ready and (assignment.variant, assignment.sha256) == wanted == (report.variant, report.sha256)


def _best(choice: Choice, tried: Candidate) -> Candidate:
    """Return the best feasible candidate, the tried one where nothing else is feasible."""
    feasible = (each for each in choice.candidates.values() if not each.infeasible_because)
    return max(feasible, key=lambda each: each.qoe, default=tried)


def _trial(policy: Policy, explorer: Explorer, tried: Candidate) -> Choice:
    """Return the choice of a node that tries a variant."""
    others = [each for each in explorer.choice.candidates.values() if each is not tried]
    best = _best(replace(explorer.choice, candidates={each.variant.name: each for each in others}), tried)
    reason = explanation.exploring_sentence(
        policy.spec.qoe, policy.spec.selection.exploration, tried, best
    ) + explanation.notes(policy, tried)
    return replace(
        explorer.choice, chosen=tried, runner_up=best, reason=reason, recheck_s=None, exploring=True
    )
