"""How many ratings one key (a source, a peer address) may place in an hour and in a day. Pure.

It knows keys and times only, neither ratings nor models. The table is bounded: the key that was quiet for longest is
forgotten first, and with it what it has used up.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

_HOUR_S = 3600.0
_DAY_S = 86_400.0


class Allowances:
    """Times of the last ratings by key.

    Args:
        per_hour: ratings that a key may place within an hour.
        per_day: ratings that a key may place within a day.
        keys: keys that are remembered.
    """

    def __init__(self, per_hour: int, per_day: int, keys: int) -> None:
        self._per_hour = per_hour
        self._per_day = per_day
        self._keys = keys
        self._times_s: OrderedDict[str, list[float]] = OrderedDict()

    def wait_s(self, key: str, now_s: float) -> float:
        """Return the seconds until the key may place its next rating, 0 when it may now."""
        times_s = self._within_a_day(self._times_s.get(key, ()), now_s)
        waits_s = [0.0]
        if len(times_s) >= self._per_day:
            waits_s.append(times_s[-self._per_day] + _DAY_S - now_s)
        if len(times_s) >= self._per_hour:
            waits_s.append(times_s[-self._per_hour] + _HOUR_S - now_s)
        return max(waits_s)

    def use(self, key: str, now_s: float) -> None:
        """Note that the key has placed a rating."""
        times_s = self._within_a_day(self._times_s.pop(key, ()), now_s)
        self._times_s[key] = [*times_s, now_s][-self._per_day :]
        while len(self._times_s) > self._keys:
            self._times_s.popitem(last=False)

    def dump(self) -> dict[str, list[float]]:
        """Return the times by key, the quietest key first."""
        return {key: list(times_s) for key, times_s in self._times_s.items()}

    def load(self, dumped: Mapping[str, Sequence[float]]) -> None:
        """Take over dumped times, as many as are kept."""
        recent = list(dumped.items())[-self._keys :]
        self._times_s = OrderedDict((key, sorted(times_s)[-self._per_day :]) for key, times_s in recent)

    @staticmethod
    def _within_a_day(times_s: Sequence[float], now_s: float) -> list[float]:
        # A board without a clock battery may have noted times of a future that did not come; they bind nobody.
        return [time_s for time_s in times_s if now_s - _DAY_S < time_s <= now_s]
