"""`kubectl …` and `helm …`: this process becomes the tool, with the fleet's kubeconfig."""

import argparse
import os
from typing import NoReturn

from localfleet.cli.display import Display
from localfleet.cli.lifecycle import find_binaries
from localfleet.controlplane.lock import holder
from localfleet.controlplane.state_dir import StateDir


def tool(arguments: argparse.Namespace, display: Display) -> int:
    """Become kubectl or helm; returns only when there is no fleet to talk to."""
    state = StateDir(arguments.state_dir.absolute())
    if holder(state.lock) is None:
        display.error(f"No fleet runs in {state.root}; start one with `localfleet up`.")
        return 1
    return _become(arguments, state, display)


def _become(arguments: argparse.Namespace, state: StateDir, display: Display) -> NoReturn:
    program = find_binaries(display).path(arguments.command)
    words = arguments.arguments
    if words[:1] == ["--"]:
        words = words[1:]
    environment = {**os.environ, "KUBECONFIG": str(state.admin_kubeconfig)}
    os.execve(program, [program.name, *words], environment)  # noqa: S606 - to become the tool is the purpose
