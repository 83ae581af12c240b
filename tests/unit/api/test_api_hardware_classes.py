"""The hardware classes that the chart brings are well-formed and leave no node without a class."""

from pathlib import Path

import pytest
import yaml
from fleetfit_api import HardwareClass

FILES = sorted((Path(__file__).parents[3] / "charts/fleetfit/files/hardware-classes").glob("*.yaml"))


def load(path: Path) -> HardwareClass:
    return HardwareClass.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_class_says_what_it_is_and_can_always_serve(path: Path) -> None:
    hardware_class = load(path)
    assert hardware_class.metadata.name == path.stem
    assert hardware_class.spec.description
    assert hardware_class.spec.runtime.providers[-1] == "CPUExecutionProvider"
    assert "accelerator" in hardware_class.spec.facts


def test_the_order_is_unique_and_the_last_class_takes_every_node() -> None:
    classes = sorted((load(path) for path in FILES), key=lambda c: -c.spec.priority)
    assert [c.metadata.name for c in classes] == [
        "nvidia-jetson-orin",
        "nvidia-jetson",
        "nvidia-gpu",
        "amd-gpu",
        "intel-npu-gpu",
        "x86-avx512-vnni",
        "arm64-raspberry-pi",
        "x86-cpu",
        "arm64-cpu",
        "generic-cpu",
    ]
    assert len({c.spec.priority for c in classes}) == len(classes)
    assert classes[-1].spec.match == []
    assert all(c.spec.match for c in classes[:-1])
