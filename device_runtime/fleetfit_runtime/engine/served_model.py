"""A model that answers requests: its session, its variant, its worker thread and its live latency."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fleetfit_api.node_inference import Measured

from fleetfit_runtime.engine.lane import Lane
from fleetfit_runtime.engine.latency import LatencyWindow
from fleetfit_runtime.engine.session import Array, ModelSession

# A model this quick runs on the event loop itself: handing it to a thread would cost more than the run, and health
# answers are late by no more than this. It holds for what the warm-up ran, one item, and not for a larger batch.
INLINE_P95_S = 0.001


@dataclass(eq=False, slots=True)
class ServedModel:
    """One loaded, warm variant under a model name.

    Args:
        name: name in the Open Inference Protocol.
        variant: name of the variant, the protocol's model version.
        sha256: digest of its file.
        model: the session.
        warm_up: figures of the warm-up.
        warm_up_elements: elements of the inputs of one of its runs.
        lane: the worker thread.
    """

    name: str
    variant: str
    sha256: str
    model: ModelSession
    warm_up: Measured
    warm_up_elements: int
    lane: Lane
    latency: LatencyWindow = field(default_factory=LatencyWindow)

    @property
    def provider(self) -> str:
        """The execution provider that runs the model."""
        return self.model.proof.provider

    @property
    def inline(self) -> bool:
        """Tell whether the model is quick enough to run one item on the event loop."""
        return self.warm_up.latency_p95_seconds < INLINE_P95_S

    def as_small_as_warm_up(self, inputs: Mapping[str, Array]) -> bool:
        """Tell whether inputs are no larger than those whose time the warm-up has measured."""
        return sum(array.size for array in inputs.values()) <= self.warm_up_elements

    @property
    def measured(self) -> Measured:
        """The live figures where there are enough requests, else those of the warm-up."""
        return self.latency.measured() or self.warm_up

    def run(self, output_names: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
        """Run one inference; blocks."""
        return self.model.session.run(output_names, inputs)

    def retire(self) -> None:
        """Let requests that already have this model finish; ONNX Runtime's memory goes with the last of them."""
        self.lane.close()
