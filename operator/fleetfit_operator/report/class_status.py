"""The status of a HardwareClass."""

from collections.abc import Iterator
from datetime import datetime

from fleetfit_api import HardwareClass
from fleetfit_api.base import ConditionStatus
from fleetfit_api.hardware_class import HardwareClassSpec, HardwareClassStatus
from fleetfit_api.quantity import parse_quantity
from fleetfit_api.reasons import ConditionType, Reason

from fleetfit_operator.report.conditions import Finding, conditions_of
from fleetfit_operator.rollout.messages import counted


def class_status(
    hardware_class: HardwareClass, nodes: int, ready_nodes: int, now: datetime
) -> HardwareClassStatus:
    """Return the status.

    Args:
        hardware_class: The class, with the status that it has now.
        nodes: Nodes in the class.
        ready_nodes: Nodes of them whose runtime reports.
        now: The time, UTC.
    """
    generation = hardware_class.metadata.generation
    finding = _finding(hardware_class.spec, nodes, ready_nodes)
    return HardwareClassStatus(
        observed_generation=generation,
        nodes=nodes,
        ready_nodes=ready_nodes,
        conditions=conditions_of(
            [(ConditionType.READY, finding)], hardware_class.status.conditions, generation, now
        ),
    )


def _finding(spec: HardwareClassSpec, nodes: int, ready_nodes: int) -> Finding:
    for place, quantity in _quantities(spec):
        try:
            parse_quantity(quantity)
        except ValueError as error:
            return Finding(Reason.INVALID_SPEC, f"{place}: {error}")
    if ready_nodes < nodes:
        silent = f"{nodes - ready_nodes} of {counted(nodes, 'node')}"
        message = f"the runtime of {silent} does not report; look at its pods"
        return Finding(Reason.AWAITING_RUNTIME, message)
    return Finding(Reason.ACCEPTED, f"{counted(nodes, 'node')} in the class", ConditionStatus.TRUE)


def _quantities(spec: HardwareClassSpec) -> Iterator[tuple[str, int | str]]:
    for term in spec.match:
        for bound in term.capacity:
            yield f"spec.match capacity {bound.resource}", bound.at_least
    for kind, amounts in (
        ("requests", spec.runtime.resources.requests),
        ("limits", spec.runtime.resources.limits),
    ):
        for resource, amount in amounts.items():
            yield f"spec.runtime.resources.{kind}.{resource}", amount
