"""`fleetfit suite describe`: what ONNX files cost."""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fleetfit_cli.command_words import add_shape_argument, parsed_shapes
from fleetfit_cli.console import write

if TYPE_CHECKING:
    from fleetfit_cli.suites.variant_file import VariantFile

DESCRIPTION: Final = """\
Show what one inference of an ONNX file costs: work, memory and operators, as ONNX Runtime will run it, for a batch of
one. Operators whose cost is not known are counted by name. No node is needed, and the file is not run.
"""
EXAMPLES: Final = """\
  fleetfit suite describe cnn-int8.onnx
  fleetfit suite describe --shape image=1,3,224,224 --kernels resnet.onnx
  fleetfit suite describe --output json variants/*.onnx
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which words the command takes."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="ONNX file")
    parser.add_argument(
        "--output", choices=sorted(_FORMATS), default="table", help="yaml and json: a list with all figures"
    )
    parser.add_argument(
        "--kernels", action="store_true", help="list the kernels with their sizes in the table too"
    )
    add_shape_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Describe the files."""
    from fleetfit_cli.suites.figures import GivenFigures

    given = GivenFigures(shapes=parsed_shapes(arguments.shape))
    files = [given.read(path) for path in arguments.files]
    write(_FORMATS[arguments.output](files, arguments.kernels))


def _table(files: "Sequence[VariantFile]", kernels: bool) -> str:
    from fleetfit_cli.suites.description import table

    return "\n".join(table(file, kernels=kernels) for file in files)


def _yaml(files: "Sequence[VariantFile]", _: object) -> str:
    import yaml

    from fleetfit_cli.suites.description import document

    return str(yaml.safe_dump([document(file) for file in files], sort_keys=False, width=110))


def _json(files: "Sequence[VariantFile]", _: object) -> str:
    from fleetfit_cli.suites.description import document

    return json.dumps([document(file) for file in files], indent=1) + "\n"


_FORMATS: Final[Mapping[str, "Callable[[Sequence[VariantFile], bool], str]"]] = {
    "table": _table,
    "yaml": _yaml,
    "json": _json,
}
