"""From the body of an infer request to arrays that fit the model, or a sentence that says what does not fit. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from fleetfit_runtime.engine.session import Array, TensorSpec
from fleetfit_runtime.serve.errors import bad_request
from fleetfit_runtime.serve.tensor_binary import array_from_binary
from fleetfit_runtime.serve.tensor_json import array_from_json

# Rank of a tensor; numpy stops at 64.
_MOST_DIMENSIONS = 32
_LARGEST_DIMENSION = 1 << 48


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What a client asks.

    Args:
        id: echoed in the response.
        inputs: arrays by input name.
        outputs: names of the wanted outputs and whether each is to be binary.
    """

    id: str | None
    inputs: dict[str, Array]
    outputs: tuple[tuple[TensorSpec, bool], ...]


def parse_infer_request(
    body: bytes, header_length: int | None, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
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
    document = _document(view[:json_end])
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise bad_request("id must be a string")
    arrays = _parse_inputs(document, view[json_end:], {spec.name: spec for spec in inputs})
    missing = [spec.name for spec in inputs if spec.required and spec.name not in arrays]
    if missing:
        raise bad_request(f"input {missing[0]!r} is missing")
    return InferRequest(request_id, arrays, _parse_outputs(document, outputs))


def _document(text: memoryview) -> dict[str, Any]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"the body is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise bad_request("the body must be a JSON object")
    return document


def _parse_inputs(
    document: Mapping[str, Any], raw: memoryview, specs: Mapping[str, TensorSpec]
) -> dict[str, Array]:
    given = document.get("inputs")
    if not isinstance(given, list) or not given:
        raise bad_request("inputs must be an array of at least one tensor")
    arrays: dict[str, Array] = {}
    offset = 0
    for tensor in given:
        name, spec, shape = _parse_header(tensor, specs)
        if name in arrays:
            raise bad_request(f"input {name!r} is given twice")
        size = _binary_size(name, tensor)
        assert spec.tensor_type is not None  # noqa: S101 - _parse_header has checked it; this tells mypy
        if size is None:
            if "data" not in tensor:
                raise bad_request(f"input {name!r} has neither data nor the parameter binary_data_size")
            arrays[name] = array_from_json(name, tensor["data"], spec.tensor_type, shape)
        else:
            if "data" in tensor:
                raise bad_request(f"input {name!r} has both data and the parameter binary_data_size")
            if offset + size > len(raw):
                raise bad_request(
                    f"input {name!r} declares {size} bytes of binary data, but {len(raw) - offset} are left"
                )
            arrays[name] = array_from_binary(name, raw[offset : offset + size], spec.tensor_type, shape)
            offset += size
    if offset != len(raw):
        raise bad_request(f"{len(raw) - offset} bytes of binary data belong to no input")
    return arrays


def _parse_header(tensor: object, specs: Mapping[str, TensorSpec]) -> tuple[str, TensorSpec, tuple[int, ...]]:
    if not isinstance(tensor, dict):
        raise bad_request("each input must be an object")
    name = tensor.get("name")
    if not isinstance(name, str):
        raise bad_request("each input must have a name")
    spec = specs.get(name)
    if spec is None:
        raise bad_request(f"the model has no input {name!r}; it has {', '.join(map(repr, specs)) or 'none'}")
    if spec.tensor_type is None:
        raise bad_request(f"input {name!r} has the type {spec.onnx_type}, which the protocol cannot carry")
    datatype = tensor.get("datatype")
    if datatype != spec.tensor_type.datatype:
        raise bad_request(
            f"input {name!r} must have the datatype {spec.tensor_type.datatype}, not {datatype!r}"
        )
    return name, spec, _checked_shape(name, tensor.get("shape"), spec.shape)


def _checked_shape(name: str, shape: object, expected: tuple[int, ...]) -> tuple[int, ...]:
    if not isinstance(shape, list) or len(shape) > _MOST_DIMENSIONS:
        raise bad_request(f"input {name!r} must have a shape, an array of numbers")
    for size in shape:
        if type(size) is not int or not 0 <= size < _LARGEST_DIMENSION:
            raise bad_request(f"the shape of input {name!r} must consist of whole numbers from 0")
    fits = len(shape) == len(expected) and all(
        want in (-1, size) for size, want in zip(shape, expected, strict=True)
    )
    if not fits:
        raise bad_request(f"input {name!r} has the shape {shape}, but the model wants {list(expected)}")
    return tuple(shape)


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
    document: Mapping[str, Any], specs: Sequence[TensorSpec]
) -> tuple[tuple[TensorSpec, bool], ...]:
    binary = _flag("the request", _parameters("the request", document), "binary_data_output", default=False)
    wanted = document.get("outputs")
    if wanted is None or wanted == []:
        return tuple((spec, binary) for spec in specs if spec.tensor_type is not None)
    if not isinstance(wanted, list):
        raise bad_request("outputs must be an array")
    by_name = {spec.name: spec for spec in specs if spec.tensor_type is not None}
    chosen: dict[str, tuple[TensorSpec, bool]] = {}
    for output in wanted:
        name = output.get("name") if isinstance(output, dict) else None
        if not isinstance(name, str):
            raise bad_request("each output must be an object with a name")
        if name not in by_name:
            raise bad_request(f"the model has no output {name!r}; it has {', '.join(map(repr, by_name))}")
        owner = f"output {name!r}"
        chosen[name] = (
            by_name[name],
            _flag(owner, _parameters(owner, output), "binary_data", default=binary),
        )
    return tuple(chosen.values())
