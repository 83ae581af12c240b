"""Small ONNX files of every kind that users bring, and a way to run the command line on them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from fleetfit_api.suite import Precision
from fleetfit_training.graph_builder import ConvShape, GraphBuilder
from onnx import TensorProto, helper, numpy_helper

from examples.digits.catalogue import SUITE_FILE

VARIANTS = SUITE_FILE.parent / "variants"


class Result(NamedTuple):
    """What a command left behind."""

    status: int
    output: str
    errors: str


Cli = Callable[..., Result]


def write_model(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def built(precision: Precision, name: str = "built") -> onnx.ModelProto:
    graph = GraphBuilder(name, precision)
    data = graph.conv(graph.input(1, 3, 16, 16), ConvShape(8))
    return graph.build(graph.dense(graph.global_pool(data), 10, relu=False))


def model_of(
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, np.ndarray[Any, Any]],
    shape: Sequence[int | str] = (1, 4),
    *,
    element_type: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """Return a model with the input `data` and the output `result`."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info("data", element_type, list(shape))],
        [helper.make_tensor_value_info("result", element_type, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=[*opsets, helper.make_opsetid("acme", 1)], ir_version=9)


def convolution(shape: Sequence[int | str]) -> onnx.ModelProto:
    """Return a convolution of 3x3 without padding over three channels."""
    weight = np.ones((4, 3, 3, 3), np.float32)
    return model_of([helper.make_node("Conv", ["data", "weight"], ["result"])], {"weight": weight}, shape)
