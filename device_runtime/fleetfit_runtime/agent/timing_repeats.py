"""Times a model again whose figures were taken while other work or heat slowed the node, once the node is calm.

Such figures correct no prediction, so without this a node whose models all loaded during a busy minute, such as the
first after a power cut, would be judged by the others of its class for good. It does not know how a model is timed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from fleetfit_api.model_status import BUSY_LOAD, Measured

from fleetfit_runtime.engine.served_model import ServedModel
from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.probe.node_probe import NodeReading

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TimingPolicy:
    """When to time a model again.

    Attributes:
        calm_load: The processors' load up to which the node counts as calm.
        first_wait_s: Seconds before disturbed figures are taken again; doubles with every repeat.
        most_repeats: How often figures are taken again, since a node may never be calm for long enough.
    """

    calm_load: float = 0.5
    first_wait_s: float = 15.0
    most_repeats: int = 7


@dataclass(slots=True)
class _Turn:
    since_s: float
    repeats: int = 0


class TimingRepeats:
    """Decides which model's turn it is. Pure: times and the state of the node come in as values.

    Args:
        policy: when to time again.
    """

    def __init__(self, policy: TimingPolicy) -> None:
        self._policy = policy
        self._turns: WeakKeyDictionary[ServedModel, _Turn] = WeakKeyDictionary()

    def due(self, now_s: float, reading: NodeReading, models: Sequence[ServedModel]) -> ServedModel | None:
        """Return a model to time now, the longest waiting first; None without one."""
        disturbed = [model for model in models if was_disturbed(model.warm_up)]
        for model in disturbed:
            self._turns.setdefault(model, _Turn(now_s))
        load = reading.load
        if reading.throttled or (load is not None and load.total > self._policy.calm_load):
            return None
        ready = [model for model in disturbed if self._may_repeat(now_s, model)]
        return min(ready, key=lambda model: self._turns[model].since_s, default=None)

    def timed(self, now_s: float, model: ServedModel) -> None:
        """Note that a model was timed."""
        turn = self._turns.setdefault(model, _Turn(now_s))
        turn.since_s = now_s
        turn.repeats += 1

    def _may_repeat(self, now_s: float, model: ServedModel) -> bool:
        turn = self._turns[model]
        if model.waiting or turn.repeats >= self._policy.most_repeats:
            return False
        return now_s >= turn.since_s + self._policy.first_wait_s * float(2**turn.repeats)


class TimingKeeper:
    """Times models again whenever that is due.

    Args:
        repeats: decides when.
        models: what is served.
        reading: state of the node as it was last seen.
        time_again: times a model and keeps its figures.
        changed: called when there are new figures.
        look_interval_s: how often it is asked whether one is due.
    """

    def __init__(
        self,
        repeats: TimingRepeats,
        models: Callable[[], Sequence[ServedModel]],
        reading: Callable[[], NodeReading],
        time_again: Callable[[ServedModel], Awaitable[Measured]],
        changed: Callable[[], None],
        look_interval_s: float = 5.0,
    ) -> None:
        self._repeats = repeats
        self._models = models
        self._reading = reading
        self._time_again = time_again
        self._changed = changed
        self._look_interval_s = look_interval_s

    async def run(self) -> None:
        """Look for ever, until cancelled."""
        while True:
            await asyncio.sleep(self._look_interval_s)
            await self.look()

    async def look(self) -> None:
        """Time one model again if that is due now."""
        now_s = asyncio.get_running_loop().time
        model = self._repeats.due(now_s(), self._reading(), self._models())
        if model is None:
            return
        try:
            measured = await self._time_again(model)
        except ModelFailure as failure:
            logger.warning("model not timed again", extra={"model": model.name, "error": failure.message})
        else:
            values = {"model": model.name, "variant": model.variant, "disturbed": was_disturbed(measured)}
            logger.info("model timed again", extra=values)
            self._changed()
        self._repeats.timed(now_s(), model)


def was_disturbed(measured: Measured) -> bool:
    """Tell whether heat or other work slowed the processor during a timing."""
    return measured.throttled or measured.cpu_load >= BUSY_LOAD
