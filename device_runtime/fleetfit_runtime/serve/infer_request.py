"""From the body of an infer request to arrays that fit the model, or a sentence that says what does not fit. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fleetfit_runtime.engine.model_session import Array, TensorSpec
from fleetfit_runtime.engine.tensor_types import BF16, TensorType
from fleetfit_runtime.serve.body import Body
from fleetfit_runtime.serve.errors import bad_request
from fleetfit_runtime.serve.float_reader import load_float_reader
from fleetfit_runtime.serve.json_document import read_document
from fleetfit_runtime.serve.numbers_apart import NotFloatsError, read_apart
from fleetfit_runtime.serve.request_checks import (
    MOST_DIMENSIONS,
    checked_input,
    checked_shape,
    require_inputs,
    timeout_of,
    unknown_output,
    user_to_ask,
)
from fleetfit_runtime.serve.tensor_binary import array_from_binary
from fleetfit_runtime.serve.tensor_json import array_from_json

# As an extension module would be, it is loaded with this one.
_FLOATS: Final = load_float_reader()


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What a client asks.

    Args:
        id: echoed in the response.
        inputs: arrays by input name.
        outputs: names of the wanted outputs and whether each is to be binary.
        may_ask: the user whom the client can ask for a rating; empty when it names none, None when it cannot ask.
        timeout_s: how long the client waits; None when it does not say.
    """

    id: str | None
    inputs: dict[str, Array]
    outputs: tuple[tuple[TensorSpec, bool], ...]
    may_ask: str | None = None
    timeout_s: float | None = None

    @property
    def output_names(self) -> list[str]:
        """Names of the wanted outputs in order."""
        return [spec.name for spec, _ in self.outputs]


def parse_infer_request(
    body: Body,
    header_length: int | None,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
) -> InferRequest:
    """Return the request of a body.

    Args:
        body: JSON, followed by raw tensors where `header_length` says how long the JSON is.
        header_length: value of the header Inference-Header-Content-Length.
        inputs: inputs of the model.
        outputs: outputs of the model.

    Raises:
        RequestError: anything about the request is wrong.
    """
    if header_length is not None and not 0 <= header_length <= len(body):
        raise bad_request(
            f"Inference-Header-Content-Length is {header_length}, but the body has {len(body)} bytes"
        )
    view = memoryview(body)
    json_end = len(body) if header_length is None else header_length
    text, raw = view[:json_end], view[json_end:]
    apart = None if _FLOATS is None else read_apart(text, _FLOATS)
    if apart is not None:
        try:
            return _parse(apart, raw, inputs, outputs)
        except NotFloatsError:
            pass  # Read as a whole: it may be right nevertheless, and if not, the sentence is about all of it.
    return _parse(read_document(text), raw, inputs, outputs)


def _parse(
    document: Mapping[str, Any], raw: memoryview, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> InferRequest:
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise bad_request("id must be a string")
    arrays = _parse_inputs(document, raw, {spec.name: spec for spec in inputs})
    require_inputs(arrays, inputs)
    parameters = _parameters("the request", document)
    wanted = _parse_outputs(document, parameters, outputs)
    if not parameters:
        return InferRequest(request_id, arrays, wanted)
    return InferRequest(request_id, arrays, wanted, user_to_ask(parameters), timeout_of(parameters))


def _parse_inputs(
    document: Mapping[str, Any], raw: memoryview, specs: Mapping[str, TensorSpec]
) -> dict[str, Array]:
    given = document.get("inputs")
    if not isinstance(given, list) or not given:
        raise bad_request("inputs must be an array of at least one tensor")
    arrays: dict[str, Array] = {}
    offset = 0
    for tensor in given:
        name, tensor_type, shape = _parse_header(tensor, specs)
        if name in arrays:
            raise bad_request(f"input {name!r} is given twice")
        size = _binary_size(name, tensor)
        if size is None:
            if "data" not in tensor:
                raise bad_request(f"input {name!r} has neither data nor the parameter binary_data_size")
            arrays[name] = array_from_json(name, tensor["data"], tensor_type, shape)
        else:
            if "data" in tensor:
                raise bad_request(f"input {name!r} has both data and the parameter binary_data_size")
            if offset + size > len(raw):
                raise bad_request(
                    f"input {name!r} declares {size} bytes of binary data, but {len(raw) - offset} are left"
                )
            arrays[name] = array_from_binary(name, raw[offset : offset + size], tensor_type, shape)
            offset += size
    if offset != len(raw):
        raise bad_request(f"{len(raw) - offset} bytes of binary data belong to no input")
    return arrays


def _parse_header(tensor: object, specs: Mapping[str, TensorSpec]) -> tuple[str, TensorType, tuple[int, ...]]:
    if not isinstance(tensor, dict):
        raise bad_request("each input must be an object")
    name = tensor.get("name")
    if not isinstance(name, str):
        raise bad_request("each input must have a name")
    spec, tensor_type = checked_input(name, tensor.get("datatype"), specs)
    shape = tensor.get("shape")
    if not isinstance(shape, list) or len(shape) > MOST_DIMENSIONS:
        raise bad_request(f"input {name!r} must have a shape, an array of numbers")
    return name, tensor_type, checked_shape(name, shape, spec.shape)


def _parameters(owner: str, holder: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = holder.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise bad_request(f"parameters of {owner} must be an object")
    return parameters


def _binary_size(name: str, tensor: Mapping[str, Any]) -> int | None:
    size = _parameters(f"input {name!r}", tensor).get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        raise bad_request(f"binary_data_size of input {name!r} must be a whole number from 0")
    return size


def _flag(owner: str, parameters: Mapping[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise bad_request(f"{name} of {owner} must be true or false")
    return value


def _parse_outputs(
    document: Mapping[str, Any], parameters: Mapping[str, Any], specs: Sequence[TensorSpec]
) -> tuple[tuple[TensorSpec, bool], ...]:
    binary = _flag("the request", parameters, "binary_data_output", default=False)
    wanted = document.get("outputs")
    if wanted is None or wanted == []:
        return _writable(tuple((spec, binary) for spec in specs if spec.tensor_type is not None))
    if not isinstance(wanted, list):
        raise bad_request("outputs must be an array")
    by_name = {spec.name: spec for spec in specs if spec.tensor_type is not None}
    chosen: dict[str, tuple[TensorSpec, bool]] = {}
    for output in wanted:
        name = output.get("name") if isinstance(output, dict) else None
        if not isinstance(name, str):
            raise bad_request("each output must be an object with a name")
        if name not in by_name:
            raise unknown_output(name, by_name)
        owner = f"output {name!r}"
        chosen[name] = (
            by_name[name],
            _flag(owner, _parameters(owner, output), "binary_data", default=binary),
        )
    return _writable(tuple(chosen.values()))


def _writable(chosen: tuple[tuple[TensorSpec, bool], ...]) -> tuple[tuple[TensorSpec, bool], ...]:
    for spec, binary in chosen:
        if spec.tensor_type is BF16 and not binary:
            raise bad_request(
                f"output {spec.name!r} has the datatype BF16, which has no form in JSON; ask for it as binary data"
            )
    return chosen
