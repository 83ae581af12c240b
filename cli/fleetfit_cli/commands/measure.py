"""`fleetfit measure`: times the training graphs on this machine."""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from fleetfit_cli.command_words import as_argument, positive
from fleetfit_cli.commands.graphs import write_graphs
from fleetfit_cli.errors import FailedError, WrongUseError

if TYPE_CHECKING:
    from fleetfit_training.measurements import Setting

DESCRIPTION: Final = """\
Time the training graphs on this machine with ONNX Runtime, in one or more settings, and write a table per setting to
DATA/MACHINE, replacing those that are there. A setting is PROVIDER-tTHREADS with a CPU quota where wanted: cpu-t1,
cpu-t2-q0.5 (half a core), openvino-t1, cpu-basic-t1 (basic graph optimisation). Quotas need root. The machine should do
nothing else meanwhile; at least one pass is made, and further ones while there is time left.
"""
EXAMPLES: Final = """\
  fleetfit measure --machine my-board --data training/data --budget-s 1200 cpu-t1 cpu-t4
  fleetfit measure --machine my-board --graphs build/graphs --data out --budget-s 600 cpu-t1-q0.5
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which words the command takes."""
    parser.add_argument(
        "settings", nargs="+", metavar="SETTING", help="such as cpu-t1, cpu-t2-q0.5 or openvino-t1"
    )
    parser.add_argument("--machine", required=True, metavar="NAME", help="name of this machine in the data")
    parser.add_argument(
        "--data", required=True, type=Path, metavar="DIR", help="where the data of all machines is"
    )
    parser.add_argument(
        "--graphs",
        type=Path,
        metavar="DIR",
        help="what `fleetfit graphs` wrote (default: written anew, with onnx)",
    )
    parser.add_argument(
        "--budget-s",
        required=True,
        type=as_argument(positive),
        metavar="S",
        help="seconds after which no further pass begins",
    )
    parser.add_argument(
        "--sweeps",
        type=int,
        choices=range(1, 10),
        default=1,
        metavar="N",
        help="go through all graphs N times, 1 to 9, and take the sweep in the middle: for settings that some minutes "
        "are slower in, such as several threads on a shared host (default: 1)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Measure and write the tables."""
    for name in arguments.settings:
        _setting(name)
    if Path(arguments.machine).name != arguments.machine or arguments.machine in {".", ".."}:
        raise WrongUseError(
            f"measure: {arguments.machine!r} is no name for a machine: it becomes a directory in DATA"
        )
    if arguments.graphs is not None:
        _measure(arguments)
        return
    with TemporaryDirectory(prefix="fleetfit-graphs-") as directory:
        arguments.graphs = Path(directory)
        write_graphs(arguments.graphs)
        _measure(arguments)


def _setting(name: str) -> "Setting":
    from fleetfit_training.measurements import Setting

    try:
        return Setting.parse(name)
    except ValueError as error:
        raise WrongUseError(f"measure: {error}") from error


def _measure(arguments: argparse.Namespace) -> None:
    from fleetfit_training import measure
    from fleetfit_training.measurements import INDEX_FILE

    if not (arguments.graphs / INDEX_FILE).is_file():
        raise WrongUseError(
            f"measure: {arguments.graphs} holds no graphs: write them by `fleetfit graphs {arguments.graphs}`"
        )
    try:
        measure.run(arguments)
    except OSError as error:
        of_quota = str(error.filename).startswith("/sys/")
        hint = "; a CPU quota, -q in a setting, needs root" if of_quota else ""
        raise FailedError(f"measure: {error.filename}: {error.strerror}{hint}") from error
    except RuntimeError as error:
        raise FailedError(f"measure: {error}") from error
    except Exception as error:
        # ONNX Runtime's own errors have no base of their own, but their module.
        if not type(error).__module__.startswith("onnxruntime."):
            raise
        raise FailedError(f"measure: ONNX Runtime says {error}") from error
