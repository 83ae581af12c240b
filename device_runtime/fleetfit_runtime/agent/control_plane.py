"""The node's tie to the control plane: its object is watched, its status written.

Imported once the models on the node's disk serve: the client of the API server takes a tenth of a second to import, and
users should not wait for that after a restart.
"""

import asyncio
import logging
import random
from collections.abc import Mapping
from datetime import UTC, datetime

from fleetfit_kube.client import ApiClient
from fleetfit_kube.config import ConfigError, discover

from fleetfit_runtime.agent.reported_node import ReportedNode
from fleetfit_runtime.agent.reporter import ReportTiming, StatusReporter
from fleetfit_runtime.agent.spec_watch import SpecWatch

logger = logging.getLogger(__name__)


async def follow_control_plane(
    environment: Mapping[str, str], node: ReportedNode, rng: random.Random
) -> None:
    """Take specs and report, until cancelled; return at once where there is no control plane.

    Args:
        environment: where to find the API server.
        node: the node.
        rng: source of jitter.
    """
    try:
        connection = discover(environment)
    except ConfigError as error:
        logger.warning("no control plane; serving from disk", extra={"error": str(error)})
        return
    timing = ReportTiming(now=lambda: datetime.now(UTC).replace(microsecond=0), rng=rng)
    async with ApiClient(connection, rng=rng) as client, asyncio.TaskGroup() as group:
        reporter = StatusReporter(client, node.name, node.build, changed=node.changed, timing=timing)
        watch = SpecWatch(client, node.name, node.agent, reporter, rng)
        group.create_task(_report(reporter, node))
        group.create_task(watch.run())
        group.create_task(watch.await_first_list())


async def _report(reporter: StatusReporter, node: ReportedNode) -> None:
    await node.looked_at()
    await reporter.run()
