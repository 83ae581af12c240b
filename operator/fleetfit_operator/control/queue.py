"""A queue of keys that waits until things calm down: many events become one pass.

It knows keys and times only. A key that is added while it is worked on comes again afterwards, since the caller takes
keys one batch at a time.
"""

import asyncio
import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Windows:
    """How long the queue waits, in seconds.

    Attributes:
        idle_s: After the last event of a key.
        cap_s: After the first event of a key, however many follow.
        retry_base_s: After the first failure; doubles with every further one.
        retry_cap_s: After many failures.
    """

    idle_s: float = 0.3
    cap_s: float = 3.0
    retry_base_s: float = 0.5
    retry_cap_s: float = 60.0


class DebouncedQueue(Generic[K]):
    """Keys that become due some time after they were added; for one consumer, in one event loop.

    Args:
        windows: How long to wait.
        clock: Monotonic time in seconds; the event loop's, whose sleeps it must agree with.
        rng: Source of the jitter of retries.
    """

    def __init__(self, windows: Windows, clock: Callable[[], float], rng: random.Random) -> None:
        self._windows = windows
        self._clock = clock
        self._rng = rng
        self._first_s: dict[K, float] = {}
        self._due_s: dict[K, float] = {}
        self._timers_s: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._changed = asyncio.Event()

    @property
    def depth(self) -> int:
        """Number of keys that wait because of an event; timers do not count."""
        return len(self._due_s)

    @property
    def oldest_age_s(self) -> float:
        """Seconds since the oldest waiting key was first added; 0 when none waits."""
        return self._clock() - min(self._first_s.values()) if self._first_s else 0.0

    def add(self, key: K, *, urgent: bool = False) -> None:
        """Make a key due after its window, or at once when urgent."""
        now_s = self._clock()
        first_s = self._first_s.setdefault(key, now_s)
        due_s = now_s if urgent else min(now_s + self._windows.idle_s, first_s + self._windows.cap_s)
        already_urgent = key in self._due_s and self._due_s[key] <= now_s
        self._due_s[key] = min(due_s, self._due_s[key]) if already_urgent else due_s
        self._changed.set()

    def add_after(self, key: K, delay_s: float) -> None:
        """Make a key due after a delay, or earlier when it is due earlier anyway."""
        at_s = self._clock() + max(0.0, delay_s)
        self._timers_s[key] = min(at_s, self._timers_s.get(key, at_s))
        self._changed.set()

    def retry(self, key: K) -> float:
        """Make a key due again after a failure; return the delay in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        ceiling_s = min(self._windows.retry_cap_s, self._windows.retry_base_s * 2.0 ** min(failures, 20))
        delay_s = ceiling_s * (0.5 + 0.5 * self._rng.random())
        self.add_after(key, delay_s)
        return delay_s

    def succeeded(self, key: K) -> None:
        """Forget the failures of a key."""
        self._failures.pop(key, None)

    async def take(self) -> frozenset[K]:
        """Wait until at least one key is due; return and remove all that are."""
        while True:
            self._changed.clear()
            now_s = self._clock()
            due = frozenset(
                key for times in (self._due_s, self._timers_s) for key, at_s in times.items() if at_s <= now_s
            )
            if due:
                for key in due:
                    self._remove(key, now_s)
                return due
            await self._wait_until(min([*self._due_s.values(), *self._timers_s.values()], default=None))

    def _remove(self, key: K, now_s: float) -> None:
        self._first_s.pop(key, None)
        self._due_s.pop(key, None)
        if self._timers_s.get(key, now_s + 1.0) <= now_s:
            del self._timers_s[key]

    async def _wait_until(self, at_s: float | None) -> None:
        try:
            async with asyncio.timeout(None if at_s is None else max(0.0, at_s - self._clock())):
                await self._changed.wait()
        except TimeoutError:
            return
