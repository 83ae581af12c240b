"""Finds out how many items of a model may run as one batch, and proves that items do not change each other's outputs.

A variable first dimension need not be a batch: a mean over it, or a quantisation scale taken of all items, makes the
answer for one item depend on its neighbours. So nothing is batched that was not seen to give the same answers alone and
together, and nothing that gains no time by it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from fleetfit_api.batching import Batching

from fleetfit_runtime.engine.model_session import Array, ModelSession, TensorSpec

Clock = Callable[[], float]

MOST_ITEMS: Final = 16
# The least share of its time that an item must save at every doubling.
LEAST_GAIN: Final = 0.1
# Sums in another order differ in the last digits; a dependence between items is far larger.
_TOLERANCE: Final = 1e-3
_QUICK_S: Final = 0.005
# So long a run fills the processor by itself, and trying batches would take memory that stays taken.
_SLOW_S: Final = 0.02
_REPEATS: Final = 5
_SEED: Final = 2


@dataclass(frozen=True, slots=True)
class BatchRule:
    """How many items may run together.

    Args:
        most_items: most of them; 1 for a model that runs one request at a time.
        inline_items: most of them within the time for which the event loop may be held up.
    """

    most_items: int = 1
    inline_items: int = 1

    def within(self, batching: Batching) -> "BatchRule":
        """Return the rule within what the user allows: never more than was proven."""
        limit = (batching.max_items or self.most_items) if batching.enabled else 1
        return BatchRule(min(self.most_items, limit), min(self.inline_items, limit))


def prove_batching(
    model: ModelSession,
    item: Mapping[str, Array],
    inline_s: float,
    clock: Clock = time.perf_counter,
) -> BatchRule:
    """Return the rule for a model.

    Doubles the number of items while the answers stay those of the items alone and each doubling saves a tenth of the
    time of an item.

    Args:
        model: the model.
        item: working inputs of one item.
        inline_s: how long the event loop may be held up, in seconds.
        clock: seconds.
    """
    if not may_be_batched(model.inputs, model.outputs):
        return BatchRule()
    names = [output.name for output in model.outputs]
    trial = _Trial(model, names, item, clock)
    try:
        return trial.rule(inline_s)
    except Exception:
        # Whatever it is that a batch does to this model, it is served without batches.
        return BatchRule()


def may_be_batched(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> bool:
    """Tell whether every tensor has a variable first dimension and a fixed size of element."""
    return all(
        spec.shape[:1] == (-1,) and spec.tensor_type is not None and spec.tensor_type.item_bytes > 0
        for spec in (*(spec for spec in inputs if spec.required), *outputs)
    )


class _Trial:
    """Runs items alone and together."""

    def __init__(
        self, model: ModelSession, names: Sequence[str], item: Mapping[str, Array], clock: Clock
    ) -> None:
        self._run = model.run
        self._names = names
        self._clock = clock
        rng = np.random.default_rng(_SEED)
        self._items = [_another(item, rng) for _ in range(MOST_ITEMS)]
        self._alone: list[Sequence[Array]] = []

    def rule(self, inline_s: float) -> BatchRule:
        before_s = self._time(self._items[:1])
        if before_s > _SLOW_S:
            return BatchRule()
        most = inline = count = 1
        while count < MOST_ITEMS:
            count *= 2
            together = self._items[:count]
            if not self._same_answers(together):
                break
            took_s = self._time(together)
            if took_s / count > (1 - LEAST_GAIN) * before_s:
                break
            before_s, most = took_s / count, count
            if took_s < inline_s:
                inline = count
        return BatchRule(most, inline)

    def _time(self, items: Sequence[Mapping[str, Array]]) -> float:
        stacked = _stacked(items)
        times: list[float] = []
        while len(times) < _REPEATS:
            begun_s = self._clock()
            self._run(self._names, stacked)
            times.append(self._clock() - begun_s)
            if times[-1] > _QUICK_S and len(times) >= 2:
                break
        return min(times)

    def _same_answers(self, items: Sequence[Mapping[str, Array]]) -> bool:
        while len(self._alone) < len(items):
            self._alone.append(self._run(self._names, self._items[len(self._alone)]))
        together = self._run(self._names, _stacked(items))
        return all(
            array.shape[:1] == (len(items),)
            and all(
                _close(array[index : index + 1], self._alone[index][output]) for index in range(len(items))
            )
            for output, array in enumerate(together)
        )


def _another(item: Mapping[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    """Return an item like the one that is known to work, with other values of unlike sizes."""
    made: dict[str, Array] = {}
    for name, array in item.items():
        if array.dtype.kind == "f":
            scale = 4.0 ** rng.integers(-2, 3)
            made[name] = (scale * rng.normal(size=array.shape)).astype(array.dtype)
        else:
            # 0 and 1 are values that every embedding and every mask has.
            made[name] = rng.integers(0, 2, array.shape).astype(array.dtype)
    return made


def _stacked(items: Sequence[Mapping[str, Array]]) -> Mapping[str, Array]:
    if len(items) == 1:
        return items[0]
    return {name: np.concatenate([item[name] for item in items]) for name in items[0]}


def _close(one: Array, other: Array) -> bool:
    if one.shape != other.shape:
        return False
    if one.dtype.kind != "f":
        return bool(np.array_equal(one, other))
    scale = max(float(np.max(np.abs(other), initial=0.0)), 1e-6)
    return bool(np.allclose(one, other, rtol=_TOLERANCE, atol=_TOLERANCE * scale, equal_nan=True))
