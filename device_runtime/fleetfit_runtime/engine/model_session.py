"""A model that is ready to run, as the rest of the runtime sees it: its tensors, its run, and what runs it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np

from fleetfit_runtime.engine.compiled_models import CompiledPlace
from fleetfit_runtime.engine.providers import ProviderProof
from fleetfit_runtime.engine.tensor_types import TensorType

Array = np.ndarray[Any, np.dtype[Any]]


class RunModel(Protocol):
    """Runs a graph once and returns the wanted outputs; the inputs must be those of the graph."""

    def __call__(self, output_names: Sequence[str], inputs: Mapping[str, Array], /) -> list[Array]:
        """Run it; blocks, without the interpreter's lock."""


class RunWithOptions(Protocol):
    """Runs a graph once, with options of ONNX Runtime for this run."""

    def __call__(
        self, output_names: Sequence[str], inputs: Mapping[str, Array], options: Any, /
    ) -> list[Array]:
        """Run it; blocks, without the interpreter's lock."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a model.

    Args:
        name: its name in the graph.
        tensor_type: element type; None when the protocol cannot carry it.
        onnx_type: element type as ONNX Runtime names it.
        shape: dimensions, -1 where they vary.
        required: False for an input with a default value in the graph.
    """

    name: str
    tensor_type: TensorType | None
    onnx_type: str
    shape: tuple[int, ...]
    required: bool = True


@dataclass(frozen=True, slots=True)
class ModelSession:
    """A session that is ready to run.

    Attributes:
        run_with: runs it.
        inputs: its inputs.
        outputs: its outputs.
        proof: what runs it.
        new_options: makes the options of a run; `terminate` set on them ends it at the next operator.
        compiled: where its provider keeps what it compiled, None where nothing is kept.
    """

    run_with: RunWithOptions
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    proof: ProviderProof
    new_options: Callable[[], Any] = SimpleNamespace
    compiled: CompiledPlace | None = None

    def run(self, output_names: Sequence[str], inputs: Mapping[str, Array], /) -> list[Array]:
        """Run it without options."""
        return self.run_with(output_names, inputs, None)
