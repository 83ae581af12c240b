"""Telemetry: coarse, written rarely, except for what must be known at once; and the metrics of the node."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from fleetfit_api.model_status import Measured, MeasurementSource, ModelPhase, ModelStatus
from fleetfit_api.node_inference import NodeInferenceStatus
from fleetfit_api.node_telemetry import NodeTelemetry
from fleetfit_runtime.agent.node_watch import NodeWatch
from fleetfit_runtime.agent.status import damp_measured, damp_telemetry
from fleetfit_runtime.probe.battery import Battery
from fleetfit_runtime.probe.cgroup import CgroupFacts
from fleetfit_runtime.probe.coarse import Digits, Steps
from fleetfit_runtime.probe.load import Load
from fleetfit_runtime.probe.node_facts import SoftwareFacts, TelemetryReport
from fleetfit_runtime.probe.node_probe import NodeReading
from fleetfit_runtime.probe.power_track import Power
from fleetfit_runtime.probe.thermal import Temperature
from fleetfit_runtime.telemetry.node_metrics import NodeCollector
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

READING = NodeReading(
    governor="schedutil",
    driver_version="tegra R36.4.3",
    throttled=True,
    load=Load(0.62, 0.4),
    gpu_load=0.437,
    temperature=Temperature(61.4, "thermal_zone"),
    power=Power(5.123, "ina3221"),
    battery=Battery(63, True, 13.0),
    energy_joules={"ina3221": 700.0, "battery": 3.5},
    hidden_meters=("rapl",),
)


def report(root: Path) -> TelemetryReport:
    return TelemetryReport(
        CgroupFacts(root, lambda: 4), SoftwareFacts("1", "1.32.0", ("CPUExecutionProvider",))
    )


def test_telemetry_is_coarse(tmp_path: Path) -> None:
    told = report(tmp_path).telemetry(READING, 3 << 30)
    assert told == NodeTelemetry(
        runtime_version="1",
        onnxruntime_version="1.32.0",
        available_providers=["CPUExecutionProvider"],
        cpu_count=4,
        store_free_bytes=3 << 30,
        governor="schedutil",
        driver_version="tegra R36.4.3",
        cpu_load=0.5,
        gpu_load=0.5,
        throttled=True,
        temperature_celsius=60,
        power_watts=5.1,
        power_method="ina3221",
        battery_percent=65,
        on_battery=True,
    )


def test_what_is_unknown_stays_unknown(tmp_path: Path) -> None:
    told = report(tmp_path).telemetry(NodeReading(), 0)
    assert (told.temperature_celsius, told.power_watts, told.battery_percent) == (None, None, None)
    assert (told.cpu_load, told.power_method, told.on_battery) == (0, "", False)


def test_power_of_inference_comes_before_that_of_an_idle_node(tmp_path: Path) -> None:
    told = report(tmp_path).telemetry(replace(READING, inference_power=Power(14.32, "ina3221")), 0)
    assert told.power_watts == 14


@given(
    start=st.floats(0, 100),
    wobble=st.lists(st.floats(-1, 1), max_size=50),
    step=st.sampled_from([0.25, 5.0]),
)
def test_a_value_that_wobbles_within_a_quarter_of_a_step_is_shown_once(
    start: float, wobble: list[float], step: float
) -> None:
    steps = Steps(step)
    steps.take(start)
    shown = {steps.take(start + 0.24 * step * each) for each in wobble}
    assert len(shown) <= 1


@given(st.lists(st.floats(0, 1000), min_size=1))
def test_what_is_shown_is_near(values: list[float]) -> None:
    steps, digits = Steps(5), Digits(0.25)
    for value in values:
        shown, power = steps.take(value), digits.take(value)
        assert shown is not None
        assert power is not None
        assert abs(shown - value) <= 3.75 + 1e-6
        assert abs(power - value) <= max(0.11 * value, 0.3) + 0.05 * value


def status(**telemetry: object) -> NodeInferenceStatus:
    return NodeInferenceStatus(telemetry=NodeTelemetry.model_validate({"governor": "schedutil", **telemetry}))


@pytest.mark.parametrize(
    ("new", "may_move", "written"),
    [
        (status(temperature_celsius=60), False, False),
        (status(temperature_celsius=60), True, True),
        (status(cpu_load=0.5, power_watts=7, battery_percent=50, gpu_load=0.5), False, False),
        (status(throttled=True, temperature_celsius=60), False, True),
        (status(on_battery=True), False, True),
        (status(governor="powersave"), False, True),
        (status(driver_version="nvidia 560"), False, True),
        (status(store_free_bytes=1 << 30), False, True),
    ],
    ids=["warm", "warm-later", "wandering", "throttled", "battery", "governor", "driver", "disk"],
)
def test_wandering_figures_wait_and_flips_do_not(
    new: NodeInferenceStatus, may_move: bool, written: bool
) -> None:
    before = status(temperature_celsius=50)
    damped = damp_telemetry(new, before, may_move=may_move)
    assert (damped != before) is written
    assert not written or damped == new


def live(**over: object) -> NodeInferenceStatus:
    measured = Measured.model_validate(
        {
            "latency_p50_seconds": 1.0,
            "latency_p95_seconds": 1.0,
            "samples": 100,
            "source": MeasurementSource.LIVE,
            **over,
        }
    )
    model = ModelStatus(namespace="d", deployment="m", variant="a", phase=ModelPhase.READY, measured=measured)
    return NodeInferenceStatus(models=[model])


@pytest.mark.parametrize(
    ("new", "may_move", "written"),
    [
        (live(throttled=True), False, True),
        (live(cpu_load=0.5), False, False),
        (live(cpu_load=0.5), True, True),
    ],
)
def test_figures_are_written_again_when_their_conditions_change(
    new: NodeInferenceStatus, may_move: bool, written: bool
) -> None:
    assert (damp_measured(new, live(), may_move=may_move) != live()) is written


async def test_a_flip_wakes_the_reporter_and_warmth_does_not() -> None:
    calm = replace(READING, throttled=False)
    readings = [calm, replace(calm, temperature=Temperature(90.0, "thermal_zone")), READING]
    changed = asyncio.Event()
    watch = NodeWatch(lambda: readings.pop(0), changed.set)
    woken = []
    for _ in range(3):
        changed.clear()
        await watch.look()
        woken.append(changed.is_set())
    assert woken == [True, False, True]
    assert watch.reading is READING


def test_the_metrics_of_the_node() -> None:
    registry = CollectorRegistry()
    registry.register(NodeCollector(lambda: READING))
    lines = set(generate_latest(registry).decode().splitlines())
    assert lines >= {
        'fleetfit_runtime_node_temperature_celsius{method="thermal_zone"} 61.4',
        'fleetfit_runtime_node_power_watts{method="ina3221"} 5.123',
        'fleetfit_runtime_node_energy_joules_total{method="ina3221"} 700.0',
        'fleetfit_runtime_node_energy_joules_total{method="battery"} 3.5',
        'fleetfit_runtime_node_power_meter_hidden{method="rapl"} 1.0',
        "fleetfit_runtime_node_throttled 1.0",
        "fleetfit_runtime_node_cpu_load_ratio 0.62",
        "fleetfit_runtime_node_cpu_others_load_ratio 0.4",
        "fleetfit_runtime_node_gpu_load_ratio 0.437",
        "fleetfit_runtime_node_battery_ratio 0.63",
        "fleetfit_runtime_node_on_battery 1.0",
    }


def test_unknown_facts_have_no_sample() -> None:
    registry = CollectorRegistry()
    registry.register(NodeCollector(NodeReading))
    samples = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    assert samples == ["fleetfit_runtime_node_throttled 0.0"]
