"""Commands that run beside a container's process: exec probes and lifecycle hooks."""

import asyncio
import contextlib
import dataclasses
from pathlib import Path
from typing import Final

from localfleet.node.child_process import ChildProcess, Launch
from localfleet.node.manifest import Manifest
from localfleet.node.probe_actions import Prober

_NO_SUCH_COMMAND: Final = 127


async def run_beside(command: list[str], launch: Launch, timeout_s: float) -> int:
    """Run a command in the environment of a container and return its exit code; its output is dropped.

    A command that takes longer than the limit is killed.
    """
    argv = tuple(launch.rewrite(word) for word in command)
    try:
        process = ChildProcess.start(dataclasses.replace(launch, argv=argv, log_file=Path("/dev/null")))
    except OSError:
        return _NO_SUCH_COMMAND
    try:
        async with asyncio.timeout(timeout_s):
            return await process.wait()
    finally:
        process.kill()
        await process.wait()


async def run_hook(
    hook: Manifest, launch: Launch, container: Manifest, prober: Prober, limit_s: float
) -> None:
    """Run a lifecycle hook for at most so long; its failure changes nothing, for the container ends anyway."""
    with contextlib.suppress(TimeoutError):
        if sleep := hook.get("sleep"):
            await asyncio.sleep(min(float(sleep["seconds"]), limit_s))
        elif command := hook.get("exec"):
            await run_beside(command["command"], launch, limit_s)
        else:
            probe = {**hook, "timeoutSeconds": max(limit_s, 0.001)}
            await prober.probe(probe, container, lambda argv, timeout_s: run_beside(argv, launch, timeout_s))
