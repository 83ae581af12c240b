"""One ONNX Runtime session: made with a provider chain, described by its tensors, proven by what it says about itself.

The only module that builds sessions. It blocks; the engine calls it from its loader thread.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime

from fleetfit_runtime.engine.load_errors import classify_load_error, plain_message
from fleetfit_runtime.engine.providers import ProviderProof, prove_provider, usable_chain
from fleetfit_runtime.engine.tensor_types import TensorType, tensor_type_of
from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.provider_options import with_options

logger = logging.getLogger(__name__)

Array = np.ndarray[Any, np.dtype[Any]]
_WARNING = 2


class RunSession(Protocol):
    """The part of an ONNX Runtime session that runs it."""

    def run(self, output_names: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
        """Run the graph once."""


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
    """A session that is ready to run."""

    session: RunSession
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    proof: ProviderProof


class OnnxRuntime:
    """Builds sessions with one provider chain and one number of threads.

    Args:
        provider_chain: execution providers in order of preference.
        intra_op_threads: threads of one inference.
    """

    def __init__(self, provider_chain: Sequence[str], intra_op_threads: int) -> None:
        self._chain = tuple(provider_chain)
        self._threads = intra_op_threads
        self._captured: list[str] | None = None
        # Builds before 1.25, such as OpenVINO's, cannot hand their log over; it then goes to standard error.
        if hasattr(onnxruntime, "set_default_logger_callback"):
            onnxruntime.set_default_logger_callback(self._log, _WARNING)

    @property
    def version(self) -> str:
        """Version of ONNX Runtime."""
        return str(onnxruntime.__version__)

    @property
    def available(self) -> list[str]:
        """Providers of this build, and those of plugins that found a device."""
        built_in: list[str] = onnxruntime.get_available_providers()
        plugins = [device.ep_name for device in onnxruntime.get_ep_devices()]
        return list(dict.fromkeys([*built_in, *plugins]))

    def load(self, path: Path) -> ModelSession:
        """Load a model, falling back along the chain where a provider refuses it.

        Raises:
            ModelFailure: no provider can load it.
        """
        available = self.available
        chain = usable_chain(self._chain, available)
        refusals: list[str] = []
        with self._captured_log() as lines:
            while True:
                try:
                    return self._build(path, chain, available, refusals, lines)
                except ModelFailure:
                    raise
                except Exception as error:
                    if len(chain) == 1:
                        raise classify_load_error(error) from error
                    refusals.append(f"{chain[0]}: {plain_message(error)}")
                    logger.warning(
                        "provider refused the model", extra={"provider": chain[0], "error": refusals[-1]}
                    )
                    chain = chain[1:]

    def _build(
        self,
        path: Path,
        chain: Sequence[str],
        available: Sequence[str],
        refusals: Sequence[str],
        log_lines: Sequence[str],
    ) -> ModelSession:
        # enable_fallback=0: ONNX Runtime's own fallback prints to stdout and hides which provider failed and why.
        providers = with_options(chain, self._threads)
        session = onnxruntime.InferenceSession(
            str(path), self._options(), providers=providers, enable_fallback=0
        )
        proof = prove_provider(
            self._chain, available, session.get_providers(), _graph_nodes(session), [*refusals, *log_lines]
        )
        return ModelSession(
            session=session,
            inputs=tuple(_specs(session.get_inputs())),
            outputs=tuple(_specs(session.get_outputs())),
            proof=proof,
        )

    def _options(self) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        # Spinning threads burn the quota of a small node between two requests.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        return options

    def _log(self, severity: int, _category: str, _log_id: str, location: str, message: str) -> None:
        if self._captured is not None:
            self._captured.append(message)
        level = logging.ERROR if severity > _WARNING else logging.WARNING
        logger.log(level, "onnxruntime said", extra={"said": message, "location": location})

    @contextmanager
    def _captured_log(self) -> Iterator[list[str]]:
        lines: list[str] = []
        self._captured = lines
        try:
            yield lines
        finally:
            self._captured = None


def _graph_nodes(session: Any) -> dict[str, int]:
    try:
        subgraphs = session.get_provider_graph_assignment_info()
    except (AttributeError, RuntimeError):
        return {}  # An older or vendor build of ONNX Runtime: the list of providers must do.
    counts: Counter[str] = Counter()
    for subgraph in subgraphs:
        counts[subgraph.ep_name] += len(subgraph.get_nodes())
    return dict(counts)


def _specs(arguments: Sequence[Any]) -> Iterator[TensorSpec]:
    for argument in arguments:
        # Sequences and maps have no shape; a dimension is a number, a name, or None.
        shape = argument.shape if isinstance(argument.shape, list) else []
        yield TensorSpec(
            name=argument.name,
            tensor_type=tensor_type_of(argument.type),
            onnx_type=argument.type,
            shape=tuple(size if isinstance(size, int) and size >= 0 else -1 for size in shape),
        )
