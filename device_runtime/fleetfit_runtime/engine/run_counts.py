"""What was counted of one model's requests and runs, for its statistics: plain numbers, written on the event loop.

The same sums as Triton's statistics extension asks for, in seconds; how they are shown is not decided here.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from fleetfit_runtime.engine.inference_job import InferenceJob

MOST_BATCH_SIZES: Final = 256


@dataclass(slots=True)
class Tally:
    """How often something happened and how long it took in all."""

    count: int = 0
    sum_s: float = 0.0

    def add(self, duration_s: float) -> None:
        """Count one."""
        self.count += 1
        self.sum_s += duration_s


@dataclass(slots=True)
class RunCounts:
    """Sums of one loaded model.

    Attributes:
        failure: requests that were not answered with outputs.
        items: items of answered requests.
        runs: how often the model ran; a batch is one run, to which each of its requests brings its share.
        by_batch: items by the number of items that ran together, with the times of their runs; of the first sizes only,
            since clients choose them.
        last_s: wall clock of the last answer in seconds; 0 before the first.
    """

    failure: Tally = field(default_factory=Tally)
    items: int = 0
    runs: float = 0.0
    by_batch: dict[int, Tally] = field(default_factory=lambda: defaultdict(Tally))
    last_s: float = 0.0
    _answered: int = field(init=False, default=0)
    _success_s: float = field(init=False, default=0.0)
    _queue_s: float = field(init=False, default=0.0)
    _compute_s: float = field(init=False, default=0.0)

    @property
    def success(self) -> Tally:
        """Requests that were answered with outputs, from the parsed head to the answer."""
        return Tally(self._answered, self._success_s)

    @property
    def queue(self) -> Tally:
        """From the request to the begin of its run."""
        return Tally(self._answered, self._queue_s)

    @property
    def compute(self) -> Tally:
        """The runs of the requests; a batch counts once for each of its requests."""
        return Tally(self._answered, self._compute_s)

    @property
    def output(self) -> Tally:
        """From the end of a run to the answer."""
        return Tally(self._answered, self._success_s - self._queue_s - self._compute_s)

    def answered(self, job: InferenceJob, duration_s: float, wall_s: float) -> None:
        """Count a request that was answered with outputs after that long, at that time of day."""
        self.last_s = wall_s
        self._answered += 1
        self._success_s += duration_s
        self._queue_s += job.begun_s - job.queued_s
        self._compute_s += job.run_s
        items = job.items or 1  # a request whose inputs have no number of items in common is one
        self.items += items
        together = job.together or 1
        self.runs += items / together
        if together not in self.by_batch and len(self.by_batch) >= MOST_BATCH_SIZES:
            return
        batch = self.by_batch[together]
        batch.count += items
        batch.sum_s += job.run_s * items
