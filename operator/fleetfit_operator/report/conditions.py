"""Conditions as Kubernetes understands them: written on change only, with the time of the last flip kept."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from fleetfit_api.base import Condition, ConditionStatus
from fleetfit_api.reasons import ConditionType, Reason

_MESSAGE_CHARACTERS = 4096


@dataclass(frozen=True, slots=True)
class Finding:
    """What is to be said by a condition.

    Attributes:
        reason: Why, one word.
        message: Why and what to do, a sentence.
        status: Status of the condition.
    """

    reason: Reason
    message: str
    status: ConditionStatus = ConditionStatus.FALSE


def conditions_of(
    findings: Iterable[tuple[ConditionType, Finding]],
    previous: Sequence[Condition],
    generation: int,
    now: datetime,
) -> list[Condition]:
    """Return the conditions; a condition whose status has not changed keeps its time."""
    since = {condition.type: condition for condition in previous}
    conditions = []
    for kind, finding in findings:
        old = since.get(kind)
        kept = old is not None and old.status is finding.status
        conditions.append(
            Condition(
                type=kind,
                status=finding.status,
                reason=finding.reason,
                message=finding.message[:_MESSAGE_CHARACTERS],
                last_transition_time=old.last_transition_time if old is not None and kept else _whole(now),
                observed_generation=generation,
            )
        )
    return conditions


def _whole(time: datetime) -> datetime:
    """Return the time in whole seconds, as metav1.Time stores it: else what is read back would differ."""
    return time.replace(microsecond=0)
