"""What a user says about variants beside their files: accuracies, precisions, input shapes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fleetfit_api.suite import Precision

from fleetfit_cli.console import note
from fleetfit_cli.errors import WrongUseError
from fleetfit_cli.suites.input_shapes import InputShape
from fleetfit_cli.suites.variant_file import VariantFile, read_variant_file


@dataclass(frozen=True, slots=True)
class GivenFigures:
    """What was given on the command line.

    Attributes:
        accuracies: By name of the variant.
        precisions: By name of the variant, instead of what the weights say.
        shapes: Sizes of inputs with open dimensions.
    """

    accuracies: Mapping[str, float] = field(default_factory=dict)
    precisions: Mapping[str, Precision] = field(default_factory=dict)
    shapes: tuple[InputShape, ...] = ()

    def read(self, path: Path) -> VariantFile:
        """Read a file with these shapes, and say on standard error what its features lack.

        Raises:
            WrongUseError: it is no ONNX file that a node can run.
        """
        file = read_variant_file(path, self.shapes)
        for fix in file.open_inputs:
            note(f"{path}: open dimensions count as 1; give the sizes in use, as in --shape {fix}")
        if names := file.features.unknown_operators:
            note(f"{path}: the cost of {', '.join(names)} is not known, so predictions will be wide")
        return file


def detected_precision(name: str, file: VariantFile) -> Precision:
    """Return the precision that the weights show.

    Raises:
        WrongUseError: they are in a format that suites have no word for.
    """
    precision = file.formats.precision
    if precision is None:
        formats = ", ".join(file.formats.elements)
        raise WrongUseError(
            f"{name}: its weights are {formats}, a suite has {', '.join(Precision)}: "
            f"say how it counts, as in --precision {name}=int8"
        )
    return precision
