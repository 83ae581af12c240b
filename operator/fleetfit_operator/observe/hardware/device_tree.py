"""Labels of device tree labellers: the board, its chip, and accelerators that are built into chips.

The labeller makes a label of each `compatible` string, the comma replaced (`nvidia,jetson-nano` becomes
`beta.devicetree.org/nvidia-jetson-nano`). The labels have lost the strings' order, in which the board came before the
chip, and the labeller can be told to add other nodes of the tree, fans and all. So chips and boards are known by name.
"""

import re
from collections.abc import Iterator
from typing import Final

from fleetfit_operator.observe.hardware.evidence import Accelerator, Source
from fleetfit_operator.observe.hardware.readings import NodeReadings, text

PREFIX: Final = "beta.devicetree.org"

_CHIP = re.compile(
    r"nvidia-tegra[0-9]+|brcm-bcm[0-9]+|rockchip-rk[0-9]+[a-z]*|fsl-imx[0-9]+[a-z]*|amlogic-[a-z]*[0-9]+[a-z0-9]*"
    r"|allwinner-sun[0-9]+i-[a-z0-9]+|qcom-[a-z]+[0-9]+|ti-(?:am|j)[0-9]+[a-z0-9]*|mediatek-mt[0-9]+"
    r"|samsung-exynos[0-9]+|starfive-jh[0-9]+|xlnx-zynqmp"
)
# Makers whose boards are found in clusters, and evaluation boards that are named after their chip; what other vendors
# name may as well be a fan.
_BOARD = re.compile(
    r"nvidia-(?:jetson|p[0-9]|galen)|raspberrypi-|radxa-|pine64-|google-|khadas-|xunlong-|friendlyarm-|hardkernel-"
    r"|libretech-|toradex-|asus-|seeed-|turing-|variscite-|beagle-|starfive-vision"
    r"|(?:rockchip-rk[0-9]+|fsl-imx[0-9]+|qcom-[a-z]+[0-9]+|ti-(?:am|j)[0-9]+)[a-z0-9]*-"
)
# A part's own node of the tree, where the labeller was told to add it; it is no board.
_PART = re.compile(r".*-(?:rknn-core|rknn|npu|gpu|gm20b|gp10b|gv11b|ga10b|pinctrl|mali|vpu)")

_BUILT_IN: Final = {
    "rockchip-rk3588": ("rockchip", "npu", "RK3588"),
    "rockchip-rk3588s": ("rockchip", "npu", "RK3588S"),
    "rockchip-rk3576": ("rockchip", "npu", "RK3576"),
    "rockchip-rk3568": ("rockchip", "npu", "RK3568"),
    "rockchip-rk3566": ("rockchip", "npu", "RK3566"),
    "rockchip-rk3399pro": ("rockchip", "npu", "RK3399Pro"),
    "fsl-imx8mp": ("nxp", "npu", "i.MX8MP"),
    "fsl-imx93": ("nxp", "npu", "i.MX93"),
    "fsl-imx8mq-phanbell": ("google", "tpu", "Edge-TPU"),
    "amlogic-a311d": ("amlogic", "npu", "A311D"),
    "qcom-qcs6490": ("qualcomm", "npu", "QCS6490"),
    "xlnx-zynqmp": ("xilinx", "fpga", "ZynqMP"),
}


def chips(readings: NodeReadings) -> frozenset[str]:
    """Return the chips that labels name, such as nvidia-tegra210."""
    return frozenset(name for name in _names(readings) if _CHIP.fullmatch(name))


def board(readings: NodeReadings) -> str:
    """Return the board, such as nvidia-jetson-nano, else its chip; empty when no label names either.

    Of several names the longest is the most specific one.
    """
    boards = [name for name in _names(readings) if _is_board(name)]
    return max(boards or chips(readings), key=lambda name: (len(name), name), default="")


def accelerators(readings: NodeReadings) -> Iterator[Accelerator]:
    """Return what is built into the board's chips, whether or not a driver for it is loaded."""
    for name in _names(readings):
        built_in = _BUILT_IN.get(name.removesuffix("-rknn-core"))
        if built_in is not None:
            vendor, kind, product = built_in
            yield Accelerator(vendor, kind, Source.BOARD, product, count=1)


def _names(readings: NodeReadings) -> Iterator[str]:
    return (name for name in readings.labels(PREFIX) if text(name))


def _is_board(name: str) -> bool:
    return bool(_BOARD.match(name)) and not _CHIP.fullmatch(name) and not _PART.fullmatch(name)
