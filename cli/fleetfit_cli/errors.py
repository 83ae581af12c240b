"""What ends a command early, with the sentence that a user reads instead of a traceback."""

from typing import ClassVar, Final

_EXTRA_OF_PACKAGE: Final = {
    "onnx": "cli",
    "google": "cli",  # protobuf, which comes with onnx
    "yaml": "cli",
    "numpy": "cli",
    "lightgbm": "cli",
    "scipy": "cli",
    "onnxruntime": "runtime",
}


class CommandError(Exception):
    """The command cannot go on; the message says why and what to do."""

    exit_code: ClassVar[int] = 1


class WrongUseError(CommandError):
    """The words or the files that the user gave are wrong."""

    exit_code: ClassVar[int] = 2


class FailedError(CommandError):
    """This machine does not let the command do its work."""


def missing_package(error: ModuleNotFoundError) -> FailedError | None:
    """Return what to tell about a package that an extra brings, or None for any other."""
    package = (error.name or "").partition(".")[0]
    extra = _EXTRA_OF_PACKAGE.get(package)
    if extra is None:
        return None
    return FailedError(
        f"this command needs the Python package {package}, which is not installed: "
        f"run `pip install 'fleetfit[{extra}]'`"
    )
