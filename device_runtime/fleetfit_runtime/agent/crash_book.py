"""Which models ended the process or hung, how often, and which of them are therefore not tried again.

What counts is an attempt: a set of files, assigned at one time. The same files assigned anew are another attempt. One
small file next to the node's memory; a damaged one is as good as none.
"""

import logging
from collections.abc import Callable, Collection, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Final

from fleetfit_api.node_inference import Assignment
from fleetfit_api.reasons import Reason
from pydantic import BaseModel, ConfigDict, ValidationError

from fleetfit_runtime.agent.wanted_model import wanted_model
from fleetfit_runtime.engine.flight_record import Mark, Suspect
from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.store.atomic_file import write_atomically

logger = logging.getLogger(__name__)

WINDOW_S: Final = 600.0
_MOST_REMEMBERED: Final = 256


class Fault(StrEnum):
    """What a model did to the process."""

    LOAD = "Load"
    RUN = "Run"
    HANG = "Hang"


# So many of a kind within the window, and the model is not tried again. Crashes of loads count until a load succeeds.
LIMITS: Final = {Fault.LOAD: 2, Fault.RUN: 3, Fault.HANG: 2}
_FAULTS: Final = {Mark.LOADING: Fault.LOAD, Mark.RUNNING: Fault.RUN, Mark.HANGING: Fault.HANG}
_SAID: Final = {
    Fault.LOAD: (
        Reason.MODEL_CRASHED,
        "the runtime's process ended {count} times while it loaded this variant",
    ),
    Fault.RUN: (
        Reason.MODEL_CRASHED,
        "the runtime's process ended {count} times within 10 minutes while this variant ran",
    ),
    Fault.HANG: (Reason.MODEL_HANGS, "a run of this variant did not end, {count} times within 10 minutes"),
}
_ADVICE: Final = (
    "it crashed, or was killed for want of memory; the variant is not loaded again until it is assigned anew: "
    "assign another variant, or one with other files"
)


def attempt_of(assignment: Assignment) -> str:
    """Return the key of an attempt: the digest of the model's files, and when they were assigned."""
    model = wanted_model(assignment)
    at = assignment.assigned_at
    return f"{model.set_name or assignment.sha256}@{'' if at is None else at.isoformat()}"


def crashed_loads(suspects: Iterable[Suspect]) -> list[str]:
    """Return the digests of the files of models whose load ended the process before this one."""
    return [each.key.partition("@")[0] for each in suspects if each.mark is Mark.LOADING]


class Happened(BaseModel):
    """One fault of an attempt, at a time of day in seconds."""

    model_config = ConfigDict(frozen=True)

    attempt: str
    fault: Fault
    at_s: float


class Crashes(BaseModel):
    """The content of the file.

    Args:
        happened: faults that may still count.
        barred: sentences that say why an attempt is over, with the reason, by attempt.
    """

    model_config = ConfigDict(frozen=True)

    happened: tuple[Happened, ...] = ()
    barred: dict[str, tuple[Reason, str]] = {}

    def with_faults(self, faults: Iterable[Happened], now_s: float) -> "Crashes":
        """Return the state after further faults, with what they add up to."""
        counting = [each for each in self.happened if each.fault is Fault.LOAD or _recent(each, now_s)]
        happened = [*counting, *faults][-_MOST_REMEMBERED:]
        barred = dict(self.barred)
        for each in happened:
            count = sum((other.attempt, other.fault) == (each.attempt, each.fault) for other in happened)
            if count >= LIMITS[each.fault]:
                reason, said = _SAID[each.fault]
                barred[each.attempt] = (reason, f"{said.format(count=count)}; {_ADVICE}")
        return Crashes(happened=tuple(happened), barred=barred)

    def without_loads(self, attempt: str) -> "Crashes":
        """Return the state after a load that succeeded."""
        rest = tuple(each for each in self.happened if (each.attempt, each.fault) != (attempt, Fault.LOAD))
        return self.model_copy(update={"happened": rest})

    def only(self, attempts: Collection[str]) -> "Crashes":
        """Return what concerns these attempts."""
        return Crashes(
            happened=tuple(each for each in self.happened if each.attempt in attempts),
            barred={attempt: said for attempt, said in self.barred.items() if attempt in attempts},
        )


class CrashBook:
    """Keeps the file.

    Args:
        path: where it is; None keeps all in memory.
        now_s: the time of day in seconds.
    """

    def __init__(self, path: Path | None, now_s: Callable[[], float]) -> None:
        self._path = path
        self._now_s = now_s
        self._crashes = Crashes()

    def open(self, suspects: Iterable[Suspect]) -> None:
        """Read what is known, and add what the process before this one ended in."""
        self._crashes = self._read()
        now_s = self._now_s()
        self._add([Happened(attempt=each.key, fault=_FAULTS[each.mark], at_s=now_s) for each in suspects])

    def note_hang(self, attempt: str) -> None:
        """Add a hang that the process survived."""
        self._add([Happened(attempt=attempt, fault=Fault.HANG, at_s=self._now_s())])

    def note_loaded(self, attempt: str) -> None:
        """Forget crashes of loads of a model that has now been loaded."""
        self._keep(self._crashes.without_loads(attempt))

    def keep(self, attempts: Collection[str]) -> None:
        """Forget what is not assigned any more."""
        self._keep(self._crashes.only(attempts))

    def is_suspect(self, attempt: str) -> bool:
        """Tell whether the attempt has a fault that counts, so that others should be loaded first."""
        return any(each.attempt == attempt for each in self._crashes.happened)

    def bar(self, attempt: str) -> ModelFailure | None:
        """Return why an attempt is not to be tried, None for one that may be."""
        said = self._crashes.barred.get(attempt)
        return None if said is None else ModelFailure(said[0], said[1])

    def _add(self, faults: list[Happened]) -> None:
        if faults:
            self._keep(self._crashes.with_faults(faults, self._now_s()))

    def _keep(self, crashes: Crashes) -> None:
        if crashes == self._crashes:
            return
        self._crashes = crashes
        if self._path is None:
            return
        try:
            write_atomically(self._path, crashes.model_dump_json().encode())
        except OSError as error:
            logger.error("crashes of models cannot be written down", extra={"error": str(error)})

    def _read(self) -> Crashes:
        if self._path is None:
            return Crashes()
        try:
            return Crashes.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return Crashes()
        except (OSError, ValidationError) as error:
            logger.warning("crashes of models are unreadable", extra={"error": str(error)})
            return Crashes()


def _recent(happened: Happened, now_s: float) -> bool:
    # A clock that was set back makes the past look like the future; neither direction may count for ever.
    return abs(now_s - happened.at_s) <= WINDOW_S
