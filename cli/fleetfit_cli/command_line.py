"""From typed words to a command: finds it, parses the rest, shows help.

The commands are found by hand instead of by argparse's subparsers: these would import every command to show help, and
cannot mix options with files, as in `suite build NAME --storage-uri URI a.onnx b.onnx`.
"""

import argparse
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from typing import Final, NoReturn

from fleetfit_cli.command_table import Command, CommandModule, commands_under
from fleetfit_cli.console import write
from fleetfit_cli.errors import WrongUseError

_HELP: Final = ("-h", "--help")
_ABOUT: Final = """\
Fleetfit's command line: suites of compressed ONNX files, and the predictor of their latency.
Only `retrain` talks to a cluster; what the others write is applied with kubectl.
"""


class _Parser(argparse.ArgumentParser):
    """A parser that raises where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise WrongUseError(f"{self.prog.removeprefix('fleetfit ')}: {message} (see `{self.prog} --help`)")


def run(words: Sequence[str]) -> None:
    """Run what the words say.

    Raises:
        CommandError: it cannot be done, or there is no such command; the message says why.
        SystemExit: with status 0, after a command's help.
    """
    if list(words) == ["--version"]:
        write(f"fleetfit {_version()}\n")
        return
    command, rest = _find(words)
    if command is None:
        write(_overview(commands_under(tuple(rest)), rest))
        return
    module = command.load()
    module.run(command_parser(command, module).parse_intermixed_args(rest))


def command_parser(command: Command, module: CommandModule) -> argparse.ArgumentParser:
    """Return what parses the words after a command; it raises WrongUseError where argparse would exit."""
    parser = _Parser(
        prog=f"fleetfit {command.name}",
        description=module.DESCRIPTION,
        epilog=f"examples:\n{module.EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    return parser


def _find(words: Sequence[str]) -> tuple[Command | None, list[str]]:
    """Return the command and the words after it, or no command and the words of a group to show."""
    given: list[str] = []
    for position, word in enumerate(words):
        if word in _HELP:
            break
        found = commands_under((*given, word))
        if not found:
            raise WrongUseError(_no_command(given, word))
        given.append(word)
        if found[0].words == tuple(given):
            return found[0], list(words[position + 1 :])
    if not given and not words:
        return None, []
    return None, given


def _no_command(given: Sequence[str], word: str) -> str:
    choices = [command.words[len(given)] for command in commands_under(tuple(given))]
    close = get_close_matches(word, choices, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(dict.fromkeys(choices))}"
    return f"there is no command {' '.join([*given, word])!r}; {hint} (see `fleetfit --help`)"


def _overview(commands: Sequence[Command], given: Sequence[str]) -> str:
    width = max(len(command.name) for command in commands)
    lines = [f"  {command.name:{width}}  {command.summary}" for command in commands]
    usage = " ".join(["fleetfit", *given, "COMMAND"])
    return (
        f"usage: {usage} [WORDS]\n\n{_ABOUT}\ncommands:\n"
        + "\n".join(lines)
        + f"\n\n`{usage} --help` says more about one of them, with examples.\n"
    )


def _version() -> str:
    try:
        return version("fleetfit")
    except PackageNotFoundError:
        return "(not installed: run from its sources)"
