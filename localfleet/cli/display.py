"""What a person sees: tables and one line for each thing that happens. It decides nothing."""

from collections.abc import Mapping
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

_STATE_STYLES: Final = {
    "Running": "green",
    "Starting": "yellow",
    "Stopping": "yellow",
    "Cut": "yellow",
    "Killed": "red",
    "Died": "red",
}
_PORT_OF: Final = {
    "etcd": "etcd_client",
    "kube-apiserver": "api",
    "kube-controller-manager": "controller_manager",
    "kube-scheduler": "scheduler",
}


class Display:
    """Writes to one console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def line(self, text: str, style: str = "") -> None:
        """Write a line as it is."""
        self.console.print(Text(text, style=style), soft_wrap=True)

    def error(self, text: str) -> None:
        """Write what went wrong."""
        self.line(text, style="red")

    def starting(self, what: str) -> None:
        """Say what is being started."""
        self.line(f"Starting {what}")

    def running(self, status: Mapping[str, Any]) -> None:
        """Show the whole fleet and how to stop it."""
        self.status(status)
        self.line("Press Ctrl-C to stop.", style="dim")

    def node_died(self, reason: str) -> None:
        """Say that a node has died."""
        self.error(reason)

    def stopping(self) -> None:
        """Say that the fleet is being stopped."""
        self.line("Stopping the fleet")

    def status(self, status: Mapping[str, Any]) -> None:
        """Show the whole fleet."""
        table = _table("COMPONENT", "STATE", "PORT", "PID")
        for component in status["components"]:
            port = status["ports"].get(_PORT_OF.get(component["name"], ""), "")
            table.add_row(component["name"], _state(component["state"]), str(port), str(component["pid"]))
        self.console.print(table)
        self.console.print()
        if status["nodes"]:
            self.nodes(status["nodes"])
            self.console.print()
        self.line(f"Fleet       {status['phase']}, {len(status['nodes'])} nodes")
        self.line(f"API server  {status['server']}")
        self.line(f"Kubeconfig  {status['kubeconfig']}")
        self.line(f"Logs        {status['state_dir']}/logs")

    def nodes(self, nodes: "list[Mapping[str, Any]]") -> None:
        """Show nodes."""
        table = _table("NODE", "STATE", "PROFILE", "ADDRESS", "PID")
        for node in nodes:
            pid = "" if node["pid"] is None else str(node["pid"])
            table.add_row(node["name"], _state(node["state"]), node["profile"], node["address"], pid)
        self.console.print(table)


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _state(state: str) -> Text:
    return Text(state, style=_STATE_STYLES.get(state, ""))
