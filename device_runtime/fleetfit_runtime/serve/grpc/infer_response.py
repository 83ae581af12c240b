"""From a model's outputs to the bytes of a ModelInferResponse. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleetfit_runtime.engine.model_session import Array, TensorSpec
from fleetfit_runtime.serve.grpc.packed_integers import pack_shape
from fleetfit_runtime.serve.grpc.typed_contents import contents_from_array, has_typed_form
from fleetfit_runtime.serve.grpc.wire import bytes_field, integer_field, text_field
from fleetfit_runtime.serve.tensor_binary import binary_from_array


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """What a response says beside its tensors."""

    model_name: str
    model_version: str
    id: str
    parameters: Mapping[str, str | bool]


def write_infer_response(
    head: ResponseHead, wanted: Sequence[TensorSpec], arrays: Sequence[Array], *, raw: bool
) -> bytes:
    """Return the message.

    Args:
        head: what it says beside its tensors.
        wanted: the outputs in order.
        arrays: their values.
        raw: in raw_output_contents instead of typed lists; always where an output has no typed form.
    """
    raw = raw or any(spec.tensor_type is not None and not has_typed_form(spec.tensor_type) for spec in wanted)
    parts = [text_field(1, head.model_name), text_field(2, head.model_version), text_field(3, head.id)]
    parts += [bytes_field(4, _parameter(name, value)) for name, value in head.parameters.items()]
    tails: list[bytes] = []
    for spec, values in zip(wanted, arrays, strict=True):
        if spec.tensor_type is None:
            continue  # resolve() offers only tensors that the protocol can carry
        output = text_field(1, spec.name) + text_field(2, spec.tensor_type.datatype)
        output += pack_shape(3, values.shape)
        if raw:
            tails.append(bytes_field(6, binary_from_array(values, spec.tensor_type)))
        else:
            output += bytes_field(5, contents_from_array(values, spec.tensor_type))
        parts.append(bytes_field(5, output))
    return b"".join((*parts, *tails))


def _parameter(name: str, value: str | bool) -> bytes:
    encoded = (
        integer_field(1, 1)
        if value is True
        else b"\x08\x00"
        if value is False
        else bytes_field(3, value.encode())
    )
    return text_field(1, name) + bytes_field(2, encoded)
