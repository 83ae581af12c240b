"""Looks at the node every few seconds, in a thread, since a sensor on a slow bus may take its time."""

import asyncio
from collections.abc import Callable

from fleetfit_runtime.probe.node_probe import NodeReading


class NodeWatch:
    """Holds the latest state of the node.

    Args:
        read: reads the state; blocks.
        changed: called when something changed that should be reported without delay.
        interval_s: how often to look.
    """

    def __init__(
        self, read: Callable[[], NodeReading], changed: Callable[[], None], interval_s: float = 5.0
    ) -> None:
        self._read = read
        self._changed = changed
        self._interval_s = interval_s
        self.reading = NodeReading()
        self._looked = asyncio.Event()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._interval_s)

    async def wait_for_reading(self) -> None:
        """Wait until the node was looked at once."""
        await self._looked.wait()

    async def look(self) -> None:
        """Look once."""
        before, self.reading = self.reading, await asyncio.to_thread(self._read)
        self._looked.set()
        if _pressing(before) != _pressing(self.reading):
            self._changed()


def _pressing(reading: NodeReading) -> tuple[str, str, bool, bool]:
    on_battery = reading.battery is not None and reading.battery.in_use
    return reading.governor, reading.driver_version, reading.throttled, on_battery
