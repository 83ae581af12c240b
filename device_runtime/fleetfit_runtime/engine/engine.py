"""Loads models off the event loop, one at a time so that a warm-up is not disturbed by another load."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fleetfit_runtime.engine.lane import Lane
from fleetfit_runtime.engine.served_model import ServedModel
from fleetfit_runtime.engine.session import ModelSession, OnnxRuntime
from fleetfit_runtime.engine.warm_up import WarmUp, warm_up

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """What to load and what it will be called."""

    name: str
    variant: str
    sha256: str
    path: Path


class Engine:
    """Turns files into served models.

    Args:
        runtime: builds the sessions.
        max_waiting_requests: capacity of each model's queue.
        on_loaded: told the seconds that a load took, by model name.
    """

    def __init__(
        self,
        runtime: OnnxRuntime,
        max_waiting_requests: int,
        on_loaded: Callable[[str, float], None] = lambda _name, _seconds: None,
    ) -> None:
        self._runtime = runtime
        self._max_waiting = max_waiting_requests
        self._on_loaded = on_loaded
        self._loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader")

    async def load(self, order: LoadOrder) -> ServedModel:
        """Load, prove and warm up a model; it does not answer requests before it is put in the table.

        Raises:
            ModelFailure: the file cannot be loaded or run here.
        """
        begun = time.monotonic()
        loop = asyncio.get_running_loop()
        model, warmed = await loop.run_in_executor(self._loader, self._load, order.path)
        self._on_loaded(order.name, time.monotonic() - begun)
        lane = Lane(f"model-{order.name}", self._max_waiting)
        return ServedModel(
            name=order.name,
            variant=order.variant,
            sha256=order.sha256,
            model=model,
            warm_up=warmed.measured,
            warm_up_elements=warmed.input_elements,
            lane=lane,
        )

    async def run_undisturbed(self, function: Callable[[], T]) -> T:
        """Run a function between loads, for timings."""
        return await asyncio.get_running_loop().run_in_executor(self._loader, function)

    def close(self) -> None:
        """End the loader thread after what it is doing."""
        self._loader.shutdown(wait=False, cancel_futures=True)

    def _load(self, path: Path) -> tuple[ModelSession, WarmUp]:
        model = self._runtime.load(path)
        return model, warm_up(model)
