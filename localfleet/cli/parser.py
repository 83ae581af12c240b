"""What can be typed: all commands with their options. It runs nothing."""

import argparse
from pathlib import Path
from typing import Final

from localfleet.images import REPOSITORY_ROOT
from localfleet.node.profile import profile_names

DEFAULT_STATE_DIR: Final = REPOSITORY_ROOT / "build" / "localfleet"

_DESCRIPTION: Final = """\
A real Kubernetes control plane and process nodes on this machine, without root and without containers.

Nodes register with the labels and capacity of real devices and run pods as processes. The programs are built
from source the first time (a few minutes), then cached."""

_EPILOG: Final = """\
examples:
  python -m localfleet up --fleet demo          unlike nodes, until Ctrl-C
  python -m localfleet up --detach              a control plane in the background
  python -m localfleet node add raspberry-pi-4  one more node
  python -m localfleet kubectl get nodes        everything after `kubectl` is kubectl's
  python -m localfleet down"""


def build_parser() -> argparse.ArgumentParser:
    """Make the parser; the chosen command is in `command`."""
    parser = argparse.ArgumentParser(
        prog="localfleet",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=DEFAULT_STATE_DIR,
        metavar="DIR",
        help="where the fleet keeps its data, logs and kubeconfig (default: build/localfleet)",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_lifecycle(commands)
    _add_node_commands(commands)
    _add_demo(commands)
    for tool in ("kubectl", "helm"):
        command = commands.add_parser(
            tool, help=f"run {tool} against the fleet", add_help=False, prefix_chars="\0"
        )
        command.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser


def _add_lifecycle(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    commands.add_parser("build", help="build the programs into the cache, as `up` does the first time")
    up = commands.add_parser(
        "up",
        help="start a fleet and run it until Ctrl-C",
        description="Start a control plane, then nodes, and run them until Ctrl-C.",
    )
    up.add_argument("--detach", action="store_true", help="return when the fleet runs; `down` stops it")
    up.add_argument(
        "--fleet", metavar="NAME|FILE", help="nodes to start: a name such as demo, or a file (default: none)"
    )
    commands.add_parser("down", help="stop the fleet")
    status = commands.add_parser("status", help="show components, nodes and how to reach them")
    status.add_argument("--json", action="store_true", help="for programs")


def _add_demo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    demo = commands.add_parser(
        "demo",
        help="show Fleetfit's whole loop on a fleet and write a report",
        description="Start a fleet, install Fleetfit, roll out the digits example, classify held-out digits on every "
        "node, tighten the latency target under load, write report.json and report.png, and clean up.",
    )
    demo.add_argument("--stay", action="store_true", help="leave the fleet running; `down` stops it")
    demo.add_argument("--fleet", default="demo", metavar="NAME|FILE", help="nodes (default: demo)")
    demo.add_argument(
        "--output",
        type=Path,
        default=REPOSITORY_ROOT / "build" / "demo",
        metavar="DIR",
        help="where the report goes (default: build/demo)",
    )


def _add_node_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    node = commands.add_parser("node", help="list, add, cut off, kill and restart nodes")
    actions = node.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="show the nodes")
    add = actions.add_parser("add", help="add a node and wait until it is Ready")
    add.add_argument("profile", help=f"{', '.join(profile_names())}, or the path of a profile file")
    add.add_argument("--name", help="name of the node (default: the profile's with a number)")
    _add_named(actions, "cut", "cut the node and its pods off from the API server; they go on running")
    _add_named(actions, "heal", "undo a cut")
    _add_named(actions, "kill", "kill the node and its pods at once, as if the power went")
    _add_named(actions, "start", "start a node that was killed or has died")
    logs = _add_named(actions, "logs", "show the log of the node's agent")
    logs.add_argument("-n", "--lines", type=int, default=40, help="how many of its last lines (default: 40)")


def _add_named(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]", action: str, description: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(action, help=description, description=f"{description.capitalize()}.")
    parser.add_argument("name", help="name of the node")
    return parser
