"""From the bytes of a ModelInferRequest to arrays that fit the model, or a sentence that says why not. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fleetfit_runtime.engine.model_session import Array, TensorSpec
from fleetfit_runtime.serve.errors import bad_request
from fleetfit_runtime.serve.grpc.packed_integers import unpack_integers
from fleetfit_runtime.serve.grpc.typed_contents import array_from_contents
from fleetfit_runtime.serve.grpc.wire import (
    BYTES,
    VARINT,
    Field,
    WireError,
    message,
    read_double,
    read_fields,
    signed,
    text,
)
from fleetfit_runtime.serve.infer_request import InferRequest
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

Parameter = bool | int | float | str

_MOST_FIELDS: Final = 4096


@dataclass(slots=True)
class _InputMessage:
    """An InferInputTensor."""

    name: str = ""
    datatype: str = ""
    shape: list[int] = field(default_factory=list)
    contents: list[memoryview] = field(default_factory=list)


@dataclass(slots=True)
class InferMessage:
    """A ModelInferRequest whose tensors are still bytes; reading this much takes no more for a large request.

    Args:
        model_name: the model that is asked.
        model_version: its version; empty for whichever serves.
        id: echoed in the response; empty for none.
        parameters: of the request.
        inputs: heads of the inputs.
        outputs: names of the wanted outputs; none for all.
        raw: one entry per input, or none where the inputs have contents of their own.
    """

    model_name: str = ""
    model_version: str = ""
    id: str = ""
    parameters: dict[str, Parameter] = field(default_factory=dict)
    inputs: list[_InputMessage] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    raw: list[memoryview] = field(default_factory=list)


def read_infer_message(data: memoryview) -> InferMessage:
    """Return what a ModelInferRequest says, without its tensors' elements.

    Raises:
        WireError: it is none.
    """
    asked = InferMessage()
    for each in read_fields(data, _MOST_FIELDS):
        number = each[0]
        if number == 7:
            asked.raw.append(message(each))
        elif number == 5:
            asked.inputs.append(_read_input(message(each)))
        elif number == 6:
            asked.outputs.append(_read_name(message(each)))
        elif number == 4:
            name, value = _read_parameter(message(each))
            asked.parameters[name] = value
        elif number == 1:
            asked.model_name = text(each)
        elif number == 2:
            asked.model_version = text(each)
        elif number == 3:
            asked.id = text(each)
    return asked


def _read_input(data: memoryview) -> _InputMessage:
    tensor = _InputMessage()
    for each in read_fields(data, _MOST_FIELDS):
        number = each[0]
        if number == 1:
            tensor.name = text(each)
        elif number == 2:
            tensor.datatype = text(each)
        elif number == 3:
            tensor.shape += _read_sizes(each)
        elif number == 5:
            tensor.contents.append(message(each))
    return tensor


def _read_sizes(each: Field) -> list[int]:
    if each[1] == VARINT:
        return [signed(each[2])]
    data = message(each)
    if len(data) > 10 * MOST_DIMENSIONS:
        raise WireError("a shape has too many dimensions")
    return [signed(int(size)) for size in unpack_integers(data)]


def _read_name(data: memoryview) -> str:
    name = ""
    for each in read_fields(data, _MOST_FIELDS):
        if each[0] == 1:
            name = text(each)
    return name


def _read_parameter(entry: memoryview) -> tuple[str, Parameter]:
    name, value = "", memoryview(b"")
    for each in read_fields(entry, _MOST_FIELDS):
        if each[0] == 1:
            name = text(each)
        elif each[0] == 2:
            value = message(each)
    found: Parameter = ""
    for each in read_fields(value, _MOST_FIELDS):
        if each[1] == BYTES and each[0] == 3:
            found = text(each)
        elif each[0] == 4:
            found = read_double(each)
        elif each[1] == VARINT:
            found = each[2] != 0 if each[0] == 1 else signed(each[2]) if each[0] == 2 else each[2]
    return name, found


def resolve(asked: InferMessage, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> InferRequest:
    """Return the request with arrays; takes time where the elements are typed, so for large ones not on the event loop.

    Raises:
        RequestError: the request does not fit the model.
        WireError: a tensor's message is malformed.
    """
    specs = {spec.name: spec for spec in inputs}
    if not asked.inputs:
        raise bad_request("inputs must have at least one tensor")
    if asked.raw and len(asked.raw) != len(asked.inputs):
        raise bad_request(f"raw_input_contents has {len(asked.raw)} entries for {len(asked.inputs)} inputs")
    arrays: dict[str, Array] = {}
    for place, tensor in enumerate(asked.inputs):
        if tensor.name in arrays:
            raise bad_request(f"input {tensor.name!r} is given twice")
        raw = asked.raw[place] if asked.raw else None
        arrays[tensor.name] = _array(tensor, raw, specs)
    require_inputs(arrays, inputs)
    wanted = _wanted(asked.outputs, outputs)
    return InferRequest(
        asked.id or None, arrays, wanted, user_to_ask(asked.parameters), timeout_of(asked.parameters)
    )


def _array(tensor: _InputMessage, raw: memoryview | None, specs: Mapping[str, TensorSpec]) -> Array:
    name = tensor.name
    spec, tensor_type = checked_input(name, tensor.datatype, specs)
    shape = checked_shape(name, tensor.shape, spec.shape)
    if raw is None:
        return array_from_contents(name, tensor.contents, tensor_type, shape)
    if any(len(part) for part in tensor.contents):
        raise bad_request(f"input {name!r} has contents beside raw_input_contents")
    return array_from_binary(name, raw, tensor_type, shape)


def _wanted(names: Sequence[str], specs: Sequence[TensorSpec]) -> tuple[tuple[TensorSpec, bool], ...]:
    by_name = {spec.name: spec for spec in specs if spec.tensor_type is not None}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise unknown_output(unknown[0], by_name)
    chosen = dict.fromkeys(names) if names else by_name
    return tuple((by_name[name], True) for name in chosen)
