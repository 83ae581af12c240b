"""One model's worker thread, with a bounded queue: requests of one model run one after another, off the event loop.

One at a time, because the session already uses all processors of the node for one inference; two at once would only
make both late. A full queue refuses, since an answer that comes too late helps nobody.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class LaneFull(Exception):  # noqa: N818 - reads as the state it reports
    """Too many requests wait for the model."""


class Lane:
    """Runs functions of one model in order in a thread of its own.

    Args:
        name: name of the thread.
        capacity: how many may wait or run.
    """

    def __init__(self, name: str, capacity: int) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._capacity = capacity
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Functions that wait or run."""
        return self._waiting

    def submit(self, function: Callable[[], T]) -> "asyncio.Future[T]":
        """Queue a function; its result comes back on the running event loop.

        Raises:
            LaneFull: the queue is full.
        """
        if self._waiting >= self._capacity:
            raise LaneFull
        self._waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._executor, function)
        future.add_done_callback(self._done)
        return future

    def _done(self, _future: "asyncio.Future[T]") -> None:
        self._waiting -= 1

    def close(self) -> None:
        """Let what is queued finish, then end the thread; does not wait."""
        self._executor.shutdown(wait=False)
