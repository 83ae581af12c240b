"""Mean power over a while, and energy, from single readings of meters. Pure: readings and times come in as values."""

from collections import deque
from dataclasses import dataclass

from fleetfit_runtime.probe.power_reading import PowerReading, joules_between


@dataclass(frozen=True, slots=True)
class Power:
    """Mean power of the node.

    Attributes:
        watts: In watts.
        method: How it is known.
    """

    watts: float
    method: str


class PowerTrack:
    """Keeps the energy of the last while.

    It adds up step by step, so that a counter may wrap as often as it likes as long as somebody looks in between.

    Args:
        window_s: how far back the mean goes.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._latest: tuple[float, PowerReading] | None = None
        self._energies_j: deque[tuple[float, float]] = deque()

    def add(self, at_s: float, reading: PowerReading | None) -> float:
        """Take a reading and return the joules since the one before, 0 when they are not known.

        Another method than before, a counter that was reset, or a long time without a reading begins anew.
        """
        before = self._latest
        self._latest = None if reading is None else (at_s, reading)
        joules = None
        if before is not None and reading is not None:
            joules = joules_between(before[1], reading, at_s - before[0])
        if joules is None:
            self._energies_j.clear()
        if reading is None:
            return 0.0
        so_far_j = self._energies_j[-1][1] if self._energies_j else 0.0
        self._energies_j.append((at_s, so_far_j + (joules or 0.0)))
        # Two are needed for a mean, however old the first is.
        while len(self._energies_j) > 2 and at_s - self._energies_j[0][0] > self._window_s:
            self._energies_j.popleft()
        return joules or 0.0

    def mean(self) -> Power | None:
        """Return the mean power, or None while it is not known."""
        if self._latest is None:
            return None
        reading = self._latest[1]
        (first_s, first_j), (last_s, last_j) = self._energies_j[0], self._energies_j[-1]
        if last_s > first_s:
            return Power((last_j - first_j) / (last_s - first_s), reading.method)
        if reading.energy_uj or reading.watts is None:
            return None
        return Power(reading.watts, reading.method)
