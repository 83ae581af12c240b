"""Takes turns with other runtimes on the same processors, so that their reference runs do not measure each other.

Only process nodes need it: they are many nodes on one machine. Knows files and locks, nothing of what is timed.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_LOOK_AGAIN_S = 0.05


class Turns:
    """As many turns at the same time as there are processors.

    Args:
        directory: Directory that all who take turns share; it is made when it is missing.
        slots: Turns at the same time.
        sleep: How to wait for one's turn.
    """

    def __init__(
        self, directory: Path, slots: int | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._directory = directory
        self._slots = slots or os.cpu_count() or 1
        self._sleep = sleep

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Hold a turn for the time of the context; blocks until one is free.

        A lock goes with its process, so a runtime that is killed in its turn holds up nobody.

        Raises:
            OSError: the directory cannot be used.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            files = [
                stack.enter_context((self._directory / f"{slot}.lock").open("wb"))
                for slot in range(self._slots)
            ]
            while not any(_locked(file.fileno()) for file in files):
                self._sleep(_LOOK_AGAIN_S)
            yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
