"""One ONNX Runtime session: made with a provider chain, described by its tensors, proven by what it says about itself.

The only module that builds sessions. It blocks; the engine calls it from its loader thread.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from fleetfit_runtime.engine.bfloat16 import bfloat16_runner
from fleetfit_runtime.engine.compiled_models import CompiledModels, CompiledPlace
from fleetfit_runtime.engine.load_errors import classify_load_error, plain_message
from fleetfit_runtime.engine.model_session import ModelSession, RunWithOptions, TensorSpec
from fleetfit_runtime.engine.plugins import PluginReport
from fleetfit_runtime.engine.providers import CPU_PROVIDER, prove_provider, usable_chain
from fleetfit_runtime.engine.tensor_types import tensor_type_of
from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.provider_attachment import attach_providers, available_providers
from fleetfit_runtime.provider_options import options_of

logger = logging.getLogger(__name__)

_WARNING = 2


@dataclass(frozen=True, slots=True)
class _Load:
    """What one load knows, whatever chain it tries.

    Attributes:
        path: the graph.
        files: digest of all files of the model; empty where nothing may be kept of it.
        file_bytes: their size.
        available: providers that are there.
        refusals: why providers refused the model, so far.
        log_lines: what ONNX Runtime has logged, so far.
    """

    path: Path
    files: str
    file_bytes: int
    available: Sequence[str]
    refusals: list[str]
    log_lines: Sequence[str]


class OnnxRuntime:
    """Builds sessions with one provider chain and one number of threads.

    Args:
        provider_chain: execution providers in order of preference.
        intra_op_threads: threads of one inference.
        cpu_arena: whether sessions keep memory of runs for the next ones.
        plugins: libraries with further providers, and what became of them.
        compiled: where providers keep what they compile; None keeps nothing.
    """

    def __init__(
        self,
        provider_chain: Sequence[str],
        intra_op_threads: int,
        *,
        cpu_arena: bool = True,
        plugins: PluginReport | None = None,
        compiled: CompiledModels | None = None,
    ) -> None:
        self._compiled = compiled
        self._plugins = plugins or PluginReport()
        self._cpu_arena = cpu_arena
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
    def versions(self) -> str:
        """Versions of ONNX Runtime and of plugin libraries; without any, that of ONNX Runtime."""
        return "; ".join([self.version, *self._plugins.library_versions])

    @property
    def available(self) -> list[str]:
        """Providers of this build, and those of plugins that found a device."""
        return available_providers()

    def load(self, path: Path, files: str = "", file_bytes: int = 0) -> ModelSession:
        """Load a model, falling back along the chain where a provider refuses it.

        Args:
            path: the graph.
            files: digest of all files of the model, under which compiled ones are kept; empty keeps nothing.
            file_bytes: their size.

        Raises:
            ModelFailure: no provider can load it.
        """
        available = self.available
        chain = usable_chain(self._chain, available)
        with self._captured_log() as lines:
            load = _Load(path, files, file_bytes, available, [], lines)
            while True:
                try:
                    return self._try(load, chain)
                except ModelFailure:
                    raise
                except Exception as error:
                    if len(chain) == 1:
                        raise classify_load_error(error) from error
                    load.refusals.append(f"{chain[0]}: {plain_message(error)}")
                    logger.warning(
                        "provider refused the model", extra={"provider": chain[0], "error": load.refusals[-1]}
                    )
                    chain = chain[1:]

    def _try(self, load: _Load, chain: Sequence[str]) -> ModelSession:
        place = self._place(load, chain[0])
        if place is not None:
            try:
                return self._build(load, chain, place)
            except ModelFailure:
                raise
            except Exception as error:
                # Whether or not what is kept is at fault: it must not cost a load.
                logger.warning(
                    "model does not load with a place for compiled ones, trying without",
                    extra={"provider": chain[0], "error": plain_message(error)},
                )
                place.clear()
        return self._build(load, chain, None)

    def _place(self, load: _Load, provider: str) -> CompiledPlace | None:
        if self._compiled is None or not load.files:
            return None
        options = options_of(provider, self._threads)
        return self._compiled.place(load.files, provider, options, load.file_bytes)

    def _build(self, load: _Load, chain: Sequence[str], place: CompiledPlace | None) -> ModelSession:
        # enable_fallback=0: ONNX Runtime's own fallback prints to stdout and hides which provider failed and why.
        options, path, further = self._options(), load.path, {}
        if place is not None:
            for key, value in place.session_entries.items():
                options.add_session_config_entry(key, value)
            path = place.compiled_model or path
            further = {place.provider: place.provider_options}
        providers = attach_providers(options, chain, self._threads, further)
        session = onnxruntime.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
        proof = prove_provider(
            self._chain,
            load.available,
            session.get_providers(),
            _graph_nodes(session),
            [*load.refusals, *self._plugins.sentences, *load.log_lines],
        )
        if place is not None and proof.provider != place.provider:
            place.clear()  # It compiled nothing that another load could use.
            place = None
        return ModelSession(
            run_with=bfloat16_runner(session) or _runner(session),
            inputs=tuple(_specs(session.get_inputs())),
            outputs=tuple(_specs(session.get_outputs())),
            proof=proof,
            new_options=onnxruntime.RunOptions,
            compiled=place,
        )

    def _options(self) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = self._cpu_arena
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


def _runner(session: Any) -> RunWithOptions:
    """Return the session's run without the checks that its Python wrapper adds: requests were checked before."""
    native = getattr(session, "_sess", None)
    if native is None or session.get_providers() != [CPU_PROVIDER]:
        run: RunWithOptions = session.run  # The wrapper knows what to do when another provider fails midway.
        return run
    run_native: RunWithOptions = native.run
    return run_native


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
