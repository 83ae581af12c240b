"""Metrics of the node itself, as it was last looked at; what is unknown has no sample."""

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fleetfit_runtime.probe.node_probe import NodeReading
from fleetfit_runtime.probe.power_track import Power

NODE_TEMPERATURE: Final = "fleetfit_runtime_node_temperature_celsius"
NODE_POWER: Final = "fleetfit_runtime_node_power_watts"
NODE_INFERENCE_POWER: Final = "fleetfit_runtime_node_inference_power_watts"
NODE_ENERGY: Final = "fleetfit_runtime_node_energy_joules"
NODE_HIDDEN_METER: Final = "fleetfit_runtime_node_power_meter_hidden"
NODE_THROTTLED: Final = "fleetfit_runtime_node_throttled"
NODE_LOAD: Final = "fleetfit_runtime_node_cpu_load_ratio"
NODE_OTHERS_LOAD: Final = "fleetfit_runtime_node_cpu_others_load_ratio"
NODE_GPU_LOAD: Final = "fleetfit_runtime_node_gpu_load_ratio"
NODE_BATTERY: Final = "fleetfit_runtime_node_battery_ratio"
NODE_ON_BATTERY: Final = "fleetfit_runtime_node_on_battery"


class NodeCollector(Collector):
    """Turns the state of the node into metrics.

    Args:
        reading: the state as it was last seen.
    """

    def __init__(self, reading: Callable[[], NodeReading]) -> None:
        self._reading = reading

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        reading = self._reading()
        load, battery = reading.load, reading.battery
        percent = None if battery is None else battery.percent
        heat = reading.temperature
        yield _with_method(
            NODE_TEMPERATURE,
            "Temperature of the hottest zone.",
            heat.celsius if heat else None,
            heat.method if heat else "",
        )
        yield _gauge(NODE_THROTTLED, "1 when heat or power slows the processor.", float(reading.throttled))
        yield _gauge(NODE_LOAD, "Load of the processors, 1 when all are busy.", load.total if load else None)
        yield _gauge(
            NODE_OTHERS_LOAD, "Load of the processors by all but the runtime.", load.others if load else None
        )
        yield _gauge(NODE_GPU_LOAD, "Load of the GPU, 1 when it is busy.", reading.gpu_load)
        yield _gauge(
            NODE_BATTERY, "Charge of the battery, 1 when full.", None if percent is None else percent / 100
        )
        on_battery = None if battery is None else float(battery.in_use)
        yield _gauge(NODE_ON_BATTERY, "1 when the node runs from its battery.", on_battery)
        yield from _power_metrics(reading)


def _power_metrics(reading: NodeReading) -> Iterator[Metric]:
    yield _power(NODE_POWER, "Power of the node, mean of half a minute.", reading.power)
    yield _power(
        NODE_INFERENCE_POWER, "Power of the node while it last timed inferences.", reading.inference_power
    )
    energy = CounterMetricFamily(
        NODE_ENERGY,
        "Energy of the node since the runtime began, while its power was known.",
        labels=["method"],
    )
    for method, joules in reading.energy_joules.items():
        energy.add_metric([method], joules)
    yield energy
    hidden = GaugeMetricFamily(
        NODE_HIDDEN_METER, "1 for a meter that the runtime may not read.", labels=["method"]
    )
    for method in reading.hidden_meters:
        hidden.add_metric([method], 1.0)
    yield hidden


def _gauge(name: str, text: str, value: float | None) -> Metric:
    metric = GaugeMetricFamily(name, text)
    if value is not None:
        metric.add_metric([], value)
    return metric


def _power(name: str, text: str, power: Power | None) -> Metric:
    return _with_method(name, text, power.watts if power else None, power.method if power else "")


def _with_method(name: str, text: str, value: float | None, method: str) -> Metric:
    metric = GaugeMetricFamily(name, text, labels=["method"])
    if value is not None:
        metric.add_metric([method], value)
    return metric
