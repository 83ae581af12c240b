"""`fleetfit train`: the predictor from measurements."""

import argparse
from importlib.resources import files
from pathlib import Path
from typing import Final

from fleetfit_cli.errors import WrongUseError

DESCRIPTION: Final = """\
Train the predictor on all measurements under DATA, say how good it is on what was held out, and write the model with
its provenance. The same data gives the same model.
"""
EXAMPLES: Final = """\
  fleetfit train
  fleetfit train --data training/data --output build/model
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which words the command takes."""
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="measurements (default: training/data of the sources)"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="where to write (default: the package's own model)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Train and write the model."""
    from fleetfit_training import train
    from fleetfit_training.measurements import DATA_DIR

    if arguments.data is None:
        arguments.data = DATA_DIR
    if arguments.output is None:
        arguments.output = Path(str(files("fleetfit_operator.predict") / "model"))
    if not arguments.data.is_dir():
        raise WrongUseError(
            f"train: there are no measurements in {arguments.data}: say where they are by --data DIR"
        )
    train.run(arguments)
