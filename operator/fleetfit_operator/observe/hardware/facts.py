"""Joins what the families of labels say to the facts of one node."""

from typing import Final

from fleetfit_api.node_inference import NodeHardware

from fleetfit_operator.fleet.snapshot import Node
from fleetfit_operator.observe.hardware import amd, device_tree, intel, jetson, nfd, nvidia, others
from fleetfit_operator.observe.hardware.evidence import Accelerator, Source, strongest
from fleetfit_operator.observe.hardware.readings import NodeReadings, text

_FAMILIES: Final = (nvidia, jetson, amd, intel, device_tree, others, nfd)
_NOTHING: Final = Accelerator("", "", Source.HAND)


def node_hardware(node: Node) -> NodeHardware:
    """Return what the node's labels and capacity say of its hardware; never raises, whatever they are."""
    readings = NodeReadings(node)
    found = (
        strongest(account for family in _FAMILIES for account in family.accelerators(readings)) or _NOTHING
    )
    return NodeHardware(
        architecture=_architecture(readings),
        processor=nfd.processor(readings),
        instruction_sets=nfd.instruction_sets(readings),
        cpu_cores=readings.capacity("cpu"),
        memory_bytes=readings.pieces("memory"),
        board=_board(readings),
        accelerator_vendor=found.vendor,
        accelerator_kind=found.kind,
        accelerator_product=found.product,
        accelerator_count=found.count,
        accelerator_memory_bytes=found.memory_bytes,
        compute_capability=found.compute_capability,
        driver_version=found.driver_version,
    )


def _architecture(readings: NodeReadings) -> str:
    return text(readings.labels("kubernetes.io").get("arch")) or text(
        readings.labels("beta.kubernetes.io").get("arch")
    )


def _board(readings: NodeReadings) -> str:
    """Return the board of the device tree; else the family of boards that the kernel was built for."""
    return device_tree.board(readings) or nfd.board_of_kernel(readings)
