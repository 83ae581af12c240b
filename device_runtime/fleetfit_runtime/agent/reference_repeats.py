"""Decides when the reference set is timed again. Pure: times and the state of the node come in as values.

Again, because the times no longer hold (another governor, driver or quota), or because they were taken while heat or
power slowed the processor. Either costs seconds of the node, so it waits for calm and happens a bounded number of
times.
"""

from dataclasses import dataclass

from fleetfit_runtime.probe.node_probe import NodeReading


@dataclass(frozen=True, slots=True)
class RepeatPolicy:
    """When to time again.

    Attributes:
        settle_s: How long a changed governor, driver or quota must stay, since some swing with the load.
        cool_s: How long no throttling must have been seen.
        calm_load: The processors' load up to which the node counts as calm.
        patience_s: After this long a change is followed although the node is never calm.
        first_wait_s: Seconds before a throttled run is repeated; doubles with every repeat.
        most_repeats: How often a throttled run is repeated.
    """

    settle_s: float = 60.0
    cool_s: float = 60.0
    calm_load: float = 0.5
    patience_s: float = 3600.0
    first_wait_s: float = 300.0
    most_repeats: int = 5


class ReferenceRepeats:
    """Keeps track of what was seen.

    Args:
        policy: when to time again.
    """

    def __init__(self, policy: RepeatPolicy) -> None:
        self._policy = policy
        self._changed_since_s: float | None = None
        self._throttled_since_s: float | None = None
        self._last_hot_s = float("-inf")
        self._repeats = 0

    def due(self, now_s: float, reading: NodeReading, *, outdated: bool, throttled: bool) -> bool:
        """Tell whether to time the set now.

        Args:
            now_s: the time.
            reading: state of the node.
            outdated: whether the runs were taken under another governor, driver or quota.
            throttled: whether the runs were taken on a slowed processor.
        """
        if reading.throttled:
            self._last_hot_s = now_s
        self._changed_since_s = _since(self._changed_since_s, now_s, outdated)
        self._throttled_since_s = _since(self._throttled_since_s, now_s, throttled)
        is_calm = reading.load is None or reading.load.total <= self._policy.calm_load
        if self._changed_since_s is not None:
            changed_s = now_s - self._changed_since_s
            return changed_s >= (self._policy.settle_s if is_calm else self._policy.patience_s)
        return is_calm and self._may_repeat(now_s)

    def timed(self, *, outdated: bool) -> None:
        """Note that the set was timed.

        Args:
            outdated: as it was told before: a change begins a new count of repeats.
        """
        self._repeats = 0 if outdated else self._repeats + 1
        self._changed_since_s = self._throttled_since_s = None

    def _may_repeat(self, now_s: float) -> bool:
        if self._throttled_since_s is None or self._repeats >= self._policy.most_repeats:
            return False
        wait_s = self._policy.first_wait_s * 2**self._repeats
        return now_s - self._throttled_since_s >= wait_s and now_s - self._last_hot_s >= self._policy.cool_s


def _since(since_s: float | None, now_s: float, holds: bool) -> float | None:
    if not holds:
        return None
    return now_s if since_s is None else since_s
