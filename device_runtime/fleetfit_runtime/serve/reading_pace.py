"""Whether a request can be read on the event loop, from how long reading took before on this node.

Handing a large JSON text to a thread costs a tenth of a millisecond, which is more than the others on the loop gain by
it as long as reading is quick; how quick depends on the node's processor and on what the text holds.
"""

from typing import Final

# Until one was read: a small board takes about a millisecond for this much.
_FIRST_S_PER_BYTE: Final = 1e-3 / (64 << 10)
# What a smaller text takes is not a matter of its size.
_LEAST_BYTES: Final = 16 << 10
# A slow text counts at once, quick ones after it bit by bit.
_QUICKER_BY: Final = 0.125


class ReadingPace:
    """What reading takes; written and read from any thread.

    Args:
        hold_s: how long reading one request may hold up the event loop.
    """

    __slots__ = ("_hold_s", "_s_per_byte")

    def __init__(self, hold_s: float) -> None:
        self._hold_s = hold_s
        self._s_per_byte = _FIRST_S_PER_BYTE

    def is_quick(self, size_bytes: int) -> bool:
        """Tell whether a text of this size will be read in time."""
        return size_bytes * self._s_per_byte <= self._hold_s

    def took(self, size_bytes: int, duration_s: float) -> None:
        """Note how long a text took."""
        if size_bytes < _LEAST_BYTES:
            return
        now = duration_s / size_bytes
        before = self._s_per_byte
        self._s_per_byte = now if now > before else before + _QUICKER_BY * (now - before)
