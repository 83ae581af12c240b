"""The status of a ModelSuite."""

from collections.abc import Iterable
from datetime import datetime

from fleetfit_api import ModelSuite
from fleetfit_api.base import ConditionStatus
from fleetfit_api.reasons import ConditionType, Reason
from fleetfit_api.suite import ModelSuiteSpec, ModelSuiteStatus

from fleetfit_operator.report.conditions import Finding, conditions_of
from fleetfit_operator.rollout.messages import counted

_MOST_USERS = 1024


def suite_status(suite: ModelSuite, used_by: Iterable[str], now: datetime) -> ModelSuiteStatus:
    """Return the status.

    Args:
        suite: The suite, with the status that it has now.
        used_by: Names of the deployments that use it.
        now: The time, UTC.
    """
    generation = suite.metadata.generation
    finding = _finding(suite.spec)
    return ModelSuiteStatus(
        observed_generation=generation,
        variant_count=len(suite.spec.variants),
        used_by=sorted(used_by)[:_MOST_USERS],
        conditions=conditions_of([(ConditionType.READY, finding)], suite.status.conditions, generation, now),
    )


def _finding(spec: ModelSuiteSpec) -> Finding:
    homeless = [v.name for v in spec.variants if "://" not in v.uri and not spec.storage_uri]
    if homeless:
        message = f"the uri of {', '.join(homeless)} is relative: set spec.storageUri or give a full URI"
        return Finding(Reason.INVALID_SPEC, message)
    blind = [variant.name for variant in spec.variants if variant.features is None]
    note = f"; without features, latency predicted from the size alone: {', '.join(blind)}" if blind else ""
    return Finding(Reason.ACCEPTED, f"{counted(len(spec.variants), 'variant')}{note}", ConditionStatus.TRUE)
