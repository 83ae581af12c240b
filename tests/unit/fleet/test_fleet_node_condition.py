"""Load, heat and the battery are told apart from what a variant takes on a node."""

from typing import Any

import pytest
from fleetfit_api.model_status import Measured
from fleetfit_api.node_telemetry import NodeTelemetry
from fleetfit_operator.fleet.node_condition import Condition, conditions_now, is_queueing, timed_under

from tests.unit.fleet_builders import report


def figures(p95_s: float, source: str = "WarmUp", **over: Any) -> dict[str, Any]:
    return {"latencyP50Seconds": p95_s, "latencyP95Seconds": p95_s, "samples": 200, "source": source, **over}


def under(timing: dict[str, Any], run_was_throttled: bool = False, **telemetry: Any) -> Condition | None:
    return timed_under(
        Measured.model_validate(figures(0.1, **timing)),
        NodeTelemetry.model_validate(telemetry),
        run_was_throttled=run_was_throttled,
    )


@pytest.mark.parametrize(
    ("timing", "telemetry", "expected"),
    [
        ({}, {}, None),
        ({"throttled": True}, {}, Condition.THROTTLED),
        ({}, {"throttled": True}, Condition.THROTTLED),
        ({"cpuLoad": 0.95}, {}, Condition.BUSY),
        ({"cpuLoad": 0.5}, {}, None),
        # The node's load now includes its own requests and is no property of the timing.
        ({}, {"cpuLoad": 1.0}, None),
        ({}, {"onBattery": True, "governor": "powersave"}, Condition.ON_BATTERY),
        ({}, {"onBattery": True, "governor": "performance"}, None),
        ({}, {"governor": "powersave"}, None),
    ],
)
def test_what_disturbs_a_timing(
    timing: dict[str, Any], telemetry: dict[str, Any], expected: Condition | None
) -> None:
    assert under(timing, **telemetry) is expected


def test_a_node_that_was_throttled_in_its_reference_run_too_is_timed_as_it_is_predicted() -> None:
    assert under({"throttled": True}, run_was_throttled=True) is None


@pytest.mark.parametrize(
    ("live_s", "samples", "queueing"), [(0.3, 200, True), (0.15, 200, False), (0.3, 5, False)]
)
def test_requests_that_take_far_longer_than_the_inference_queue(
    live_s: float, samples: int, queueing: bool
) -> None:
    model = report("a", measured=figures(live_s, "Live", samples=samples), warmUp=figures(0.1))
    assert is_queueing(model) is queueing
    assert (Condition.QUEUEING in conditions_now(NodeTelemetry(), model)) is queueing


def test_without_figures_of_requests_nothing_queues() -> None:
    assert not is_queueing(report("a", measured=figures(0.3), warmUp=figures(0.1)))
    assert not is_queueing(report("a"))


def test_what_slows_a_node_now() -> None:
    telemetry = NodeTelemetry(throttled=True, cpu_load=1.0, on_battery=True, governor="powersave")
    assert conditions_now(telemetry, None) == set(Condition) - {Condition.QUEUEING}
    assert conditions_now(NodeTelemetry(cpu_load=0.5), None) == set()
