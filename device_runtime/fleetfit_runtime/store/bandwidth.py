"""A cap on the bytes a second that all downloads of a node take together, so that a model does not fill its line."""

import asyncio


class Bandwidth:
    """Lets bytes through at a rate; without one it never waits.

    Args:
        bytes_per_second: the rate, None for no cap.
    """

    def __init__(self, bytes_per_second: int | None = None) -> None:
        self._rate = bytes_per_second
        self._free_at_s = 0.0

    async def take(self, size_bytes: int) -> None:
        """Wait until these bytes are paid for; the next ones wait for them too, whichever download they are of."""
        if self._rate is None:
            return
        loop = asyncio.get_running_loop()
        self._free_at_s = max(self._free_at_s, loop.time()) + size_bytes / self._rate
        await asyncio.sleep(self._free_at_s - loop.time())
