"""What a node has timed of a deployment's variants, from its report and from memory.

Only what the runtime timed itself, back to back, counts: it is taken as the reference run is, so it compares with
predictions and between variants. Latencies of requests hang on the load, and they exist for the serving variant alone;
a choice by them would always hold the variant in service against untried others.

A node reports on what it serves now. What it timed of a variant that it has left is kept in the assignment, which is in
the API like all state; without this memory a wrong prediction would be believed again, and the node would swap for
ever.
"""

from collections.abc import Iterable

from fleetfit_api.node_inference import MeasuredVariant, ModelPhase, ModelStatus
from fleetfit_api.suite import Variant

from fleetfit_operator.fleet.snapshot import DeploymentKey, FleetNode


def known_measurements(
    node: FleetNode, key: DeploymentKey, variants: Iterable[Variant]
) -> tuple[MeasuredVariant, ...]:
    """Return what is known of the variants, sorted by name; a file with another digest is another variant."""
    assignment, report = node.assignment(key), node.report(key)
    known = {each.variant: each for each in (assignment.measured_variants if assignment else [])}
    reported = _reported(report) if report else None
    if reported is not None:
        known[reported.variant] = reported
    digests = {variant.name: variant.sha256 for variant in variants}
    return tuple(each for name, each in sorted(known.items()) if digests.get(name) == each.sha256)


def _reported(report: ModelStatus) -> MeasuredVariant | None:
    """Return what was timed of the serving variant, where the report tells which file that is."""
    is_served = report.phase is ModelPhase.READY and report.serving_variant == report.variant
    if not is_served or report.warm_up is None or not report.sha256:
        return None
    return MeasuredVariant(
        variant=report.variant,
        sha256=report.sha256,
        latency_p95_seconds=report.warm_up.latency_p95_seconds,
        samples=report.warm_up.samples,
    )
