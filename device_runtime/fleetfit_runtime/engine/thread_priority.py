"""How urgent a thread is beside the others of the process.

A model's thread can use a processor for as long as there are requests. The event loop needs one for microseconds at a
time, but then at once: health checks and quick models wait for it. Between processes, and between pods, nothing changes
by this as long as they are in control groups of their own.
"""

import contextlib
import os
import sys
import threading
from typing import Final

# The event loop then weighs ten times as much where both want the same processor.
_NICER_BY: Final = 10
_NICEST: Final = 19


def yield_to_event_loop() -> None:
    """Make the calling thread give way to the others of the process; does nothing where threads have no priority."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # A sandbox may forbid it.
            niceness = min(os.getpriority(os.PRIO_PROCESS, 0) + _NICER_BY, _NICEST)
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
