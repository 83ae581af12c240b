"""Notices runs that do not end: tells them to, and where that does not help, tells whoever can replace the model.

A thread of its own, because what hangs may be the event loop. It looks a few times a second at which run each runner is
at; two looks that find the same run are as good as a clock in it, and cost a run nothing.
"""

import logging
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from fleetfit_runtime.engine.model_session import Array
from fleetfit_runtime.engine.run_watch import GRACE_S, RunRefused, RunWatch

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.5
_RETRY_LATER: Final = 503


@dataclass(slots=True)
class _Seen:
    """A run that was under way at the last look."""

    inputs: Mapping[str, Array]
    since_s: float
    limit_s: float
    told_s: float | None = None
    given_up: bool = False


class Watchdog:
    """Looks at runners.

    Args:
        grace_s: how long a run that was told to end may take to do so.
        look_s: seconds between two looks.
        clock: seconds.
    """

    def __init__(
        self,
        grace_s: float = GRACE_S,
        look_s: float = LOOK_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._grace_s = grace_s
        self._look_s = look_s
        self._clock = clock
        self._watches: weakref.WeakKeyDictionary[RunWatch, str] = weakref.WeakKeyDictionary()
        self._seen: weakref.WeakKeyDictionary[RunWatch, _Seen] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, name: str, watch: RunWatch) -> None:
        """Look after a runner for as long as anybody else holds it; its model's name is for messages."""
        with self._lock:
            self._watches[watch] = name
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep_looking, name="watchdog", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()

    def look(self) -> None:
        """Look at every runner once."""
        with self._lock:
            watches = list(self._watches.items())
        now_s = self._clock()
        for watch, name in watches:
            inputs = watch.inputs
            seen = self._seen.get(watch)
            if inputs is None:
                self._seen.pop(watch, None)
                if watch.told is not None:
                    watch.forgive()  # It ended between the look and the word.
            elif seen is None or seen.inputs is not inputs:
                self._seen[watch] = _Seen(inputs, now_s, watch.limit.seconds(inputs))
            else:
                self._judge(name, watch, seen, now_s)

    def _judge(self, name: str, watch: RunWatch, seen: _Seen, now_s: float) -> None:
        if seen.told_s is None:
            if now_s - seen.since_s > seen.limit_s:
                seen.told_s = now_s
                late = RunRefused(
                    504, f"a run of model {name!r} took more than {seen.limit_s:.3g} s and was ended"
                )
                logger.error(
                    "run takes too long, telling it to end", extra={"model": name, "limit_s": seen.limit_s}
                )
                # Said first: when the run ends, that is said too.
                watch.on_late(RunRefused(_RETRY_LATER, f"model {name!r} hangs in a run that was told to end"))
                watch.tell_to_end(late)
        elif now_s - seen.told_s > self._grace_s and not seen.given_up:
            seen.given_up = True
            logger.error("run does not end", extra={"model": name, "grace_s": self._grace_s})
            watch.mark_hanging()
            watch.on_hang(RunRefused(504, f"a run of model {name!r} hangs and could not be ended"))

    def _keep_looking(self) -> None:
        while not self._stop.wait(self._look_s):
            self.look()
