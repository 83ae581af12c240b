"""Small real ONNX models for the runtime's tests, and assignments of them."""

import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
from fleetfit_api.node_inference import Assignment
from fleetfit_api.suite import Precision
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, save

FLOAT = TensorProto.FLOAT


def graph(
    nodes: list[NodeProto],
    inputs: list[ValueInfoProto],
    outputs: list[ValueInfoProto],
    initializers: list[TensorProto] | None = None,
) -> ModelProto:
    built = helper.make_graph(nodes, "g", inputs, outputs, initializers or [])
    return helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def scale_model(factor: float, repeats: int = 1, width: int = 3) -> ModelProto:
    """Return a model with y = factor * x for x of shape [N, width]; more repeats make it slower."""
    names = ["x", *(f"t{index}" for index in range(repeats - 1)), "y"]
    nodes = [
        helper.make_node("Mul", [before, "factor" if index == 0 else "one"], [after])
        for index, (before, after) in enumerate(pairwise(names))
    ]
    return graph(
        nodes,
        [helper.make_tensor_value_info("x", FLOAT, ["N", width])],
        [helper.make_tensor_value_info("y", FLOAT, ["N", width])],
        [
            helper.make_tensor("factor", FLOAT, [], [factor]),
            helper.make_tensor("one", FLOAT, [], [1.0]),
        ],
    )


def slow_model(factor: float, size: int = 700, repeats: int = 12) -> ModelProto:
    """Return a scale model that takes some tens of milliseconds because it also multiplies large matrices."""
    nodes = [helper.make_node("Mul", ["x", "factor"], ["y"])]
    before = "square"
    for index in range(repeats):
        nodes.append(helper.make_node("MatMul", [before, "square"], [f"p{index}"]))
        before = f"p{index}"
    nodes.append(helper.make_node("ReduceSum", [before], ["sum"], keepdims=0))
    square = np.full((size, size), 1.0 / size, np.float32)
    return graph(
        nodes,
        [
            helper.make_tensor_value_info("x", FLOAT, ["N", 3]),
            helper.make_tensor_value_info("square", FLOAT, [size, size]),
        ],
        [
            helper.make_tensor_value_info("y", FLOAT, ["N", 3]),
            helper.make_tensor_value_info("sum", FLOAT, []),
        ],
        [
            helper.make_tensor("factor", FLOAT, [], [factor]),
            helper.make_tensor("square", FLOAT, [size, size], square.tobytes(), raw=True),
        ],
    )


def powers_model(width: int, repeats: int) -> ModelProto:
    """Return y [N] of x [N] by repeated multiplication with a matrix: quick for one item, slow for thousands."""
    nodes = [helper.make_node("Unsqueeze", ["x", "last"], ["column"])]
    nodes.append(helper.make_node("Mul", ["column", "row"], ["p0"]))
    for index in range(repeats):
        nodes.append(helper.make_node("MatMul", [f"p{index}", "square"], [f"p{index + 1}"]))
    nodes.append(helper.make_node("ReduceSum", [f"p{repeats}", "last"], ["y"], keepdims=0))
    square = np.full((width, width), 1.0 / width, np.float32)
    return graph(
        nodes,
        [helper.make_tensor_value_info("x", FLOAT, ["N"])],
        [helper.make_tensor_value_info("y", FLOAT, ["N"])],
        [
            helper.make_tensor("last", TensorProto.INT64, [1], [1]),
            helper.make_tensor("row", FLOAT, [1, width], [1.0] * width),
            helper.make_tensor("square", FLOAT, [width, width], square.tobytes(), raw=True),
        ],
    )


def identity_model(onnx_type: int) -> ModelProto:
    """Return y = x for any shape [N]."""
    return graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        [helper.make_tensor_value_info("x", onnx_type, ["N"])],
        [helper.make_tensor_value_info("y", onnx_type, ["N"])],
    )


def two_input_model() -> ModelProto:
    """Return sum = a + b and difference = a - b."""
    return graph(
        [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Sub", ["a", "b"], ["difference"])],
        [helper.make_tensor_value_info(name, FLOAT, [2, 2]) for name in ("a", "b")],
        [helper.make_tensor_value_info(name, FLOAT, [2, 2]) for name in ("sum", "difference")],
    )


def unknown_operator_model() -> ModelProto:
    return graph(
        [helper.make_node("NoSuchOperator", ["x"], ["y"])],
        [helper.make_tensor_value_info("x", FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", FLOAT, ["N", 3])],
    )


def failing_model() -> ModelProto:
    """Return a model that loads, but whose first run fails: it reshapes to a size that never fits."""
    return graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        [helper.make_tensor_value_info("x", FLOAT, ["N"])],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [helper.make_tensor("shape", TensorProto.INT64, [2], [7, 11])],
    )


def saved(directory: Path, name: str, model: ModelProto | bytes) -> Path:
    path = directory / f"{name}.onnx"
    if isinstance(model, bytes):
        path.write_bytes(model)
    else:
        save(model, path)
    return path


def assignment(path: Path, variant: str = "fp32", **over: object) -> Assignment:
    """Return an assignment of a file, with its true size and digest unless told otherwise."""
    content = path.read_bytes() if path.exists() else b"absent"
    values: dict[str, object] = {
        "namespace": "default",
        "deployment": "digits",
        "model_name": "digits",
        "suite": "digits",
        "variant": variant,
        "precision": Precision.FP32,
        "uri": path.as_uri(),
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
    }
    return Assignment.model_validate(values | over)


def endless_model(turns: int | None = None) -> ModelProto:
    """Return y = 2 x, after a loop of n turns: quick for the n of a warm-up, endless for a large one.

    With a number of turns n is no input.
    """
    turn = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["goes_on"]),
            helper.make_node("Add", ["sum_in", "one"], ["sum_out"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_in", FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_out", FLOAT, []),
        ],
    )
    inputs = [helper.make_tensor_value_info("x", FLOAT, ["N", 3])]
    fixed = []
    if turns is None:
        inputs.append(helper.make_tensor_value_info("n", TensorProto.INT64, [1]))
    else:
        fixed.append(helper.make_tensor("n", TensorProto.INT64, [1], [turns]))
    return graph(
        [
            helper.make_node("Loop", ["n", "true", "zero"], ["sum"], body=turn),
            helper.make_node("Mul", ["x", "two"], ["y"]),
        ],
        inputs,
        [
            helper.make_tensor_value_info("y", FLOAT, ["N", 3]),
            helper.make_tensor_value_info("sum", FLOAT, []),
        ],
        [
            *fixed,
            helper.make_tensor("true", TensorProto.BOOL, [], [True]),
            helper.make_tensor("zero", FLOAT, [], [0.0]),
            helper.make_tensor("one", FLOAT, [], [1.0]),
            helper.make_tensor("two", FLOAT, [], [2.0]),
        ],
    )


def square_model() -> ModelProto:
    """Return y = 2 x, after one product of matrices of n rows and columns, which cannot be ended midway."""
    return graph(
        [
            helper.make_node("Concat", ["n", "n"], ["shape"], axis=0),
            helper.make_node("Expand", ["half", "shape"], ["square"]),
            helper.make_node("MatMul", ["square", "square"], ["product"]),
            helper.make_node("ReduceSum", ["product"], ["sum"], keepdims=0),
            helper.make_node("Mul", ["x", "two"], ["y"]),
        ],
        [
            helper.make_tensor_value_info("x", FLOAT, ["N", 3]),
            helper.make_tensor_value_info("n", TensorProto.INT64, [1]),
        ],
        [
            helper.make_tensor_value_info("y", FLOAT, ["N", 3]),
            helper.make_tensor_value_info("sum", FLOAT, []),
        ],
        [helper.make_tensor("half", FLOAT, [1, 1], [0.5]), helper.make_tensor("two", FLOAT, [], [2.0])],
    )
