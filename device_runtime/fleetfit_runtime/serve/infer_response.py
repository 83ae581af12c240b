"""From a model's outputs to the body of the response, JSON alone or JSON followed by raw tensors. Pure."""

from collections.abc import Sequence
from typing import Any

import orjson

from fleetfit_runtime.engine.model_session import Array, TensorSpec
from fleetfit_runtime.serve.response import BINARY, JSON, Response
from fleetfit_runtime.serve.tensor_binary import binary_from_array
from fleetfit_runtime.serve.tensor_json import json_from_array


def build_infer_response(
    head: dict[str, Any], wanted: Sequence[tuple[TensorSpec, bool]], arrays: Sequence[Array]
) -> Response:
    """Return the response.

    Args:
        head: the members before `outputs`: model_name and so on.
        wanted: the outputs in order, and whether each is to be binary.
        arrays: their values.
    """
    outputs: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for (spec, binary), array in zip(wanted, arrays, strict=True):
        if spec.tensor_type is None:
            continue  # parse_infer_request offers only tensors that the protocol can carry
        output: dict[str, Any] = {
            "name": spec.name,
            "shape": array.shape,
            "datatype": spec.tensor_type.datatype,
        }
        if binary:
            data = binary_from_array(array, spec.tensor_type)
            output["parameters"] = {"binary_data_size": len(data)}
            raw.append(data)
        else:
            output["data"] = json_from_array(array, spec.tensor_type)
        outputs.append(output)
    head["outputs"] = outputs
    text = orjson.dumps(head, option=orjson.OPT_SERIALIZE_NUMPY)
    if not any(binary for _, binary in wanted):
        return Response(200, text, JSON)
    header = b"Inference-Header-Content-Length: %d\r\n" % len(text)
    return Response(200, b"".join((text, *raw)), BINARY, header)
