"""Fixtures of the runtime's tests."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from fleetfit_runtime.serve.http_connection import HttpLimits
from fleetfit_runtime.store.blobs import disk_free_bytes
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
        ) -> Node:
            node = await start_node(
                tmp_path / "store", limits or HttpLimits(), free_bytes, max_waiting, providers
            )
            stack.push_async_callback(node.stop)
            return node

        yield make


@pytest.fixture
async def node(make_node: MakeNode) -> Node:
    return await make_node()
