"""The first timed runs of a model: they fill ONNX Runtime's arenas and caches, and give the first measured latency."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from fleetfit_api.model_status import Measured, MeasurementSource

from fleetfit_runtime.engine.load_errors import classify_warm_up_error
from fleetfit_runtime.engine.model_session import Array, ModelSession, TensorSpec
from fleetfit_runtime.probe.node_probe import Episode
from fleetfit_runtime.probe.reference_timing import RoundLength, TimedWork

Clock = Callable[[], float]

ROUNDS = 4
ROUND_LENGTH = RoundLength()
BUDGET_S = 1.5
_SEED = 1
_LOAD_STEP = 0.05
# A graph with variable height and width refuses 1x1; these are the sizes that models commonly take.
_VARIABLE_SIZES = (1, 16, 64, 224)


@dataclass(frozen=True, slots=True)
class WarmUp:
    """What the first runs told.

    Args:
        measured: their figures.
        inputs: made-up inputs of one item that the model takes.
    """

    measured: Measured
    inputs: Mapping[str, Array]

    @property
    def input_elements(self) -> int:
        """Elements of all inputs of one run; the figures say nothing about larger ones."""
        return sum(array.size for array in self.inputs.values())


def warm_up(model: ModelSession, episode: Episode, clock: Clock = time.perf_counter) -> WarmUp:
    """Run a model on made-up inputs until its time is known.

    The first run is not counted, since it allocates. Then four rounds are timed, as the networks of the reference run
    are, and the quieter half counts: while a fleet changes, neighbours load models too. After 1.5 s no further round
    begins. How the node was meanwhile goes with the figures, so that a hot or busy node is not taken for a slow model.

    Args:
        model: the model.
        episode: watches the node; begun by the caller, ended here.
        clock: seconds.

    Raises:
        ModelFailure: the model cannot be run.
    """
    names = [output.name for output in model.outputs]
    inputs = _working_inputs(model, names)
    work = TimedWork("warm-up", lambda: model.run(names, inputs))
    begun = clock()
    while not work.rounds or (len(work.rounds) < ROUNDS and clock() - begun < BUDGET_S):
        work.time_round(clock, ROUND_LENGTH)
        episode.look()
    timing, conditions = work.timing(), episode.end()
    measured = Measured(
        latency_p50_seconds=timing.latency_p50_s,
        latency_p95_seconds=timing.latency_p95_s,
        samples=timing.samples,
        source=MeasurementSource.WARM_UP,
        throttled=conditions.throttled,
        cpu_load=round(round(conditions.others_load / _LOAD_STEP) * _LOAD_STEP, 2),
        power_watts=float(f"{conditions.power.watts:.3g}") if conditions.power else None,
    )
    return WarmUp(measured, inputs)


def _working_inputs(model: ModelSession, names: Sequence[str]) -> dict[str, Array]:
    last_error: Exception | None = None
    for inputs in _candidate_inputs(model.inputs):
        try:
            model.run(names, inputs)
        except Exception as error:
            last_error = last_error or error
        else:
            return inputs
    raise classify_warm_up_error(last_error or RuntimeError("no inputs"))


def _candidate_inputs(specs: Sequence[TensorSpec]) -> Iterator[dict[str, Array]]:
    rng = np.random.default_rng(_SEED)
    sizes = _VARIABLE_SIZES if any(-1 in spec.shape[1:] for spec in specs) else _VARIABLE_SIZES[:1]
    for size in sizes:
        yield {spec.name: _made_up(spec, size, rng) for spec in specs if spec.required}


def _made_up(spec: TensorSpec, variable_size: int, rng: np.random.Generator) -> Array:
    if spec.tensor_type is None:
        raise classify_warm_up_error(
            TypeError(f"input {spec.name!r} has the type {spec.onnx_type}, which the protocol cannot carry")
        )
    shape = [size if size >= 0 else variable_size for size in spec.shape]
    if spec.shape and spec.shape[0] == -1:
        shape[0] = 1  # a batch of one
    dtype = spec.tensor_type.dtype
    if dtype.kind == "f":
        # Not zeros: a processor may take a shorter way through them.
        return rng.random(shape, dtype=np.float32).astype(dtype)
    if dtype.kind == "O":
        return np.full(shape, "", dtype=object)
    return np.zeros(shape, dtype=dtype)  # Zero is an index that every embedding has.
