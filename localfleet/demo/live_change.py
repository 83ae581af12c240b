"""Tightens the latency target while requests go to every node, and counts what the clients notice."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from localfleet.demo.report import LiveChange
from localfleet.demo.traffic import Endpoint, Images, Labels, Tally, TrafficClient

PAUSE_BETWEEN_REQUESTS_S = 0.05


async def change_under_load(
    client: TrafficClient,
    endpoints: Sequence[Endpoint],
    digits: tuple[Images, Labels],
    change: Callable[[], Awaitable[None]],
) -> Mapping[str, Tally]:
    """Send requests to all nodes before, during and after the change; return what came back by node."""
    stop = asyncio.Event()
    images, labels = digits
    async with asyncio.TaskGroup() as group:
        tasks = {
            endpoint.node: group.create_task(
                client.classify_until(endpoint, images, labels, stop, PAUSE_BETWEEN_REQUESTS_S)
            )
            for endpoint in endpoints
        }
        try:
            await change()
        finally:
            stop.set()
    return {node: task.result() for node, task in tasks.items()}


def live_change(
    targets_ms: tuple[float, float],
    tallies: Mapping[str, Tally],
    variants_before: Mapping[str, str],
    variants_after: Mapping[str, str],
) -> LiveChange:
    """Return the figures of the change."""
    switches = {
        node: f"{before} -> {variants_after[node]}"
        for node, before in variants_before.items()
        if variants_after[node] != before
    }
    return LiveChange(
        target_before_ms=targets_ms[0],
        target_after_ms=targets_ms[1],
        requests=sum(tally.requests for tally in tallies.values()),
        failed_requests=sum(tally.failed for tally in tallies.values()),
        nodes_switched=len(switches),
        switches=switches,
    )
