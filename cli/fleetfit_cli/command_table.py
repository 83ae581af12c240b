"""All commands, with the module of each. A new command is a module under `commands` and a line here."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol, cast

if TYPE_CHECKING:
    import argparse


class CommandModule(Protocol):
    """What the module of a command has.

    Attributes:
        DESCRIPTION: What the command does, for its help.
        EXAMPLES: Lines that can be typed.
    """

    DESCRIPTION: str
    EXAMPLES: str

    def add_arguments(self, parser: "argparse.ArgumentParser") -> None:
        """Say which words the command takes."""

    def run(self, arguments: "argparse.Namespace") -> None:
        """Do it.

        Raises:
            CommandError: it cannot be done; the message says why.
        """


@dataclass(frozen=True, slots=True)
class Command:
    """A command by the words that call it."""

    words: tuple[str, ...]
    module: str
    summary: str

    @property
    def name(self) -> str:
        """The words as they are typed."""
        return " ".join(self.words)

    def load(self) -> CommandModule:
        """Import the command's module."""
        return cast(CommandModule, import_module(f"fleetfit_cli.commands.{self.module}"))


COMMANDS: Final = (
    Command(("suite", "describe"), "suite_describe", "show what ONNX files cost: work, memory, operators"),
    Command(("suite", "build"), "suite_build", "write a ModelSuite from ONNX files, or refresh one"),
    Command(("graphs",), "graphs", "write the graphs that are measured to train the predictor"),
    Command(("measure",), "measure", "time the graphs on this machine"),
    Command(("train",), "train", "train the predictor from measurements"),
    Command(("references",), "references", "show which networks would make the best reference set"),
    Command(("retrain",), "retrain", "teach the predictor what a cluster's nodes have timed"),
)


def commands_under(words: tuple[str, ...], commands: Iterable[Command] = COMMANDS) -> list[Command]:
    """Return the commands that begin with these words."""
    return [command for command in commands if command.words[: len(words)] == words]
