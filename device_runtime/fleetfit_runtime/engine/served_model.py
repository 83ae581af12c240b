"""A model that answers requests: its session, its variant, where its jobs run, what was counted of them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from fleetfit_api.batching import Batching
from fleetfit_api.model_status import Measured

from fleetfit_runtime.engine.batch_proof import BatchRule
from fleetfit_runtime.engine.inference_job import InferenceJob
from fleetfit_runtime.engine.lane import Lane
from fleetfit_runtime.engine.latency import LatencyWindow
from fleetfit_runtime.engine.loop_turn import LoopTurn
from fleetfit_runtime.engine.model_guard import ModelGuard
from fleetfit_runtime.engine.model_session import ModelSession
from fleetfit_runtime.engine.queue_bound import QueueBound
from fleetfit_runtime.engine.run_counts import RunCounts
from fleetfit_runtime.engine.run_watch import RunRefused

# A model this quick runs on the event loop itself: handing it to a thread would cost more than what health answers,
# which are late by no more than this, gain by it. It holds for what the warm-up ran, one item, not for a larger batch.
INLINE_S = 0.0025
# So much work may wait for the loop, whatever the capacity in jobs: a thousand connections with a job of some
# microseconds each are no overload.
_WAITING_S = 0.1


@dataclass(eq=False, slots=True, weakref_slot=True)
class ServedModel:
    """One loaded, warm variant under a model name.

    Args:
        name: name in the Open Inference Protocol.
        variant: name of the variant, the protocol's model version.
        sha256: digest of its file.
        model: the session.
        warm_up: figures of the warm-up.
        warm_up_elements: elements of the inputs of one of its runs.
        batches: how many items may run together; `batch_as` keeps it within what the user allows.
        guard: watches its runs.
        capacity: jobs that may wait in the worker thread's queue.
        memory_bytes: what loading it added to the process's memory; 0 when unknown.
        memory_ticket: its place in the memory budget.
        stalled: why it takes no jobs, while a run takes far too long; None otherwise.
        on_hang: told that a run cannot be ended, so that the model must be replaced.
    """

    name: str
    variant: str
    sha256: str
    model: ModelSession
    warm_up: Measured
    warm_up_elements: int
    batches: BatchRule
    guard: ModelGuard
    capacity: int
    memory_bytes: int = 0
    memory_ticket: int = 0
    stalled: RunRefused | None = None
    on_hang: Callable[["ServedModel", RunRefused], None] | None = None
    lane: Lane = field(init=False)
    latency: LatencyWindow = field(default_factory=LatencyWindow)
    counts: RunCounts = field(default_factory=RunCounts)
    _turn: LoopTurn = field(init=False)
    _proven: BatchRule = field(init=False)
    _waits: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._proven = self.batches
        self.guard.tell(self)
        pace_s = self.warm_up.latency_p50_seconds
        self.lane = Lane(
            f"model-{self.name}",
            self.capacity,
            self.guard.in_thread.run,
            self.batches.most_items,
            pace_s=pace_s,
        )
        quick_jobs = int(_WAITING_S / max(pace_s, 1e-6))
        bound = QueueBound(max(self.capacity, quick_jobs), pace_s)
        self._turn = LoopTurn(self.guard.on_loop.run, self.batches.inline_items, bound, INLINE_S / 2)

    @property
    def provider(self) -> str:
        """The execution provider that runs the model."""
        return self.model.proof.provider

    @property
    def inline(self) -> bool:
        """Tell whether the model is quick enough to run one item on the event loop."""
        return self.warm_up.latency_p50_seconds < INLINE_S

    @property
    def waiting(self) -> int:
        """Jobs that wait or run."""
        return self.lane.waiting + self._turn.waiting

    @property
    def full(self) -> bool:
        """Tell whether there is no place for a job that comes now; what is too large for the loop counts as others."""
        on_loop = self.inline and not self._waits and not self.lane.waiting
        return self._turn.full if on_loop else self.lane.full

    @property
    def wait_s(self) -> float:
        """How long a job that comes now would wait."""
        return self.lane.wait_s + self._turn.wait_s

    @property
    def measured(self) -> Measured:
        """The live figures where there are enough requests, else those of the warm-up."""
        return self.latency.measured() or self.warm_up

    def batch_as(self, batching: Batching) -> None:
        """Run requests together as the user wants it from now on, as far as was proven; nothing is loaded for it."""
        self.batches = rule = self._proven.within(batching)
        self._waits = rule.most_items > 1 and batching.max_wait_s > 0
        self.lane.batch(rule.most_items, batching.max_wait_s)
        self._turn.batch(rule.inline_items)

    def submit(self, job: InferenceJob) -> None:
        """Let a job run, on the event loop or in the model's thread; its outcome is delivered later on the loop.

        What waits for company does so in the thread: the loop has others to answer meanwhile.

        Raises:
            LaneFull: too many wait.
            RunRefused: a run takes far too long, and nothing is queued behind it.
        """
        if self.stalled is not None:
            raise self.stalled
        quick = job.elements <= self.warm_up_elements and self.inline and not self._waits
        if quick and not self.lane.waiting:
            self._turn.add(job)
        else:
            self.lane.add(job)

    def late(self, why: RunRefused) -> None:
        """Refuse what waits and what comes, until the run that takes too long has ended."""
        self.stalled = why
        self.lane.refuse_waiting(why)

    def over(self) -> None:
        """Take jobs again."""
        self.stalled = None

    def hang(self, why: RunRefused) -> None:
        """Answer whoever waits for the run that does not end, and have the model replaced."""
        self.lane.refuse_waiting(why)
        self.lane.abandon_run(why)
        if self.on_hang is not None:
            self.on_hang(self, why)

    def retire(self) -> None:
        """Let requests that already have this model finish; ONNX Runtime's memory goes with the last of them."""
        self.lane.close()
