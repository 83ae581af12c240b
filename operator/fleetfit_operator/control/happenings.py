"""Which changes of a status, and which refusals, users want to read as events. Pure.

One event per change of a condition's reason, not per node: at ten thousand nodes a wave is one sentence.
"""

from collections.abc import Iterable, Mapping

from fleetfit_api import HardwareClass
from fleetfit_api.base import Condition, ConditionStatus, Resource
from fleetfit_api.reasons import ConditionType, Reason
from fleetfit_kube.errors import BadRequest, Invalid

from fleetfit_operator.apply.daemon_set import daemon_set_name
from fleetfit_operator.apply.events import Happening
from fleetfit_operator.apply.writes import WriteResult


def happenings_of(subject: Resource, old: Iterable[Condition], new: Iterable[Condition]) -> list[Happening]:
    """Return what has changed between two lists of conditions of an object, each reason once."""
    before = {condition.type: condition for condition in old}
    found: dict[str, Happening] = {}
    for condition in new:
        previous = before.get(condition.type)
        if previous is not None and previous.reason == condition.reason:
            continue
        if _is_first_and_fine(previous, condition):
            continue
        happening = Happening(subject, condition.reason, condition.message, _is_warning(condition))
        known = found.get(condition.reason)
        if known is None or (happening.warning and not known.warning):
            found[condition.reason] = happening
    return list(found.values())


def summary_of_moves(subject: Resource, moved: Mapping[tuple[str, str], int]) -> list[Happening]:
    """Return one sentence per hardware class and variant about nodes that were told another variant.

    Args:
        subject: The deployment.
        moved: Number of nodes by (hardware class, variant).
    """
    return [
        Happening(
            subject,
            Reason.ASSIGNED,
            f"{count} {'node' if count == 1 else 'nodes'} of class {class_name} now to run {variant}",
        )
        for (class_name, variant), count in sorted(moved.items())
    ]


def refused_classes(classes: Iterable[HardwareClass], result: WriteResult) -> list[Happening]:
    """Return what the API server said about DaemonSets that it refused: their class asks for something impossible."""
    refusals = {
        write.name: error.message
        for write, error in result.failures
        if isinstance(error, Invalid | BadRequest)
    }
    return [
        Happening(
            each, Reason.INVALID_SPEC, f"the runtime cannot run as spec.runtime says: {refusal}", warning=True
        )
        for each in classes
        if (refusal := refusals.get(daemon_set_name(each.metadata.name)))
    ]


def _is_first_and_fine(previous: Condition | None, condition: Condition) -> bool:
    """Return whether a condition appears for the first time and only says that nothing is wrong."""
    return (
        previous is None
        and condition.type == ConditionType.DEGRADED
        and condition.status is not ConditionStatus.TRUE
    )


def _is_warning(condition: Condition) -> bool:
    return condition.type == ConditionType.DEGRADED and condition.status is ConditionStatus.TRUE
