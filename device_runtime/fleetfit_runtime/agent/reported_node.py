"""The node as far as the control plane is told of it; put together before there is a client of the API server."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from fleetfit_api.node_inference import NodeInferenceStatus

from fleetfit_runtime.agent.agent import Agent

BuildStatus = Callable[[NodeInferenceStatus, datetime], NodeInferenceStatus]


@dataclass(frozen=True, slots=True)
class ReportedNode:
    """The node.

    Attributes:
        name: its name, and that of its object.
        agent: takes specs.
        build: makes the status of this moment from the one written last and the time.
        changed: set when the status may have changed.
        looked_at: waits until the node was looked at once, so that what it said before a restart is not taken back for
            a moment.
    """

    name: str
    agent: Agent
    build: BuildStatus
    changed: asyncio.Event
    looked_at: Callable[[], Awaitable[None]]


async def follow_later(environment: Mapping[str, str], node: ReportedNode, rng: random.Random) -> None:
    """Do what `follow_control_plane` does, which is imported in a thread first."""
    follow = await asyncio.to_thread(_import_follower)
    await follow(environment, node, rng)


def _import_follower() -> "Callable[[Mapping[str, str], ReportedNode, random.Random], Awaitable[None]]":
    """Import what needs a client of the API server."""
    from fleetfit_runtime.agent.control_plane import follow_control_plane

    return follow_control_plane
