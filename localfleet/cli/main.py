"""From the words on the command line to the command, and from its errors to a sentence."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console

from localfleet.build.builder import BuildError
from localfleet.build.toolchain import NoGoError
from localfleet.cli import lifecycle
from localfleet.cli.demo import demo
from localfleet.cli.display import Display
from localfleet.cli.nodes import node
from localfleet.cli.parser import build_parser
from localfleet.cli.tools import tool
from localfleet.control_socket import ControlError, NotListeningError
from localfleet.controlplane.lock import StateDirInUseError
from localfleet.node.profile import ProfileError
from localfleet.process.child import ChildDiedError

_COMMANDS: Final = {
    "build": lifecycle.build,
    "up": lifecycle.up,
    "down": lifecycle.down,
    "status": lifecycle.status,
    "node": node,
    "demo": demo,
    "kubectl": tool,
    "helm": tool,
}
_EXPECTED_ERRORS: Final = (
    BuildError,
    ChildDiedError,
    ControlError,
    NoGoError,
    ProfileError,
    StateDirInUseError,
    TimeoutError,
)


def main(words: Sequence[str]) -> int:
    """Run a command and give its exit code."""
    arguments = build_parser().parse_args(words)
    display = Display(Console())
    errors = Display(Console(stderr=True))
    try:
        return _COMMANDS[arguments.command](arguments, display)
    except NotListeningError:
        errors.error(f"No fleet runs in {arguments.state_dir}; start one with `localfleet up`.")
    except _EXPECTED_ERRORS as error:
        errors.error(str(error))
    except BaseExceptionGroup as group:
        known, unknown = group.split(_EXPECTED_ERRORS)
        if unknown is not None:
            raise
        for expected in known.exceptions if known else ():
            errors.error(str(expected))
    except KeyboardInterrupt:
        return 130
    return 1
