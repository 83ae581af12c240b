"""The calls of the inference service but for ModelInfer: health, metadata, statistics, the repository."""

from collections.abc import Callable
from typing import Final

from fleetfit_runtime.engine.model_session import TensorSpec
from fleetfit_runtime.engine.served_model import ServedModel
from fleetfit_runtime.serve.errors import RequestError
from fleetfit_runtime.serve.grpc.call import UnaryCall, UnaryHandler
from fleetfit_runtime.serve.grpc.packed_integers import pack_shape
from fleetfit_runtime.serve.grpc.wire import bytes_field, integer_field, read_fields, text, text_field
from fleetfit_runtime.serve.model_finder import ModelFinder
from fleetfit_runtime.serve.repository_calls import ModelControl, ModelState
from fleetfit_runtime.serve.service import CONTROL_EXTENSION, PLATFORM, SERVER_NAME, ServiceTerms
from fleetfit_runtime.serve.statistics import executions

INFERENCE_SERVICE: Final = "inference.GRPCInferenceService"
_EXTENSIONS: Final = ("statistics", "fleetfit_ratings")

_NS_PER_S: Final = 1e9
_MOST_FIELDS: Final = 64


class InferenceCalls:
    """Answers the calls about the server and its models.

    Args:
        finder: finds models.
        control: how the assigned models stand.
        terms: what the operator of the runtime sets.
    """

    def __init__(self, finder: ModelFinder, control: ModelControl, terms: ServiceTerms) -> None:
        self._finder = finder
        self._control = control
        self._terms = terms

    def handlers(self) -> dict[str, UnaryHandler]:
        """Return what answers, by method."""
        return {
            "ServerLive": lambda _message, _call: integer_field(1, 1),
            "ServerReady": lambda _message, _call: integer_field(1, int(self._finder.server_ready())),
            "ServerMetadata": self._server_metadata,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model_metadata,
            "ModelStatistics": self._model_statistics,
            "RepositoryIndex": self._repository_index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
        }

    def _server_metadata(self, _message: memoryview, _call: UnaryCall) -> bytes:
        names = [*_EXTENSIONS, CONTROL_EXTENSION] if self._terms.model_control else _EXTENSIONS
        extensions = b"".join(text_field(3, name) for name in names)
        return text_field(1, SERVER_NAME) + text_field(2, self._terms.version) + extensions

    def _model_ready(self, message: memoryview, _call: UnaryCall) -> bytes:
        name, version = _name_and_version(message)
        try:
            self._finder.find(name, version)
        except RequestError as error:
            if error.status != 503:
                raise
            return b""
        return integer_field(1, 1)

    def _model_metadata(self, message: memoryview, _call: UnaryCall) -> bytes:
        model = self._finder.find(*_name_and_version(message))
        properties = {"provider": model.provider, "sha256": model.sha256}
        return b"".join(
            (
                text_field(1, model.name),
                text_field(2, model.variant),
                text_field(3, PLATFORM),
                *(bytes_field(4, _described(spec)) for spec in model.model.inputs if spec.tensor_type),
                *(bytes_field(5, _described(spec)) for spec in model.model.outputs if spec.tensor_type),
                *(
                    bytes_field(6, text_field(1, key) + text_field(2, value))
                    for key, value in properties.items()
                ),
            )
        )

    def _model_statistics(self, message: memoryview, _call: UnaryCall) -> bytes:
        name, version = _name_and_version(message)
        models = [self._finder.find(name, version)] if name else self._finder.all()
        return b"".join(bytes_field(1, _statistics_of(model)) for model in models)

    def _repository_index(self, message: memoryview, _call: UnaryCall) -> bytes:
        only_ready = any(each[0] == 2 and each[2] for each in read_fields(message, _MOST_FIELDS))
        states = (state for state in self._control.model_states() if state.ready or not only_ready)
        return b"".join(bytes_field(1, _index_entry(state)) for state in states)

    def _load(self, message: memoryview, _call: UnaryCall) -> bytes:
        return self._change(message, self._control.load_model)

    def _unload(self, message: memoryview, _call: UnaryCall) -> bytes:
        return self._change(message, self._control.unload_model)

    def _change(self, message: memoryview, change: Callable[[str], bool]) -> bytes:
        if not self._terms.model_control:
            raise RequestError(403, "loading and unloading of models by clients is not enabled on this node")
        # Triton's request has the repository's name first and the model's second; KServe's has the model's alone.
        first, second = _name_and_version(message)
        name = second or first
        if not change(name):
            raise RequestError(404, f"model {name!r} is not assigned to this node")
        return text_field(1, name) + integer_field(2, 1)


def _name_and_version(message: memoryview) -> tuple[str, str]:
    name = version = ""
    for each in read_fields(message, _MOST_FIELDS):
        if each[0] == 1:
            name = text(each)
        elif each[0] == 2:
            version = text(each)
    return name, version


def _described(spec: TensorSpec) -> bytes:
    datatype = spec.tensor_type.datatype if spec.tensor_type is not None else ""
    return text_field(1, spec.name) + text_field(2, datatype) + pack_shape(3, spec.shape)


def _statistics_of(model: ServedModel) -> bytes:
    counts = model.counts
    durations = b"".join(
        bytes_field(number, integer_field(1, tally.count) + integer_field(2, round(tally.sum_s * _NS_PER_S)))
        for number, tally in (
            (1, counts.success), (2, counts.failure), (3, counts.queue), (5, counts.compute), (6, counts.output),
        )
    )  # fmt: skip
    return b"".join(
        (
            text_field(1, model.name),
            text_field(2, model.variant),
            integer_field(3, round(counts.last_s * 1000)),
            integer_field(4, counts.items),
            integer_field(5, executions(counts)),
            bytes_field(6, durations),
        )
    )


def _index_entry(state: ModelState) -> bytes:
    shown = "READY" if state.ready else "UNAVAILABLE"
    fields = enumerate((state.name, state.version, shown, state.reason), start=1)
    return b"".join(text_field(number, value) for number, value in fields)
