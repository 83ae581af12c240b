"""The status of an InferenceDeployment: counts, variants, classes, conditions."""

from collections import Counter

from fleetfit_api.deployment import InferenceDeploymentStatus, NodeCounts, VariantStatus
from fleetfit_api.model_status import ModelPhase
from fleetfit_api.names import RUNTIME_HTTP_PORT, RUNTIME_SERVICE_NAME
from fleetfit_api.reasons import ConditionType

from fleetfit_operator.report.conditions import conditions_of
from fleetfit_operator.report.deployment_findings import (
    degraded_finding,
    progressing_finding,
    ready_finding,
)
from fleetfit_operator.report.prediction_drift import with_drifting_variants
from fleetfit_operator.report.view import DeploymentView
from fleetfit_operator.rollout.standing import serves_something

_MOST_VARIANTS = 64
_MOST_CLASSES = 256


def deployment_status(view: DeploymentView) -> InferenceDeploymentStatus:
    """Return the status; equal to the one before when nothing has changed."""
    deployment = view.deployment
    counts = _counts(view)
    findings = (
        (ConditionType.READY, ready_finding(view)),
        (ConditionType.PROGRESSING, progressing_finding(view)),
        (ConditionType.DEGRADED, degraded_finding(view)),
    )
    return InferenceDeploymentStatus(
        observed_generation=deployment.metadata.generation,
        model_name=deployment.model_name,
        url=_url(view),
        ready_summary=f"{counts.ready}/{counts.matched}",
        variants_summary=_variants_summary(view),
        nodes=counts,
        variants=_variants(view),
        classes=with_drifting_variants(view, view.plan.classes[:_MOST_CLASSES]),
        conditions=conditions_of(
            findings, deployment.status.conditions, deployment.metadata.generation, view.now
        ),
    )


def _counts(view: DeploymentView) -> NodeCounts:
    classes = view.plan.classes
    return NodeCounts(
        matched=view.matched,
        assigned=sum(node.assigned is not None for node in view.nodes),
        updated=sum(each.updated for each in classes),
        ready=sum(each.ready for each in classes),
        serving=sum(serves_something(node) for node in view.present),
        failed=sum(each.failed for each in classes),
        absent=sum(each.absent for each in classes),
    )


def _url(view: DeploymentView) -> str:
    host = f"{RUNTIME_SERVICE_NAME}.{view.service_namespace}.svc:{RUNTIME_HTTP_PORT}"
    return f"http://{host}/v2/models/{view.deployment.model_name}"


def _variants_summary(view: DeploymentView) -> str:
    """Return the variants that answer requests, most frequent first."""
    served = Counter(_serving(view))
    ordered = sorted(served.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} ({count})" for name, count in ordered)


def _variants(view: DeploymentView) -> list[VariantStatus]:
    assigned = Counter(node.assigned.variant for node in view.nodes if node.assigned is not None)
    ready = Counter(_serving(view))
    names = sorted(assigned.keys() | ready.keys())[:_MOST_VARIANTS]
    return [VariantStatus(name=name, assigned=assigned[name], ready=ready[name]) for name in names]


def _serving(view: DeploymentView) -> list[str]:
    """Return the variant that answers requests, for each present node that has one."""
    reports = [node.report for node in view.present if node.report is not None and serves_something(node)]
    return [
        report.serving_variant or report.variant
        for report in reports
        if report.serving_variant or report.phase is ModelPhase.READY
    ]
