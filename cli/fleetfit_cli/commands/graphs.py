"""`fleetfit graphs`: the graphs that are measured to train the predictor."""

import argparse
from pathlib import Path
from typing import Final

from fleetfit_cli.command_words import as_argument, positive
from fleetfit_cli.console import note
from fleetfit_cli.errors import FailedError

DESCRIPTION: Final = """\
Write the graphs that `fleetfit measure` times, some hundred small ONNX files and an index. Every machine gets the same
ones. A board without the onnx package is given the directory.
"""
EXAMPLES: Final = """\
  fleetfit graphs build/graphs
  fleetfit graphs --share 0.1 build/graphs    a tenth of each kind, for a trial
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which words the command takes."""
    parser.add_argument("directory", type=Path, metavar="DIR", help="where to write; made if it is not there")
    parser.add_argument(
        "--share",
        type=as_argument(positive),
        default=1.0,
        metavar="FRACTION",
        help="part of each family and precision, at least one of each (default: 1, what training data is made of)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the graphs."""
    note(f"wrote {write_graphs(arguments.directory, arguments.share)} graphs to {arguments.directory}")


def write_graphs(directory: Path, share: float = 1.0) -> int:
    """Write the graphs and return how many they are.

    Raises:
        FailedError: the directory cannot be written.
    """
    from fleetfit_training.graph_set import training_graphs, write_graph_set

    note(f"building the graphs in {directory}")
    try:
        return write_graph_set(directory, training_graphs(share=share))
    except OSError as error:
        raise FailedError(f"{directory} cannot be written: {error.strerror}") from error
