"""Exponential backoff with full jitter."""

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Delays that double up to a cap, each drawn from its upper half so that many clients spread out.

    Attributes:
        rng: Source of the jitter.
        base_s: First delay in seconds.
        cap_s: Largest delay in seconds.
    """

    rng: random.Random
    base_s: float = 0.2
    cap_s: float = 30.0
    _attempt: int = field(default=0, init=False)

    def next_s(self) -> float:
        """Return the next delay in seconds."""
        ceiling_s = min(self.cap_s, self.base_s * 2.0 ** min(self._attempt, 30))
        self._attempt += 1
        return ceiling_s * (0.5 + 0.5 * self.rng.random())

    def reset(self) -> None:
        """Begin anew after a success."""
        self._attempt = 0
