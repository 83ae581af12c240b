"""Words that several commands take, and how what is wrong in one becomes a sentence."""

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from fleetfit_cli.errors import WrongUseError

if TYPE_CHECKING:
    from fleetfit_cli.suites.input_shapes import InputShape

Parsed = TypeVar("Parsed")


def as_argument(parse: Callable[[str], Parsed]) -> Callable[[str], Parsed]:
    """Return the parser with its ValueErrors as argparse wants them, so that the user sees the message."""

    def parsed(text: str) -> Parsed:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parsed


def positive(text: str) -> float:
    """Return a number above 0.

    Raises:
        ValueError: it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ValueError(f"{text!r} is no number above 0")
    return number


def add_shape_argument(parser: argparse.ArgumentParser) -> None:
    """Add --shape, which every command that reads ONNX files has."""
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="INPUT=SIZES",
        help="sizes of an input with open dimensions, as in image=1,3,224,224 (default: 1 for each that is open)",
    )


def parsed_shapes(texts: Sequence[str]) -> "tuple[InputShape, ...]":
    """Return the shapes that --shape was given.

    Raises:
        WrongUseError: one is none.
    """
    # Parsed late: the shapes of ONNX inputs are known to a module that imports onnx.
    from fleetfit_cli.suites.input_shapes import InputShape

    try:
        return tuple(InputShape.parse(text) for text in texts)
    except ValueError as error:
        raise WrongUseError(f"--shape: {error}") from error
