"""How long to wait before the next start of a container, as the kubelet does. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BackoffPolicy:
    """The first wait, the longest one, and the run time after which all is forgiven."""

    base_s: float = 10.0
    cap_s: float = 300.0
    reset_after_s: float = 600.0


class Backoff:
    """Waits that double: nothing after the first end, then base, twice base, and so on up to the cap."""

    def __init__(self, policy: BackoffPolicy) -> None:
        self._policy = policy
        self._ends = 0

    def next_s(self, run_time_s: float) -> float:
        """Return the wait after a run that took so long."""
        if run_time_s >= self._policy.reset_after_s:
            self._ends = 0
        self._ends += 1
        if self._ends == 1:
            return 0.0
        # The exponent is bounded, for 2.0**1024 overflows and a container can crash that often.
        return min(self._policy.cap_s, self._policy.base_s * 2.0 ** min(self._ends - 2, 60))
