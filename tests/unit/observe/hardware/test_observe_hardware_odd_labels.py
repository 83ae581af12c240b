"""Labels that contradict each other, that are garbled or missing: the facts stay sound, whatever stands there."""

import random
from string import ascii_letters, ascii_lowercase
from typing import Any

import pytest
from fleetfit_api.names import NodeName
from fleetfit_api.node_inference import NodeHardware
from fleetfit_operator.fleet.snapshot import Node
from fleetfit_operator.observe.hardware import node_hardware
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.observe.hardware.label_sets import MIB, REAL_NODES, RealNode

NFD = "feature.node.kubernetes.io/"
GFD = {
    "nvidia.com/gpu.product": "NVIDIA-A2",
    "nvidia.com/gpu.count": "2",
    "nvidia.com/gpu.memory": "15356",
    "nvidia.com/gpu.compute.major": "8",
    "nvidia.com/gpu.compute.minor": "6",
}


def facts(labels: dict[str, str], **capacity: float) -> NodeHardware:
    return node_hardware(Node(NodeName("n"), labels, {k.replace("__", "/"): v for k, v in capacity.items()}))


@pytest.mark.parametrize(
    ("key", "value", "field", "expected"),
    [
        ("gpu.count", "two", "accelerator_count", 0),
        ("gpu.count", "-1", "accelerator_count", 0),
        ("gpu.count", "2.0", "accelerator_count", 0),
        ("gpu.count", " 2", "accelerator_count", 0),
        ("gpu.count", "٢", "accelerator_count", 0),
        ("gpu.memory", "15GiB", "accelerator_memory_bytes", 0),
        ("gpu.memory", "", "accelerator_memory_bytes", 0),
        ("gpu.memory", "9" * 18, "accelerator_memory_bytes", 0),
        ("gpu.memory", "9" * 500, "accelerator_memory_bytes", 0),
        ("gpu.compute.minor", "x", "compute_capability", ""),
        ("gpu.compute.major", "9" * 18, "compute_capability", ""),
        ("gpu.product", "", "accelerator_product", ""),
        ("gpu.product", "NVIDIA A2", "accelerator_product", ""),
        ("gpu.product", "x" * 300, "accelerator_product", ""),
    ],
)
def test_a_value_that_cannot_be_read_is_absent_and_the_rest_stays(
    key: str, value: str, field: str, expected: object
) -> None:
    present = {"nvidia.com/gpu.present": "true"}
    sound = facts({**GFD, **present})
    odd = facts({**GFD, **present, f"nvidia.com/{key}": value})
    assert odd == sound.model_copy(update={field: expected})


def test_the_vendors_labels_are_right_against_the_bus_the_board_and_the_resource() -> None:
    contradicted = facts(
        {**GFD, f"{NFD}pci-0302_10de.present": "true", "beta.devicetree.org/nvidia-tegra234": "1"},
        **{"nvidia.com__gpu": 7.0},
    )
    assert contradicted.accelerator_product == "NVIDIA-A2"
    assert contradicted.accelerator_count == 2
    assert contradicted.accelerator_memory_bytes == 15356 * MIB
    assert contradicted.compute_capability == "8.6"


def test_a_key_that_begins_with_a_slash_is_none() -> None:
    assert facts({"/accelerator": "huawei-Ascend310"}) == NodeHardware()


def test_a_card_in_a_jetson_does_not_get_the_capability_of_the_chip() -> None:
    labels = {"nvidia.com/gpu.product": "NVIDIA-A2", "beta.devicetree.org/nvidia-tegra234": "1"}
    assert facts(labels).compute_capability == ""


def test_a_chip_whose_capability_hangs_on_the_cuda_version_has_none() -> None:
    found = facts({"beta.devicetree.org/nvidia-tegra264": "1"})
    assert (found.accelerator_product, found.compute_capability) == ("Thor", "")


def test_labels_that_say_false_find_nothing() -> None:
    labels = {
        f"{NFD}pci-10de.present": "false",
        f"{NFD}pci-1200_8086.present": "",
        f"{NFD}amd-gpu": "false",
        f"{NFD}cpu-cpuid.AVX2": "false",
        "intel.feature.node.kubernetes.io/gpu": "false",
        "nvidia.com/gpu.present": "false",
        "gpu.intel.com/device-id.0300-46a6.present": "false",
        "gpu.intel.com/device-id.0300-46a6.count": "0",
    }
    assert facts(labels) == NodeHardware()


@pytest.mark.parametrize(
    "amount", [float("nan"), float("inf"), float("-inf"), -1.0, 0.0, 0.4, 1e300], ids=str
)
def test_a_capacity_that_makes_no_sense_finds_nothing(amount: float) -> None:
    found = facts({}, **{"nvidia.com__gpu": amount, "memory": amount, "amd.com__gpu": amount})
    assert found == NodeHardware()


@pytest.mark.parametrize(
    ("labels", "capacity", "vendor", "kind"),
    [
        ({f"{NFD}pci-0302_10de.present": "true"}, {"gpu.intel.com__i915": 1.0}, "nvidia", "gpu"),
        ({f"{NFD}amd-gpu": "true", f"{NFD}pci-0302_10de.present": "true"}, {}, "nvidia", "gpu"),
        ({f"{NFD}amd-gpu": "true"}, {"npu.intel.com__accel": 1.0}, "amd", "gpu"),
        ({}, {"huawei.com__Ascend310": 1.0, "gpu.intel.com__i915": 1.0}, "huawei", "npu"),
        ({}, {"npu.intel.com__accel": 10.0, "gpu.intel.com__xe": 1.0}, "intel", "gpu"),
        ({}, {"npu.intel.com__accel": 10.0, "coral.ai__tpu": 1.0}, "intel", "npu"),
        ({"beta.devicetree.org/rockchip-rk3588": "1"}, {"hailo.ai__h8": 1.0}, "hailo", "npu"),
        ({"beta.devicetree.org/rockchip-rk3588": "1"}, {"coral.ai__tpu": 1.0}, "rockchip", "npu"),
        ({f"{NFD}usb-ff_03e7_2485.present": "true"}, {"coral.ai__tpu": 2.0}, "google", "tpu"),
        ({f"{NFD}pci-1200_10ee.present": "true"}, {"smarter-devices__apex_0": 20.0}, "google", "tpu"),
    ],
)
def test_of_several_kinds_the_strongest_is_named(
    labels: dict[str, str], capacity: dict[str, float], vendor: str, kind: str
) -> None:
    found = facts(labels, **capacity)
    assert (found.accelerator_vendor, found.accelerator_kind) == (vendor, kind)


@pytest.mark.parametrize(
    ("resources", "vendor", "kind", "product", "count"),
    [
        ({"hailo.ai/h8": 2, "hailo.ai/h8l": 1}, "hailo", "npu", "Hailo-8", 2),
        ({"hailo.ai/h10": 1}, "hailo", "npu", "Hailo-10H", 1),
        ({"coral.ai/tpu": 1}, "google", "tpu", "Edge-TPU", 1),
        ({"kkohtaka.org/edgetpu": 1}, "google", "tpu", "Edge-TPU", 1),
        ({"smarter-devices/apex_0": 20, "smarter-devices/apex_1": 20}, "google", "tpu", "Edge-TPU", 2),
        ({"smarter-devices/hailo0": 1, "smarter-devices/snd": 20}, "hailo", "npu", "", 1),
        ({"akri.sh/coral-usb-8f3c1a": 1, "akri.sh/onvif-camera-1a2b3c": 1}, "google", "tpu", "Edge-TPU", 1),
        ({"squat.ai/rknpu": 4}, "rockchip", "npu", "", 1),
        ({"huawei.com/Ascend310P": 3}, "huawei", "npu", "Ascend310P", 3),
        ({"qualcomm.com/qaic": 1}, "qualcomm", "npu", "Cloud-AI-100", 1),
        ({"alpha.furiosa.ai/npu": 1}, "furiosa", "npu", "", 1),
        ({"xilinx.com/fpga-xilinx_u30-0": 2}, "xilinx", "fpga", "xilinx_u30-0", 2),
        ({"habana.ai/gaudi": 8}, "habana", "npu", "Gaudi", 8),
        ({"nvidia.com/mig-1g.5gb": 7}, "nvidia", "gpu", "", 0),
        ({"akri.sh/apexcam-1a2b3c": 1, "example.com/hailo": 1, "hailo.ai/h8": 0}, "", "", "", 0),
    ],
)
def test_accelerators_that_only_an_extended_resource_tells_of(
    resources: dict[str, int], vendor: str, kind: str, product: str, count: int
) -> None:
    node = Node(NodeName("n"), {}, {name: float(pieces) for name, pieces in resources.items()})
    assert node_hardware(node) == NodeHardware(
        accelerator_vendor=vendor,
        accelerator_kind=kind,
        accelerator_product=product,
        accelerator_count=count,
    )


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"amd.com/gpu.vram": "16G"}, 16 * 1024 * MIB),
        ({"amd.com/gpu.vram": "512M"}, 512 * MIB),
        ({"beta.amd.com/gpu.vram.16G": "2"}, 16 * 1024 * MIB),
        ({"beta.amd.com/gpu.vram.16G": "1", "beta.amd.com/gpu.vram.8G": "1"}, 0),
        ({"amd.com/gpu.vram": "16Gi"}, 0),
        ({"amd.com/gpu.vram": "lots"}, 0),
    ],
)
def test_memory_of_amd_gpus(labels: dict[str, str], expected: int) -> None:
    assert facts(labels).accelerator_memory_bytes == expected


def test_the_memory_of_intel_gpus_is_shared_out() -> None:
    found = facts({"gpu.intel.com/gpu-numbers": "0.1.2.3"}, **{"gpu.intel.com__memory.max": 4.0 * 2**34})
    assert (found.accelerator_count, found.accelerator_memory_bytes) == (4, 2**34)


@pytest.mark.parametrize(
    ("kernel", "board"),
    [
        ("5.15.0-1061-raspi", "raspberrypi"),
        ("6.6.31_rpt-rpi-v8", "raspberrypi"),
        ("6.12.25_rpt-rpi-2712", "raspberrypi"),
        ("6.1.21-v8", "raspberrypi"),
        ("5.10.104-tegra", "nvidia-tegra"),
        ("6.8.0-45-generic", ""),
        ("6.18.24-talos", ""),
        ("6.1.0-13-arm64", ""),
    ],
)
def test_boards_that_their_kernel_tells(kernel: str, board: str) -> None:
    assert facts({f"{NFD}kernel-version.full": kernel}).board == board


@pytest.mark.parametrize(
    ("compatible", "board", "product"),
    [
        (["nvidia-jetson-xavier-nx", "nvidia-tegra194"], "nvidia-jetson-xavier-nx", "Xavier"),
        (["nvidia-tegra186"], "nvidia-tegra186", "Tegra-X2"),
        (["nvidia-tegra234", "nvidia-ga10b", "pwm-fan"], "nvidia-tegra234", "Orin"),
        (["radxa-rock-3a", "rockchip-rk3568"], "radxa-rock-3a", "RK3568"),
        (["rockchip-rk3576-evb1-v10", "rockchip-rk3576"], "rockchip-rk3576-evb1-v10", "RK3576"),
        (["rockchip-rk3588-rknn-core"], "", "RK3588"),
        (["khadas-vim3", "amlogic-a311d", "amlogic-g12b"], "khadas-vim3", "A311D"),
        (["toradex-verdin-imx8mp", "fsl-imx8mp"], "toradex-verdin-imx8mp", "i.MX8MP"),
        (["raspberrypi-400", "brcm-bcm2711"], "raspberrypi-400", ""),
        (["pwm-fan", "gpio-leds"], "", ""),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_boards_and_chips_of_a_device_tree(compatible: list[str], board: str, product: str) -> None:
    found = facts({f"beta.devicetree.org/{name}": "1" for name in compatible})
    assert (found.board, found.accelerator_product) == (board, product)


_PARTS = sorted({part for real in REAL_NODES for part in real.label_map()})
_VALUES = sorted({value for real in REAL_NODES for value in real.label_map().values()})
_RESOURCES = sorted({name for real in REAL_NODES for name in real.capacity})
# Real keys with any values, real values under any keys, and whatever else.
_LABELS = st.dictionaries(
    st.sampled_from(_PARTS) | st.text(max_size=80),
    st.sampled_from(_VALUES) | st.text(max_size=80),
    max_size=25,
)
_CAPACITY = st.dictionaries(st.sampled_from(_RESOURCES) | st.text(max_size=40), st.floats(), max_size=8)


@given(_LABELS, _CAPACITY)
def test_no_labels_raise_and_the_facts_go_through_the_api(
    labels: dict[str, str], capacity: dict[str, float]
) -> None:
    found = node_hardware(Node(NodeName("n"), labels, capacity))
    assert NodeHardware.model_validate_json(found.model_dump_json()) == found


@given(_LABELS, _CAPACITY, st.randoms(use_true_random=False))
def test_the_order_of_labels_does_not_matter(
    labels: dict[str, str], capacity: dict[str, float], order: random.Random
) -> None:
    def shuffled(entries: dict[str, Any]) -> dict[str, Any]:
        items = list(entries.items())
        order.shuffle(items)
        return dict(items)

    node = Node(NodeName("n"), labels, capacity)
    again = Node(NodeName("n"), shuffled(labels), shuffled(capacity))
    assert node_hardware(again) == node_hardware(node)


_NAMES_OF_OTHERS = st.builds(
    "{}.example.{}/{}".format,
    st.text(ascii_lowercase, min_size=1, max_size=12),
    st.sampled_from(["com", "org"]),
    st.text(ascii_letters + ".-", min_size=1, max_size=20),
)


@given(
    st.sampled_from(REAL_NODES),
    st.dictionaries(_NAMES_OF_OTHERS, st.text(max_size=20)),
    st.dictionaries(_NAMES_OF_OTHERS, st.floats()),
)
def test_labels_and_resources_of_others_change_nothing(
    real: RealNode, more_labels: dict[str, str], more_capacity: dict[str, float]
) -> None:
    capacity = {name: float(pieces) for name, pieces in real.capacity.items()}
    alone = node_hardware(Node(NodeName("n"), real.label_map(), capacity))
    among = Node(NodeName("n"), {**more_labels, **real.label_map()}, {**more_capacity, **capacity})
    assert node_hardware(among) == alone
