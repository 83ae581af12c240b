"""Coarse figures with hysteresis: a status that follows every watt would be rewritten all the time. Pure."""


class Steps:
    """Rounds to steps of one size and stays there until the value has left the step for good.

    Args:
        step: size of a step.
    """

    def __init__(self, step: float) -> None:
        self._step = step
        self._shown: float | None = None

    def take(self, value: float | None) -> float | None:
        """Return what to show for a value; None is shown at once."""
        if value is None:
            self._shown = None
        # Half a step is where rounding changes; a quarter more keeps a value at the edge from swinging.
        elif self._shown is None or abs(value - self._shown) > 0.75 * self._step:
            self._shown = round(round(value / self._step) * self._step, 6)
        return self._shown


class Digits:
    """Rounds to two significant digits and follows only moves of more than a tenth.

    Args:
        least: moves that are smaller than this are never followed.
    """

    def __init__(self, least: float) -> None:
        self._least = least
        self._shown: float | None = None

    def take(self, value: float | None) -> float | None:
        """Return what to show for a value; None is shown at once."""
        if value is None:
            self._shown = None
        elif self._shown is None or abs(value - self._shown) > max(0.1 * self._shown, self._least):
            self._shown = float(f"{value:.2g}")
        return self._shown
