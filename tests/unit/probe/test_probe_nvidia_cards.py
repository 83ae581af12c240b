"""NVIDIA's cards by a stand-in for their library, which answers as the real one does, in milliwatt and millijoule."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fleetfit_runtime.probe.node_probe import NodeProbe
from fleetfit_runtime.probe.nvidia_cards import CardsReading, NvidiaCards, find_nvidia_cards
from fleetfit_runtime.probe.power_reading import PowerReading
from fleetfit_runtime.probe.thermal import Temperature

from tests.unit.probe.kernel_trees import ORIN_NANO, SERVER, write_tree


class NvmlError(Exception):
    """The library's error."""


def library(**cards: list[float | None]) -> Any:
    """Return a library whose cards answer the questions so; None stands for "not supported"."""

    def answers(question: str) -> Callable[[int], float]:
        def answer(handle: int) -> float:
            value = cards.get(question, [None] * 8)[handle]
            if value is None:
                raise NvmlError("Not Supported")
            return value

        return answer

    def temperature(handle: int, sensor: int) -> float:
        assert sensor == 0
        return answers("celsius")(handle)

    return SimpleNamespace(
        NVMLError=NvmlError,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: len(next(iter(cards.values()), [])),
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetTotalEnergyConsumption=answers("energy_mj"),
        nvmlDeviceGetPowerUsage=answers("power_mw"),
        nvmlDeviceGetTemperature=temperature,
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(
            gpu=answers("percent")(handle), memory=0
        ),
    )


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        (
            {"energy_mj": [1000, 5], "power_mw": [70_000, 1], "celsius": [41, 62], "percent": [3, 97]},
            CardsReading(PowerReading("nvml", None, {"nvml:0": 1_000_000, "nvml:1": 5000}), 62, 0.97),
        ),
        (
            {"energy_mj": [1000, None], "power_mw": [70_500, 29_500], "celsius": [41, None]},
            CardsReading(PowerReading("nvml", 100.0), 41),
        ),
        ({"power_mw": [70_500, None]}, CardsReading()),
        ({"percent": [None]}, CardsReading()),
    ],
    ids=["counters", "a-card-without-a-counter", "a-card-without-power", "jetson"],
)
def test_cards(cards: dict[str, list[float | None]], expected: CardsReading) -> None:
    made = library(**cards)
    assert NvidiaCards(made, made.nvmlDeviceGetCount()).read() == expected


def failing(error: Exception) -> Any:
    made = library(power_mw=[1])

    def fail() -> None:
        raise error

    made.nvmlInit = fail
    return made


def no_module(_name: str) -> Any:
    raise ImportError


def test_nothing_is_loaded_without_the_driver(tmp_path: Path) -> None:
    assert find_nvidia_cards(write_tree(tmp_path, ORIN_NANO), lambda _name: 1 / 0) is None


@pytest.mark.parametrize(
    "load",
    [no_module, lambda _name: failing(NvmlError("Driver/library version mismatch")), lambda _name: library()],
    ids=["not-installed", "mismatch", "no-card"],
)
def test_a_driver_without_telemetry_is_no_end(tmp_path: Path, load: Callable[[str], Any]) -> None:
    assert find_nvidia_cards(write_tree(tmp_path, SERVER), load) is None


def test_the_node_counts_its_cards_besides_its_processors(tmp_path: Path) -> None:
    root = write_tree(tmp_path, SERVER)
    answers: dict[str, list[float | None]] = {"energy_mj": [0], "celsius": [83], "percent": [50]}
    now_s = [0.0]
    probe = NodeProbe(
        root, lambda: now_s[0], lambda root: find_nvidia_cards(root, lambda _name: library(**answers))
    )
    probe.read()
    answers["energy_mj"][0] = 120_000
    now_s[0] = 2.0
    base = "sys/class/powercap/intel-rapl"
    write_tree(tmp_path, {f"{base}:0/energy_uj": "41000000"})
    reading = probe.read()
    assert reading.power is not None
    assert (reading.power.method, reading.power.watts) == ("rapl+nvml", pytest.approx(80.0))
    assert reading.energy_joules == {"rapl+nvml": pytest.approx(160.0)}
    assert (reading.temperature, reading.gpu_load) == (Temperature(83, "nvml"), 0.5)
