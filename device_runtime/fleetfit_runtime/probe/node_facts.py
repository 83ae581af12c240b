"""The telemetry that a runtime reports about its node, in the form of the API."""

from dataclasses import dataclass

from fleetfit_api.node_telemetry import NodeTelemetry

from fleetfit_runtime.probe.cgroup import CgroupFacts
from fleetfit_runtime.probe.coarse import Digits, Steps
from fleetfit_runtime.probe.node_probe import NodeReading

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class SoftwareFacts:
    """What does not change while a runtime runs.

    Attributes:
        runtime_version: Version of the runtime.
        onnxruntime_version: Version of ONNX Runtime.
        available_providers: Providers that this ONNX Runtime offers.
    """

    runtime_version: str
    onnxruntime_version: str
    available_providers: tuple[str, ...]


def rounded_free_bytes(free_bytes: int) -> int:
    """Return free space rounded down to whole GiB, so that a growing log file does not rewrite the status."""
    return free_bytes // _GIB * _GIB


class TelemetryReport:
    """Turns readings of the node into telemetry that changes only when something has.

    Args:
        facts: what the runtime may use.
        software: versions and providers.
    """

    def __init__(self, facts: CgroupFacts, software: SoftwareFacts) -> None:
        self._facts = facts
        self._software = software
        self._cpu_load, self._others_load, self._gpu_load = Steps(0.25), Steps(0.25), Steps(0.25)
        self._temperature_celsius, self._battery_percent = Steps(5), Steps(5)
        self._power_watts = Digits(0.25)

    def others_load(self, reading: NodeReading) -> float:
        """Return the load of the processors by everything but the runtime, coarse, 0 when unknown."""
        return self._others_load.take(reading.load.others if reading.load else None) or 0.0

    def telemetry(self, reading: NodeReading, store_free_bytes: int) -> NodeTelemetry:
        """Return what is known about the node."""
        # What inference takes, where it was measured; the power of an idle node says little about it.
        power = reading.inference_power or reading.power
        battery, heat = reading.battery, reading.temperature
        return NodeTelemetry(
            runtime_version=self._software.runtime_version,
            onnxruntime_version=self._software.onnxruntime_version,
            available_providers=list(self._software.available_providers),
            cpu_count=round(self._facts.processors(), 3),
            memory_total_bytes=self._facts.memory_bytes(),
            store_free_bytes=rounded_free_bytes(store_free_bytes),
            governor=reading.governor,
            driver_version=reading.driver_version,
            cpu_load=self._cpu_load.take(reading.load.total if reading.load else None) or 0.0,
            gpu_load=self._gpu_load.take(reading.gpu_load),
            throttled=reading.throttled,
            temperature_celsius=self._temperature_celsius.take(heat.celsius if heat else None),
            power_watts=self._power_watts.take(power.watts if power else None),
            power_method=power.method if power else "",
            battery_percent=self._battery_percent.take(battery.percent if battery else None),
            on_battery=battery is not None and battery.in_use,
        )
