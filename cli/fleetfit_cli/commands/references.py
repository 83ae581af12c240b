"""`fleetfit references`: which networks would make the best reference set, beside the one that nodes time."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fleetfit_cli.command_words import as_argument, positive
from fleetfit_cli.console import write
from fleetfit_cli.errors import WrongUseError

DESCRIPTION: Final = """\
Choose the networks whose times tell the most about all others, from the measurements under DATA, and show them beside
the reference set that every node times. It changes nothing: another set makes the reference runs of all nodes worthless
until they have timed it.
"""
EXAMPLES: Final = """\
  fleetfit references
  fleetfit references --longest-ms 1 --data training/data
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which words the command takes."""
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="measurements (default: training/data of the sources)"
    )
    parser.add_argument(
        "--longest-ms",
        type=as_argument(positive),
        default=0.2,
        metavar="MS",
        help="longest time of a network on the usual device in milliseconds (default: 0.2)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Choose and show."""
    from fleetfit_runtime.probe.networks import REFERENCE_NETWORKS
    from fleetfit_training.graph_set import training_graphs
    from fleetfit_training.measurements import DATA_DIR
    from fleetfit_training.reference_design import ReferenceDesign, UsualCosts
    from fleetfit_training.training_data import read_training_data

    try:
        data = read_training_data(arguments.data or DATA_DIR)
        design = ReferenceDesign(list(training_graphs()), data.table, UsualCosts.of(data))
        chosen = design.choose(len(REFERENCE_NETWORKS), arguments.longest_ms / 1000)
    except ValueError as error:
        raise WrongUseError(f"references: {error}") from error
    write(
        comparison(
            chosen, REFERENCE_NETWORKS, design.left_unknown(chosen), design.left_unknown(REFERENCE_NETWORKS)
        )
    )


def comparison(
    chosen: Sequence[str], in_use: Sequence[str], left_by_chosen: float, left_in_use: float
) -> str:
    """Return both sets as text.

    Args:
        chosen: Names of what would be chosen, the most telling first.
        in_use: Names of the set that nodes time.
        left_by_chosen: Part of the expected variance of all graphs that the chosen ones leave, 0 to 1.
        left_in_use: The same of the set in use.
    """
    lines = [
        f"{position:2}  {name}{'  in use' if name in in_use else ''}"
        for position, name in enumerate(chosen, 1)
    ]
    same = len(set(chosen) & set(in_use))
    lines += [
        f"{same} of {len(in_use)} are in use; not chosen: {', '.join(n for n in in_use if n not in chosen) or 'none'}",
        f"variance left: {left_by_chosen:.2%} by the chosen, {left_in_use:.2%} by those in use",
    ]
    return "\n".join(lines) + "\n"
