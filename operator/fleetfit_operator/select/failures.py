"""Remembers what failed on a node for good, so that it is not tried again and again.

A node reports only on the variant that it is assigned. Once it has been given another one, its report no longer tells
that the first failed; the memory is therefore kept in the assignment itself, which is in the API like all state.

A failure is forgotten when the file changes (another digest), when the variant leaves the suite, and when the user
edits the suite, qoe or selection: an edit is a fresh decision.

An operator that the runtime of one node does not have is missing on all nodes with that runtime: a file that failed so
on one node of a class is avoided in the class, unless another node of it has run the file.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from fleetfit_api.model_status import ModelPhase, ModelStatus
from fleetfit_api.node_inference import Assignment, FailedVariant
from fleetfit_api.reasons import Reason

from fleetfit_operator.fleet.measurements import known_measurements
from fleetfit_operator.fleet.progress import Target
from fleetfit_operator.fleet.snapshot import FleetNode
from fleetfit_operator.select.policy import Policy

PERMANENT_REASONS: Final = frozenset(
    {
        Reason.CORRUPT_MODEL,
        Reason.UNSUPPORTED_OPERATOR,
        Reason.INSUFFICIENT_MEMORY,
        Reason.MODEL_CRASHED,
        Reason.MODEL_HANGS,
    }
)
"""Reasons that trying the same file again on the same node does not cure."""


def failed_variants(policy: Policy, node: FleetNode) -> tuple[FailedVariant, ...]:
    """Return what failed on the node for good, from its report and from memory, sorted by name."""
    assignment = node.assignment(policy.key)
    if assignment is None:
        return ()
    edited = assignment.decided_from != policy.decided_from
    failures = {} if edited else {failed.variant: failed for failed in assignment.failed_variants}
    reported = _reported_failure(assignment, node.report(policy.key))
    if reported is not None:
        failures[reported.variant] = reported
    return tuple(failed for _, failed in sorted(failures.items()) if _is_in_suite(policy, failed))


def failed_targets(policy: Policy, node: FleetNode) -> frozenset[Target]:
    """Return what failed there for good as a rollout sees it; what was merely too slow to come may come yet."""
    return frozenset(
        Target(failed.variant, failed.sha256)
        for failed in failed_variants(policy, node)
        if failed.reason != Reason.NOT_MEASURED_IN_TIME
    )


def with_class_failures(policy: Policy, nodes: Iterable[FleetNode]) -> Policy:
    """Return the policy with what the nodes have shown not to run on their hardware class."""
    unsupported: set[tuple[str, str, str]] = set()
    run: set[tuple[str, str, str]] = set()
    for node in nodes:
        unsupported.update(
            (node.class_name, failed.variant, failed.sha256)
            for failed in failed_variants(policy, node)
            if failed.reason == Reason.UNSUPPORTED_OPERATOR
        )
        run.update(
            (node.class_name, each.variant, each.sha256)
            for each in known_measurements(node, policy.key, policy.suite.variants)
        )
        report = node.report(policy.key)
        if report is not None and report.phase is ModelPhase.READY:
            run.add((node.class_name, report.variant, report.sha256))
    return replace(policy, unsupported=frozenset(unsupported - run))


def _reported_failure(assignment: Assignment, report: ModelStatus | None) -> FailedVariant | None:
    if report is None or report.phase is not ModelPhase.FAILED or report.reason not in PERMANENT_REASONS:
        return None
    if (report.variant, report.sha256) != (assignment.variant, assignment.sha256):
        return None  # a report on something that the node has meanwhile been told to leave
    return FailedVariant(variant=report.variant, sha256=report.sha256, reason=report.reason)


def _is_in_suite(policy: Policy, failed: FailedVariant) -> bool:
    variant = policy.variant(failed.variant)
    return variant is not None and variant.sha256 == failed.sha256
