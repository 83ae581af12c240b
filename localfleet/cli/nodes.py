"""`node …`: commands to the nodes of a running fleet, through its supervisor."""

import argparse
import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localfleet.cli.display import Display
from localfleet.control_socket import ControlError
from localfleet.node.profile import load_profile
from localfleet.process.child import tail
from localfleet.supervisor import ask


def node(arguments: argparse.Namespace, display: Display) -> int:
    """Run one node command."""
    action: str = arguments.action
    if action == "list":
        display.nodes(_nodes(arguments))
    elif action == "logs":
        _logs(arguments, display)
    elif action == "add":
        command = {"command": "node-add", "profile": _profile(arguments.profile), "name": arguments.name}
        display.nodes([_ask(arguments, command)])
    else:
        display.nodes([_ask(arguments, {"command": f"node-{action}", "name": arguments.name})])
    return 0


def _logs(arguments: argparse.Namespace, display: Display) -> None:
    logs = {entry["name"]: Path(entry["log"]) for entry in _nodes(arguments)}
    if arguments.name not in logs:
        raise ControlError(f"there is no node {arguments.name!r}; nodes: {', '.join(sorted(logs)) or 'none'}")
    display.line(tail(logs[arguments.name], arguments.lines).rstrip("\n"))


def _nodes(arguments: argparse.Namespace) -> list[Mapping[str, Any]]:
    nodes: list[Mapping[str, Any]] = _ask(arguments, {"command": "status"})["nodes"]
    return nodes


def _ask(arguments: argparse.Namespace, command: Mapping[str, Any]) -> dict[str, Any]:
    return asyncio.run(ask(arguments.state_dir, command))


def _profile(name_or_path: str) -> str:
    load_profile(name_or_path)  # a wrong one is reported here, before any process starts
    # The supervisor has another working directory than the user.
    path = Path(name_or_path)
    return str(path.absolute()) if path.suffix == ".yaml" else name_or_path
