"""What is known of an ONNX file by reading it: digest, size, formats, cost features, the files beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import onnx
from fleetfit_api.suite import GraphFeatures
from fleetfit_operator.predict.graph_features import model_features
from google.protobuf.message import DecodeError

from fleetfit_cli.errors import WrongUseError
from fleetfit_cli.suites.external_data import (
    ExternalFile,
    empty_external_tensors,
    external_files,
    load_small_tensors,
)
from fleetfit_cli.suites.input_shapes import InputShape, fix_shapes, open_inputs
from fleetfit_cli.suites.weight_formats import WeightFormats, weight_formats


@dataclass(frozen=True, slots=True)
class VariantFile:
    """An ONNX file.

    Attributes:
        path: Where it is.
        size_bytes: Its size.
        sha256: Its digest, lower-case hexadecimal.
        formats: Number formats of its weights.
        features: What one inference costs.
        open_inputs: How to fix the inputs whose open dimensions count as 1, as in image=1,3,HEIGHT,WIDTH.
        external: Files beside it that it names.
    """

    path: Path
    size_bytes: int
    sha256: str
    formats: WeightFormats
    features: GraphFeatures
    open_inputs: tuple[str, ...]
    external: tuple[ExternalFile, ...] = ()


def read_variant_file(path: Path, shapes: Sequence[InputShape] = ()) -> VariantFile:
    """Read an ONNX file; `shapes` fixes open dimensions of its inputs, which else count as 1.

    Raises:
        WrongUseError: it is no ONNX file that a node can run; the message says why.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WrongUseError(f"{path} cannot be read: {error.strerror}") from error
    try:
        model = _parsed(content)
        external = external_files(model, path.parent)
        load_small_tensors(model, path.parent)
        _check(model)
        fix_shapes(model, shapes)
        features = model_features(model, path.name)
    except ValueError as error:
        text = str(error)
        raise WrongUseError(text if path.name in text else f"{path}: {text}") from error
    return VariantFile(
        path,
        len(content),
        sha256(content).hexdigest(),
        weight_formats(model),
        features,
        tuple(open_inputs(model)),
        external,
    )


def _parsed(content: bytes) -> onnx.ModelProto:
    try:
        return onnx.load_model_from_string(content)
    except DecodeError as error:
        raise ValueError("not an ONNX file, or cut off") from error


def _check(model: onnx.ModelProto) -> None:
    try:
        onnx.checker.check_model(_as_the_checker_wants_it(model))
    except (onnx.checker.ValidationError, UnicodeDecodeError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ValueError(f"not a valid ONNX model: {reason}") from error


def _as_the_checker_wants_it(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model that the checker takes where ONNX Runtime would.

    Inputs and outputs need not say their shape, and external data need not lie where this program was started.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    empty_external_tensors(copy)
    for value in [*copy.graph.input, *copy.graph.output]:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    return copy
