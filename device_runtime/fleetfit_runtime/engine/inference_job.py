"""One inference that somebody asks for, as the engine sees it: arrays in, arrays out, a deadline, and who is told.

The engine decides where, when and with which others it runs. What the arrays mean to a client is the business of the
class that extends this one.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence

from fleetfit_runtime.engine.model_session import Array

# Clients that name no deadline wait for ever.
NO_DEADLINE_S = math.inf


class InferenceJob(ABC):
    """An inference on its way.

    Attributes:
        inputs: arrays by input name; set by `prepare` at the latest.
        output_names: the wanted outputs in order.
        batch_key: jobs with equal keys differ in nothing but the number of their items and may run together; None
            for a job that runs alone.
        items: number of items along the first dimension.
        elements: elements of all inputs; infinite while they are not known.
        queued_s: when it was asked for, on the engine's clock.
        begun_s: when its run began.
        run_s: how long its run took.
        together: items that ran with it, itself included.
        deadline_s: when nobody waits for it any more, on the engine's clock.
        abandoned: set when whoever asked has gone.
    """

    __slots__ = (
        "abandoned",
        "batch_key",
        "begun_s",
        "deadline_s",
        "elements",
        "inputs",
        "items",
        "output_names",
        "queued_s",
        "run_s",
        "together",
    )

    def __init__(self, queued_s: float) -> None:
        self.inputs: Mapping[str, Array] = {}
        self.output_names: Sequence[str] = ()
        self.batch_key: Hashable | None = None
        self.items = 1
        self.elements = math.inf
        self.queued_s = queued_s
        self.begun_s = queued_s
        self.run_s = 0.0
        self.together = 0
        self.deadline_s = NO_DEADLINE_S
        self.abandoned = False

    def prepare(self) -> bool:
        """Make the inputs ready, in the thread that will run the job; return False if there is nothing to run."""
        return True

    @abstractmethod
    def finish(self, arrays: Sequence[Array]) -> None:
        """Take the outputs, in the thread that has run the job; must not raise."""

    @abstractmethod
    def fail(self, error: Exception) -> None:
        """Take the error of a run, in the thread that has run it; must not raise."""

    @abstractmethod
    def expire(self) -> None:
        """Take note that the deadline passed before the run began; must not raise."""

    @abstractmethod
    def deliver(self) -> None:
        """Tell whoever asked, on the event loop; called once for every job, also for an abandoned one."""
