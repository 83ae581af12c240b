"""What a node has timed of a deployment's variants, from its report and from memory.

Only what the runtime timed itself, back to back, counts: it is taken as the reference run is, so it compares with
predictions and between variants. Latencies of requests hang on the load, and they exist for the serving variant alone;
a choice by them would always hold the variant in service against untried others.

A node reports on what it serves now. What it timed of a variant that it has left is kept in the assignment, which is in
the API like all state; without this memory a wrong prediction would be believed again, and the node would swap for
ever. `timing_memory` says how one timing after the other is remembered.
"""

import hashlib
from collections.abc import Iterable

from fleetfit_api.model_status import Measured, ModelPhase, ModelStatus
from fleetfit_api.node_inference import MeasuredVariant
from fleetfit_api.node_telemetry import NodeTelemetry, ReferenceRun
from fleetfit_api.suite import Variant

from fleetfit_operator.fleet.node_condition import timed_under
from fleetfit_operator.fleet.snapshot import DeploymentKey, FleetNode
from fleetfit_operator.fleet.timing_memory import Timing, is_known, remember

_DIGEST_CHARACTERS = 16


def known_measurements(
    node: FleetNode, key: DeploymentKey, variants: Iterable[Variant]
) -> tuple[MeasuredVariant, ...]:
    """Return what is known of the variants, sorted by name; a file with another digest is another variant.

    What is remembered already comes back as the same objects, so comparing two passes costs next to nothing.
    """
    assignment, report = node.assignment(key), node.report(key)
    known = {each.variant: each for each in (assignment.measured_variants if assignment else [])}
    timed = _timed(report)
    if report is not None and timed is not None:
        memory = known.get(report.variant)
        same_file = memory if memory is not None and memory.sha256 == report.sha256 else None
        known[report.variant] = _folded(node, report, timed, same_file)
    if not known:
        return ()
    digests = {variant.name: variant.sha256 for variant in variants}
    return tuple(each for name, each in sorted(known.items()) if digests.get(name) == each.sha256)


def reference_run_digest(run: ReferenceRun | None) -> str:
    """Return a short digest of a reference run: another one means that the node was timed anew; empty without one.

    Defaults are left out, so that an API with new fields does not take every run for a new one.
    """
    if run is None:
        return ""
    return hashlib.sha256(run.model_dump_json(exclude_defaults=True).encode()).hexdigest()[
        :_DIGEST_CHARACTERS
    ]


def _timed(report: ModelStatus | None) -> Measured | None:
    """Return what the runtime timed of the serving variant, where the report tells which file that is."""
    if report is None or report.warm_up is None or not report.sha256:
        return None
    is_served = report.phase is ModelPhase.READY and report.serving_variant == report.variant
    has_figures = report.warm_up.samples > 0 and report.warm_up.latency_p95_seconds > 0
    return report.warm_up if is_served and has_figures else None


def _folded(
    node: FleetNode, report: ModelStatus, timed: Measured, memory: MeasuredVariant | None
) -> MeasuredVariant:
    if memory is not None and is_known(memory, timed.latency_p95_seconds):
        return memory
    run = node.reference_run()
    telemetry = node.inference.status.telemetry if node.inference else NodeTelemetry()
    condition = timed_under(timed, telemetry, run_was_throttled=run is not None and run.throttled)
    return remember(
        memory,
        Timing(
            variant=report.variant,
            sha256=report.sha256,
            latency_p50_s=timed.latency_p50_seconds,
            latency_p95_s=timed.latency_p95_seconds,
            samples=timed.samples,
            memory_bytes=report.memory_bytes,
            disturbed=condition is not None,
            reference_run=reference_run_digest(run),
            node_spread=run.spread if run else 0.0,
        ),
    )
