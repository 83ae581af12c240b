"""`demo`: the whole loop on real parts, from an empty machine to a report."""

import argparse
import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from localfleet.binaries import Binaries
from localfleet.cli.display import Display
from localfleet.cli.lifecycle import find_binaries, up
from localfleet.controlplane.state_dir import StateDir
from localfleet.demo.steps import Steps
from localfleet.fleet import Fleet
from localfleet.images import default_images
from localfleet.node.profile import FleetPlan, load_fleet


def demo(arguments: argparse.Namespace, display: Display) -> int:
    """Run the demo; leave nothing behind unless asked to stay."""
    # Drawing and prediction libraries take a second to import, which no other command should pay.
    from localfleet.demo.run import Demo, DemoCluster

    plan = load_fleet(arguments.fleet)
    binaries = find_binaries(display)
    # The build of the control plane is not part of the result that the demo times.
    began_s = time.monotonic()
    steps = Steps(display.console, began_s)
    nodes = tuple(node.name for node in plan.nodes)
    kubeconfig = StateDir(arguments.state_dir.absolute()).admin_kubeconfig
    target = DemoCluster(kubeconfig, binaries.helm, nodes, stays=arguments.stay)
    run = Demo(target, arguments.output, display.console, steps, began_s).run
    if not arguments.stay:
        asyncio.run(_in_a_fleet_of_its_own(arguments.state_dir, binaries, plan, steps, run))
        return 0
    arguments.detach = True
    if code := up(arguments, display):
        return code
    asyncio.run(run())
    display.line(
        "The fleet stays. Look around with `.venv/bin/python -m localfleet kubectl get infd,msuite,hwc,ninf -A`;"
    )
    display.line("`make down` stops it.")
    return 0


async def _in_a_fleet_of_its_own(
    state_dir: Path, binaries: Binaries, plan: FleetPlan, steps: Steps, run: Callable[[], Awaitable[object]]
) -> None:
    fleet = Fleet(state_dir, binaries, default_images(os.environ))
    async with contextlib.AsyncExitStack() as stack:
        with steps.step("Control plane: etcd, API server, controller manager, scheduler"):
            await stack.enter_async_context(fleet)
        with steps.step(f"Nodes: {len(plan.nodes)} process nodes of unlike makes join"):
            async with asyncio.TaskGroup() as group:
                for node in plan.nodes:
                    group.create_task(fleet.add_node(node.profile, node.name))
            await fleet.wait_until_ready(*(node.name for node in plan.nodes))
        await run()
