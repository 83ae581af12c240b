"""Which nodes have their variant fixed by the user."""

from collections.abc import Sequence

from fleetfit_api.deployment import Pin

from fleetfit_operator.fleet.snapshot import Node


def pin_for(pins: Sequence[Pin], node: Node) -> Pin | None:
    """Return the first pin in the list that names the node or whose labels it has, or None."""
    return next((pin for pin in pins if _applies(pin, node)), None)


def _applies(pin: Pin, node: Node) -> bool:
    if node.name in pin.node_names:
        return True
    return bool(pin.node_selector) and all(
        node.labels.get(key) == value for key, value in pin.node_selector.items()
    )
