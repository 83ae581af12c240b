"""One runner of a model's jobs under watch: what it runs is marked in the flight record, and can be told to end.

The marks are written around every run, also those on the event loop, so they must cost next to nothing. Who decides
that a run takes too long is the watchdog; here is only what it looks at and what it can do.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fleetfit_runtime.engine.flight_record import Mark, Slot
from fleetfit_runtime.engine.model_session import Array, RunWithOptions

LEAST_S: Final = 30.0
TIMES_P95: Final = 100.0
GRACE_S: Final = 10.0


class RunRefused(Exception):  # noqa: N818 - reads as the state it reports
    """A job was not run to its end; the message is for whoever asked.

    Args:
        status: HTTP status that says whose turn it is: 503 to try again, 504 for a run that took too long.
        message: a sentence.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class RunLimit:
    """How long a run may take before it counts as hanging.

    That is `max(least_s, times_p95 * p95_s * max(1, elements / warm_up_elements))`.

    Attributes:
        p95_s: p95 of the warm-up.
        warm_up_elements: elements of the inputs of one of its runs; a larger input may take longer in proportion.
        least_s: no run is ended before this.
        times_p95: how many times the p95 is far too long.
    """

    p95_s: float
    warm_up_elements: int
    least_s: float = LEAST_S
    times_p95: float = TIMES_P95

    def seconds(self, inputs: Mapping[str, Array]) -> float:
        """Return the limit of a run with these inputs."""
        elements = sum(array.size for array in inputs.values())
        share = max(1.0, elements / max(1, self.warm_up_elements))
        return max(self.least_s, self.times_p95 * self.p95_s * share)


class RunWatch:
    """Runs a model under watch; one run at a time.

    Args:
        run: runs the model with ONNX Runtime's options for one run.
        options: these options; setting `terminate` on them asks a run to end at the next operator.
        slot: where to mark.
        limit: how long a run may take.
        on_late: called by the watchdog's thread when a run was told to end, with the reason.
        on_hang: called by it when that did not help.

    Attributes:
        inputs: those of the run that is under way, None without one; its identity tells one run from the next.
        slot: where the runs are marked.
    """

    __slots__ = (
        "__weakref__",
        "_options",
        "_run",
        "inputs",
        "limit",
        "on_hang",
        "on_late",
        "on_over",
        "slot",
        "told",
    )

    def __init__(self, run: RunWithOptions, options: Any, slot: Slot, limit: RunLimit) -> None:
        self._run = run
        self._options = options
        self.slot = slot
        self.limit = limit
        self.inputs: Mapping[str, Array] | None = None
        self.told: RunRefused | None = None
        self.on_late: Callable[[RunRefused], None] = _ignore
        self.on_hang: Callable[[RunRefused], None] = _ignore
        self.on_over: Callable[[], None] = _nothing

    def run(self, output_names: Sequence[str], inputs: Mapping[str, Array], /) -> list[Array]:
        """Run the model.

        Raises:
            RunRefused: the run took too long and was ended.
        """
        slot = self.slot
        self.inputs = inputs
        slot.cells[slot.at] = Mark.RUNNING
        try:
            return self._run(output_names, inputs, self._options)
        except Exception as error:
            if self.told is not None:
                raise self.told from error
            raise
        finally:
            slot.cells[slot.at] = Mark.IDLE
            self.inputs = None
            if self.told is not None:
                self.forgive()

    def tell_to_end(self, why: RunRefused) -> None:
        """Ask the run that is under way to end; called by the watchdog's thread.

        A run that ends in this very moment leaves the request to the next one, which is then answered as if it had been
        late. It takes a run that ends within microseconds of a limit of half a minute.
        """
        self.told = why
        self._options.terminate = True

    def mark_hanging(self) -> None:
        """Leave to whoever starts next that the run does not end."""
        self.slot.cells[self.slot.at] = Mark.HANGING

    def forgive(self) -> None:
        """Let further runs be: the one that was told to end has ended."""
        self._options.terminate = False
        self.told = None
        self.on_over()


def _ignore(_why: RunRefused) -> None:
    """Nobody wants to know."""


def _nothing() -> None:
    """Nobody wants to know."""
