"""Fixtures of the runtime's tests."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from fleetfit_runtime.ratings.source import Network
from fleetfit_runtime.serve.http_limits import HttpLimits
from fleetfit_runtime.store.disk_budget import DiskBudget, disk_free_bytes
from runtime_node import CPU, MakeNode, Node, start_node


@pytest.fixture
async def make_node(tmp_path: Path) -> AsyncIterator[MakeNode]:
    """Start a node; its store is the same for every node of a test, so a second one is the first after a restart."""
    async with AsyncExitStack() as stack:

        async def make(
            limits: HttpLimits | None = None,
            free_bytes: Callable[[Path], int] = disk_free_bytes,
            max_waiting: int = 128,
            providers: tuple[str, ...] = (CPU,),
            clock: Callable[[], float] = time.time,
            trusted: Sequence[Network] = (),
            model_control: bool = True,
            budget: DiskBudget | None = None,
        ) -> Node:
            # No disk has all of itself to spare, so that what nothing needs goes at once.
            budget = budget or DiskBudget(spare_share=1.0, free_bytes=free_bytes)
            node = await start_node(
                tmp_path / "store",
                limits or HttpLimits(),
                budget,
                max_waiting,
                providers,
                clock,
                trusted,
                model_control,
            )
            stack.push_async_callback(node.stop)
            return node

        yield make


@pytest.fixture
async def node(make_node: MakeNode) -> Node:
    return await make_node()
