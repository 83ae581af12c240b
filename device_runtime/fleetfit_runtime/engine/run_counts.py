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
        success: requests that were answered with outputs, from the parsed head to the answer.
        failure: requests that were not.
        queue: from the request to the begin of its run.
        compute: the runs of the requests; a batch counts once for each of its requests.
        output: from the end of a run to the answer.
        items: items of answered requests.
        runs: how often the model ran; a batch is one run, to which each of its requests brings its share.
        by_batch: items by the number of items that ran together, with the times of their runs; of the first sizes only,
            since clients choose them.
        last_s: wall clock of the last answer in seconds; 0 before the first.
    """

    success: Tally = field(default_factory=Tally)
    failure: Tally = field(default_factory=Tally)
    queue: Tally = field(default_factory=Tally)
    compute: Tally = field(default_factory=Tally)
    output: Tally = field(default_factory=Tally)
    items: int = 0
    runs: float = 0.0
    by_batch: dict[int, Tally] = field(default_factory=lambda: defaultdict(Tally))
    last_s: float = 0.0

    def answered(self, job: InferenceJob, duration_s: float, wall_s: float) -> None:
        """Count a request that was answered with outputs after that long, at that time of day."""
        self.last_s = wall_s
        self.success.add(duration_s)
        queued_s = job.begun_s - job.queued_s
        self.queue.add(queued_s)
        self.compute.add(job.run_s)
        self.output.add(duration_s - queued_s - job.run_s)
        items = job.items or 1  # a request whose inputs have no number of items in common is one
        self.items += items
        together = job.together or 1
        self.runs += items / together
        if together not in self.by_batch and len(self.by_batch) >= MOST_BATCH_SIZES:
            return
        batch = self.by_batch[together]
        batch.count += items
        batch.sum_s += job.run_s * items
