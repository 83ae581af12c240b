"""Providers of plugin libraries have a reference run as those of the build have: on their quickest device."""

from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest
from fleetfit_runtime.probe.reference import run_reference_set
from fleetfit_runtime.probe.reference_passes import ReferenceBudget
from fleetfit_runtime.probe.reference_timing import RoundLength

PLUGIN = "PluginExecutionProvider"
BUDGET = ReferenceBudget(RoundLength(0.001, 0.001), min_rounds=2, target_s=0.02)
RealSession = onnxruntime.InferenceSession


def device(kind: str) -> Any:
    return SimpleNamespace(ep_name=PLUGIN, device=SimpleNamespace(type=SimpleNamespace(name=kind)))


class Options(onnxruntime.SessionOptions):  # type: ignore[misc]  # ONNX Runtime has no types
    """Options that note the devices of plugins, of which this machine has none."""

    devices: tuple[Any, ...] = ()

    def add_provider_for_devices(self, devices: list[Any], _options: dict[str, str]) -> None:
        self.devices = (*self.devices, *devices)


def session_on(taken: list[str]) -> Any:
    def session(model: bytes, options: Options, providers: Any = None) -> Any:
        if providers is not None:
            return RealSession(model, options, providers=providers)
        taken.extend(each.device.type.name for each in options.devices)
        real = RealSession(model, onnxruntime.SessionOptions(), providers=["CPUExecutionProvider"])
        return SimpleNamespace(get_providers=lambda: [PLUGIN], get_inputs=real.get_inputs, run=real.run)

    return session


def test_plugin_provider_has_a_run_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    monkeypatch.setattr(onnxruntime, "get_ep_devices", lambda: [device("CPU"), device("NPU")])
    monkeypatch.setattr(onnxruntime, "SessionOptions", Options)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session_on(taken))
    runs = run_reference_set([PLUGIN, "CPUExecutionProvider"], 1, budget=BUDGET)
    assert [run.provider for run in runs] == [PLUGIN, "CPUExecutionProvider"]
    assert all(run.times for run in runs)
    assert set(taken) == {"NPU"}
