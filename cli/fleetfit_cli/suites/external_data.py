"""External data of an ONNX file: the files beside it that hold its large tensors.

A node fetches them as further files of the variant, each by its digest. Here they are only looked at: large tensors
stay where they are, since their sizes tell what a graph costs. Small ones are brought in, because shapes hang on them.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto
from onnx.external_data_helper import load_external_data_for_tensor

_MOST_FILES: Final = 8
_SMALL_ELEMENTS: Final = 1 << 16
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ExternalFile:
    """A file that a graph names.

    Attributes:
        name: How the graph calls it, relative to itself.
        path: Where it is.
        size_bytes: Its size.
        sha256: Its digest, lower-case hexadecimal.
    """

    name: str
    path: Path
    size_bytes: int
    sha256: str


def external_files(model: ModelProto, directory: Path) -> tuple[ExternalFile, ...]:
    """Return the files that a model names, by name.

    Args:
        model: The model, without their content.
        directory: Where its own file is.

    Raises:
        ValueError: one is not there, is too short or not below the directory, or there are too many.
    """
    ends: dict[str, int] = {}
    for tensor in _external_tensors(model):
        name, end = _place(tensor)
        ends[name] = max(end, ends.get(name, 0))
    if len(ends) > _MOST_FILES:
        raise ValueError(
            f"its weights are in {len(ends)} other files, and a variant has at most {_MOST_FILES}: save it with "
            "onnx.save_model(model, path, save_as_external_data=True, all_tensors_to_one_file=True)"
        )
    return tuple(_file(name, directory, ends[name]) for name in sorted(ends))


def load_small_tensors(model: ModelProto, directory: Path) -> None:
    """Bring the small tensors of external files into the model.

    Raises:
        ValueError: one cannot be read.
    """
    for tensor in list(_external_tensors(model)):
        if prod(tensor.dims) <= _SMALL_ELEMENTS:
            try:
                load_external_data_for_tensor(tensor, str(directory))
            except (OSError, onnx.checker.ValidationError) as error:
                raise ValueError(f"the data of its tensor {tensor.name!r} cannot be read: {error}") from error
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]


def empty_external_tensors(model: ModelProto) -> None:
    """Make tensors that are still in external files empty ones: a check of the graph would look for the files."""
    for tensor in list(_external_tensors(model)):
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]
        del tensor.dims[:]
        tensor.dims.append(0)


def _external_tensors(model: ModelProto) -> Iterator[TensorProto]:
    yield from _in_graph(model.graph)
    for function in model.functions:
        yield from _in_nodes(function.node)


def _in_graph(graph: GraphProto) -> Iterator[TensorProto]:
    yield from (tensor for tensor in graph.initializer if tensor.data_location == TensorProto.EXTERNAL)
    yield from _in_nodes(graph.node)


def _in_nodes(nodes: Iterable[NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            tensors = (attribute.t, *attribute.tensors)
            yield from (each for each in tensors if each.data_location == TensorProto.EXTERNAL)
            for graph in (attribute.g, *attribute.graphs):
                yield from _in_graph(graph)


def _place(tensor: TensorProto) -> tuple[str, int]:
    """Return the name of a tensor's file, and how long that must be at least as far as the tensor tells."""
    said = {entry.key: entry.value for entry in tensor.external_data}
    try:
        return said["location"], int(said.get("offset") or 0) + int(said.get("length") or 0)
    except (KeyError, ValueError) as error:
        raise ValueError(f"it does not say where the data of its tensor {tensor.name!r} is") from error


def _file(name: str, directory: Path, least_bytes: int) -> ExternalFile:
    path = directory / name
    if not path.resolve().is_relative_to(directory.resolve()):
        raise ValueError(f"its weights are in {name}, which is not below its own directory")
    digest, size_bytes = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(_READ_BYTES):
                digest.update(chunk)
                size_bytes += len(chunk)
    except OSError as error:
        raise ValueError(f"its weights are in {name}, which cannot be read: {error.strerror}") from error
    if size_bytes < least_bytes:
        raise ValueError(f"its weights are in {name}, which is cut off: {size_bytes} of {least_bytes} bytes")
    return ExternalFile(name, path, size_bytes, digest.hexdigest())
