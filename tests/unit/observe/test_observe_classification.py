import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from fleetfit_api import HardwareClass
from fleetfit_api.base import LabelRequirement
from fleetfit_api.names import NodeName
from fleetfit_operator.fleet.snapshot import Node
from fleetfit_operator.observe.classification import classify, matches_class, matches_requirement, selects

from tests.unit.fleet_builders import GIB, deployment, hardware_class

CLASS_FILES = Path(__file__).parents[3] / "charts/fleetfit/files/hardware-classes"
NFD = "feature.node.kubernetes.io/"
AMD64 = {"kubernetes.io/arch": "amd64"}
ARM64 = {"kubernetes.io/arch": "arm64"}
AVX2 = {f"{NFD}cpu-cpuid.AVX2": "true"}
VNNI = {**AVX2, f"{NFD}cpu-cpuid.AVX512VNNI": "true"}


@pytest.fixture(scope="module")
def shipped() -> list[HardwareClass]:
    return [
        HardwareClass.model_validate(yaml.safe_load(path.read_text())) for path in CLASS_FILES.glob("*.yaml")
    ]


def gfd(product: str, major: int, minor: int) -> dict[str, str]:
    return {
        "nvidia.com/gpu.product": product,
        "nvidia.com/gpu.count": "1",
        "nvidia.com/gpu.compute.major": str(major),
        "nvidia.com/gpu.compute.minor": str(minor),
    }


REAL_NODES = [
    ("nfd pci class and vendor", {**AMD64, **VNNI, f"{NFD}pci-0302_10de.present": "true"}, {}, "nvidia-gpu"),
    ("nfd pci vga", {**AMD64, f"{NFD}pci-0300_10de.present": "true"}, {}, "nvidia-gpu"),
    ("nfd pci vendor only", {**AMD64, **AVX2, f"{NFD}pci-10de.present": "true"}, {}, "nvidia-gpu"),
    ("gfd", {**AMD64, "nvidia.com/gpu.present": "true", **gfd("NVIDIA-A2", 8, 6)}, {}, "nvidia-gpu"),
    ("device plugin only", {**AMD64, **AVX2}, {"nvidia.com/gpu": 1}, "nvidia-gpu"),
    ("device plugin withdrew its device", {**AMD64, **AVX2}, {"nvidia.com/gpu": 0}, "x86-cpu"),
    ("shared gpu", {**AMD64, **AVX2}, {"nvidia.com/gpu.shared": 4}, "nvidia-gpu"),
    (
        "grace hopper is no jetson",
        {**ARM64, **gfd("NVIDIA-GH200-480GB", 9, 0)},
        {"nvidia.com/gpu": 1},
        "nvidia-gpu",
    ),
    ("jetson orin tegra gfd", {**ARM64, **gfd("Orin", 8, 7)}, {"nvidia.com/gpu": 1}, "nvidia-jetson-orin"),
    ("jetson orin by product", {**ARM64, "nvidia.com/gpu.product": "Orin-SHARED"}, {}, "nvidia-jetson-orin"),
    (
        "jetson orin device tree",
        {**ARM64, "beta.devicetree.org/nvidia-tegra234": "1"},
        {},
        "nvidia-jetson-orin",
    ),
    (
        "jetson nano tegra gfd",
        {**ARM64, **gfd("NVIDIA-Tegra-X1", 5, 3)},
        {"nvidia.com/gpu": 1},
        "nvidia-jetson",
    ),
    ("jetson xavier", {**ARM64, **gfd("Xavier", 7, 2)}, {"nvidia.com/gpu": 1}, "nvidia-jetson"),
    ("jetson thor", {**ARM64, **gfd("NVIDIA-Thor", 11, 0)}, {"nvidia.com/gpu": 1}, "nvidia-jetson"),
    (
        "jetson nano device tree",
        {**ARM64, "beta.devicetree.org/nvidia-jetson-nano": "1", "beta.devicetree.org/nvidia-tegra210": "1"},
        {},
        "nvidia-jetson",
    ),
    ("jetson nfd cpu vendor", {**ARM64, f"{NFD}cpu-model.vendor_id": "NVIDIA"}, {}, "nvidia-jetson"),
    ("intel npu plugin", {**AMD64, **VNNI}, {"npu.intel.com/accel": 10}, "intel-npu-gpu"),
    ("intel npu pci", {**AMD64, **AVX2, f"{NFD}pci-1200_8086.present": "true"}, {}, "intel-npu-gpu"),
    ("intel gpu rule", {**AMD64, "intel.feature.node.kubernetes.io/gpu": "true"}, {}, "intel-npu-gpu"),
    ("intel i915 plugin", {**AMD64, **AVX2}, {"gpu.intel.com/i915": 1}, "intel-npu-gpu"),
    ("old integrated graphics", {**AMD64, **AVX2, f"{NFD}pci-0300_8086.present": "true"}, {}, "x86-cpu"),
    ("amd plugin", {**AMD64, **VNNI}, {"amd.com/gpu": 1}, "amd-gpu"),
    ("amd nfd rule", {**AMD64, f"{NFD}amd-gpu": "true"}, {}, "amd-gpu"),
    ("amd labeller", {**AMD64, "amd.com/gpu.family": "AI", "amd.com/gpu.vram": "192G"}, {}, "amd-gpu"),
    ("amd integrated graphics", {**AMD64, **AVX2, f"{NFD}pci-0300_1002.present": "true"}, {}, "x86-cpu"),
    ("raspberry pi 4", {**ARM64, "beta.devicetree.org/raspberrypi-4-model-b": "1"}, {}, "arm64-raspberry-pi"),
    ("raspberry pi 5 chip", {**ARM64, "beta.devicetree.org/brcm-bcm2712": "1"}, {}, "arm64-raspberry-pi"),
    ("coral dev board", {**ARM64, "beta.devicetree.org/fsl-imx8mq-phanbell": "1"}, {}, "arm64-cpu"),
    ("arm server", {**ARM64, f"{NFD}cpu-cpuid.ASIMDHP": "true"}, {}, "arm64-cpu"),
    ("x86 with vnni", {**AMD64, **VNNI}, {}, "x86-avx512-vnni"),
    ("x86 level", {**AMD64, f"{NFD}cpu-cpuid.X86_64_V3": "true"}, {}, "x86-cpu"),
    ("x86 without nfd", AMD64, {}, "generic-cpu"),
    ("risc-v", {"kubernetes.io/arch": "riscv64"}, {}, "generic-cpu"),
    ("no labels", {}, {}, "generic-cpu"),
]


@pytest.mark.parametrize(
    ("labels", "capacity", "expected"), [row[1:] for row in REAL_NODES], ids=[row[0] for row in REAL_NODES]
)
def test_real_label_sets_get_the_shipped_class(
    shipped: list[HardwareClass], labels: dict[str, str], capacity: dict[str, float], expected: str
) -> None:
    node = Node(NodeName("n"), labels, {"cpu": 4.0, "memory": 8.0 * GIB, **capacity})
    random.Random(len(labels)).shuffle(shipped)
    found = classify(node, shipped)
    assert found is not None
    assert found.metadata.name == expected


def requirement(operator: str, *values: str) -> LabelRequirement:
    return LabelRequirement.model_validate({"key": "k", "operator": operator, "values": list(values)})


@pytest.mark.parametrize(
    ("operator", "values", "label", "expected"),
    [
        ("In", ["a", "b"], "b", True),
        ("In", ["a", "b"], "c", False),
        ("In", ["a"], None, False),
        ("In", [""], "", True),
        ("NotIn", ["a"], "b", True),
        ("NotIn", ["a"], "a", False),
        ("NotIn", ["a"], None, True),
        ("Exists", [], "", True),
        ("Exists", [], None, False),
        ("DoesNotExist", [], None, True),
        ("DoesNotExist", [], "", False),
        ("Gt", ["5"], "6", True),
        ("Gt", ["5"], "5", False),
        ("Gt", ["5"], "10", True),
        ("Gt", ["-3"], "-2", True),
        ("Gt", ["5"], "six", False),
        ("Gt", ["5"], "1_0", False),
        ("Gt", ["5"], " 6", False),
        ("Gt", ["5"], "6\n", False),
        ("Gt", ["5"], "٦", False),
        ("Gt", ["5"], None, False),
        ("Gt", [], "6", False),
        ("Gt", ["1", "2"], "6", False),
        ("Gt", ["x"], "6", False),
        ("Lt", ["5"], "4", True),
        ("Lt", ["5"], "5", False),
        ("Lt", ["5"], "4.5", False),
        ("Lt", ["5"], None, False),
    ],
)
def test_labels_are_compared_as_kubernetes_does(
    operator: str, values: list[str], label: str | None, expected: bool
) -> None:
    labels = {} if label is None else {"k": label}
    assert matches_requirement(labels, requirement(operator, *values)) is expected


NODE = Node(NodeName("n"), {"zone": "a", "line": "2"}, {"memory": 4.0 * GIB, "odd": 0.0})


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ([], True),
        ([{}], False),
        ([{"labels": [{"key": "zone", "operator": "Exists"}]}], True),
        (
            [
                {"labels": [{"key": "no", "operator": "Exists"}]},
                {"labels": [{"key": "zone", "operator": "Exists"}]},
            ],
            True,
        ),
        (
            [{"labels": [{"key": "zone", "operator": "Exists"}, {"key": "no", "operator": "Exists"}]}],
            False,
        ),
        ([{"capacity": [{"resource": "memory", "atLeast": "4Gi"}]}], True),
        ([{"capacity": [{"resource": "memory", "atLeast": "4097Mi"}]}], False),
        ([{"capacity": [{"resource": "missing"}]}], False),
        ([{"capacity": [{"resource": "odd"}]}], False),
        ([{"capacity": [{"resource": "memory", "atLeast": "much"}]}], False),
        (
            [
                {
                    "labels": [{"key": "zone", "operator": "In", "values": ["a"]}],
                    "capacity": [{"resource": "memory", "atLeast": "8Gi"}],
                }
            ],
            False,
        ),
    ],
)
def test_a_class_matches_when_one_term_holds_in_full(match: list[dict[str, Any]], expected: bool) -> None:
    assert matches_class(NODE, hardware_class(match=match)) is expected


def test_priority_then_name_decides_whatever_the_order() -> None:
    classes = [
        hardware_class("b", priority=5),
        hardware_class("a", priority=5),
        hardware_class("0", priority=1),
    ]
    for order in (classes, classes[::-1]):
        found = classify(NODE, order)
        assert found is not None
        assert found.metadata.name == "a"


def test_no_class_matches() -> None:
    match = [{"labels": [{"key": "no", "operator": "Exists"}]}]
    assert classify(NODE, [hardware_class(match=match)]) is None
    assert classify(NODE, []) is None


def affinity(*keys: str) -> dict[str, Any]:
    terms = [{"matchExpressions": [{"key": key, "operator": "Exists"}]} for key in keys]
    return {"nodeSelectorTerms": terms}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, True),
        ({"nodeSelector": {"zone": "a", "line": "2"}}, True),
        ({"nodeSelector": {"zone": "a", "line": "3"}}, False),
        ({"nodeSelector": {"missing": ""}}, False),
        ({"nodeAffinity": affinity("zone")}, True),
        ({"nodeAffinity": affinity("no", "zone")}, True),
        ({"nodeAffinity": affinity("no")}, False),
        ({"nodeSelector": {"zone": "b"}, "nodeAffinity": affinity("zone")}, False),
        ({"nodeSelector": {"zone": "a"}, "nodeAffinity": affinity("no")}, False),
    ],
)
def test_a_deployment_selects_by_selector_and_affinity(spec: dict[str, Any], expected: bool) -> None:
    assert selects(deployment(**spec), NODE) is expected
