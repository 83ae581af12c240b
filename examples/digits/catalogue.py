"""Which variants the suite has and where their files are."""

from dataclasses import dataclass
from pathlib import Path

from fleetfit_api.suite import Precision

DIRECTORY = Path(__file__).parent / "variants"
SUITE_FILE = Path(__file__).parent / "suite.yaml"


@dataclass(frozen=True, slots=True)
class Recipe:
    """One variant: a trained network in one number format."""

    network: str
    precision: Precision

    @property
    def name(self) -> str:
        """Name of the variant."""
        return f"{self.network}-{self.precision}"

    @property
    def path(self) -> Path:
        """Its file."""
        return DIRECTORY / f"{self.name}.onnx"


RECIPES = (
    Recipe("residual-wide", Precision.FP32),
    Recipe("residual-wide", Precision.FP16),
    Recipe("residual-wide", Precision.INT8),
    Recipe("residual-pruned", Precision.FP32),
    Recipe("residual-pruned", Precision.INT8),
    Recipe("residual-compact", Precision.FP32),
    Recipe("residual-compact", Precision.INT8),
    Recipe("depthwise", Precision.FP32),
    Recipe("cnn-small", Precision.FP32),
    Recipe("mlp", Precision.FP32),
)
