"""What makes a node slower than it is, for now: heat, other work, the battery, requests that queue.

A figure that was taken under one of these says nothing of the model that predicted it. What counts is how the node was
while it timed the variant; where the timing itself does not say, what the node reports now stands for it.
"""

from enum import StrEnum
from typing import Final

from fleetfit_api.model_status import BUSY_LOAD, Measured, ModelStatus
from fleetfit_api.node_telemetry import NodeTelemetry

# All processors busy, by the node's own requests or by others.
_FULL_LOAD: Final = 0.95
_SAVING_GOVERNORS: Final = frozenset({"powersave"})
# A request takes a little longer than the inference itself; twice as long means that it has waited for others.
_QUEUEING_RATIO: Final = 2.0
_FEWEST_REQUESTS: Final = 30


class Condition(StrEnum):
    """Something passing that slows a node."""

    THROTTLED = "Throttled"
    BUSY = "Busy"
    ON_BATTERY = "OnBattery"
    QUEUEING = "Queueing"


def timed_under(timing: Measured, telemetry: NodeTelemetry, *, run_was_throttled: bool) -> Condition | None:
    """Return what disturbed a timing of the runtime; None when it tells what the variant takes on the node.

    Args:
        timing: What the runtime measured of the variant, back to back.
        telemetry: What the node reports together with it.
        run_was_throttled: Whether the node's reference run was throttled too: predictions are then for the slowed
            processor, and a timing on it compares with them.
    """
    if (timing.throttled or telemetry.throttled) and not run_was_throttled:
        return Condition.THROTTLED
    if timing.cpu_load >= BUSY_LOAD:
        return Condition.BUSY
    return Condition.ON_BATTERY if _saves_battery(telemetry) else None


def conditions_now(telemetry: NodeTelemetry, report: ModelStatus | None) -> frozenset[Condition]:
    """Return what slows the node, or the requests of a model on it, now."""
    found = {
        Condition.THROTTLED: telemetry.throttled,
        Condition.BUSY: telemetry.cpu_load >= _FULL_LOAD,
        Condition.ON_BATTERY: _saves_battery(telemetry),
        Condition.QUEUEING: report is not None and is_queueing(report),
    }
    return frozenset(condition for condition, is_so in found.items() if is_so)


def is_queueing(report: ModelStatus) -> bool:
    """Return whether requests take far longer than what the runtime timed of the same variant, back to back.

    That is load, not a wrong prediction: the variant is what it was, its requests wait for each other.
    """
    live, timed = report.measured, report.warm_up
    if live is None or timed is None or live.source is timed.source or live.samples < _FEWEST_REQUESTS:
        return False
    return live.latency_p95_seconds > _QUEUEING_RATIO * timed.latency_p95_seconds > 0


def _saves_battery(telemetry: NodeTelemetry) -> bool:
    return telemetry.on_battery and telemetry.governor in _SAVING_GOVERNORS
