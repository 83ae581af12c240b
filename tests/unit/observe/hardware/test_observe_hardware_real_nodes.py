"""Real nodes give the facts that are true of them, and the chart's rules sort them into the class that fits."""

from pathlib import Path

import pytest
import yaml
from fleetfit_api import HardwareClass
from fleetfit_api.names import NodeName
from fleetfit_api.node_inference import NodeHardware
from fleetfit_operator.fleet.snapshot import Node
from fleetfit_operator.observe.classification import classify
from fleetfit_operator.observe.hardware import node_hardware

from tests.unit.observe.hardware.label_sets import REAL_NODES, RealNode

CLASS_FILES = Path(__file__).parents[4] / "charts/fleetfit/files/hardware-classes"


@pytest.fixture(scope="module")
def shipped() -> list[HardwareClass]:
    return [
        HardwareClass.model_validate(yaml.safe_load(path.read_text())) for path in CLASS_FILES.glob("*.yaml")
    ]


def node(real: RealNode) -> Node:
    return Node(NodeName("n"), real.label_map(), {key: float(value) for key, value in real.capacity.items()})


@pytest.mark.parametrize("real", REAL_NODES, ids=[each.name for each in REAL_NODES])
def test_the_facts_of_a_real_node(real: RealNode) -> None:
    assert node_hardware(node(real)) == NodeHardware(**real.facts)


@pytest.mark.parametrize("real", REAL_NODES, ids=[each.name for each in REAL_NODES])
def test_the_class_of_a_real_node(shipped: list[HardwareClass], real: RealNode) -> None:
    found = classify(node(real), shipped)
    assert found is not None
    assert found.metadata.name == real.hardware_class
