"""Fixes the open dimensions of a model's inputs, and says which were left open.

Features are those of one inference, and an image of 224 pixels costs 50,000 times one of a single pixel: a size that
only the caller knows must not be guessed in silence. An open first dimension is taken for the batch, which counts as 1.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import onnx

_SHAPE: Final = re.compile(r"(?P<name>.+)=(?P<sizes>[1-9]\d*(,[1-9]\d*)*)")


@dataclass(frozen=True, slots=True)
class InputShape:
    """The sizes that an input has in use."""

    name: str
    sizes: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the shape of a text such as image=1,3,224,224.

        Raises:
            ValueError: the text is no shape; the message says what one looks like.
        """
        match = _SHAPE.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no shape: write INPUT=SIZES, as in image=1,3,224,224")
        return cls(match["name"], tuple(int(size) for size in match["sizes"].split(",")))


def fix_shapes(model: onnx.ModelProto, shapes: Sequence[InputShape]) -> None:
    """Give the inputs these shapes; a symbol that gets a size thereby gets it in the other inputs as well.

    Raises:
        ValueError: there is no such input, or it has another shape; the message says which there is.
    """
    inputs = {value.name: value for value in _tensor_inputs(model)}
    symbols: dict[str, int] = {}
    for shape in shapes:
        value = inputs.get(shape.name)
        if value is None:
            raise ValueError(f"there is no input {shape.name!r}; inputs are {', '.join(inputs) or 'none'}")
        _fix(value, shape, symbols)
    for value in inputs.values():
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param in symbols:
                dimension.dim_value = symbols[dimension.dim_param]


def open_inputs(model: onnx.ModelProto) -> list[str]:
    """Return how to fix each input that has open dimensions besides the batch, as in image=1,3,HEIGHT,WIDTH."""
    fixes = []
    for value in _tensor_inputs(model):
        dimensions = value.type.tensor_type.shape.dim
        if not value.type.tensor_type.HasField("shape"):
            fixes.append(f"{value.name}=SIZES")
        elif any(dimension.dim_value <= 0 for dimension in dimensions[1:]):
            sizes = [_size(dimension, axis) for axis, dimension in enumerate(dimensions)]
            fixes.append(f"{value.name}={','.join(sizes)}")
    return fixes


def _tensor_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    # Files of an old form list their weights as inputs too.
    weights = {tensor.name for tensor in model.graph.initializer}
    return [
        value
        for value in model.graph.input
        if value.type.HasField("tensor_type") and value.name not in weights
    ]


def _fix(value: onnx.ValueInfoProto, shape: InputShape, symbols: dict[str, int]) -> None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        for _ in shape.sizes:
            tensor.shape.dim.add()
    old = [_size(dimension, axis) for axis, dimension in enumerate(tensor.shape.dim)]
    pairs = list(zip(tensor.shape.dim, shape.sizes, strict=False))
    if len(old) != len(shape.sizes) or any(d.dim_value > 0 and d.dim_value != size for d, size in pairs):
        raise ValueError(
            f"input {value.name} is {','.join(old) or 'a single number'} in the file, "
            f"which {','.join(map(str, shape.sizes))} does not fit"
        )
    for dimension, size in pairs:
        if dimension.dim_param:
            symbols[dimension.dim_param] = size
        dimension.dim_value = size  # takes the place of the symbol


def _size(dimension: onnx.TensorShapeProto.Dimension, axis: int) -> str:
    if dimension.dim_value > 0:
        return str(dimension.dim_value)
    symbol = re.sub(r"\W+", "_", dimension.dim_param).upper()
    return "1" if axis == 0 else symbol or f"SIZE{axis}"
