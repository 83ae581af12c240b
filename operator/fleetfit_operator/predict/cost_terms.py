"""The physical cost of a graph as a vector: what a processor has to do, whatever processor it is.

A node's mean latency is close to a non-negative mix of these terms, with prices per term that differ from node to
node. Pure arithmetic on GraphFeatures.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from fleetfit_api.suite import GraphFeatures, OperatorCost, Precision
from pydantic import BaseModel, ConfigDict

FloatArray = npt.NDArray[np.float64]

TERM_NAMES: Final = (
    "call",
    "operators",
    "conv_macs",
    "pointwise_macs",
    "depthwise_macs",
    "matrix_macs",
    "integer_conv_macs",
    "integer_depthwise_macs",
    "integer_matrix_macs",
    "activation_bytes",
    "weight_bytes",
    "cast_bytes",
    "integer_bytes",
)
_INTEGER_OPERATORS = frozenset({"QLinearConv", "ConvInteger", "QLinearMatMul", "MatMulInteger", "QGemm"})
# These vanish in fusions or only change the shape.
_FREE_OPERATORS = frozenset(
    {
        "Relu",
        "Clip",
        "QuantizeLinear",
        "DequantizeLinear",
        "BatchNormalization",
        "Flatten",
        "Reshape",
        "Identity",
    }
)
_WEIGHT_BYTES = {
    Precision.FP32: 4.0, Precision.FP16: 2.0, Precision.BF16: 2.0, Precision.INT8: 1.0, Precision.INT4: 0.5,
}  # fmt: skip


class AssumedGraph(BaseModel):
    """What is assumed of a variant that came without features: the usual graph for its number of weights."""

    model_config = ConfigDict(frozen=True)

    macs_per_parameter: float
    activation_bytes_per_parameter: float
    operator_count: int

    def features(self, size_bytes: int, precision: Precision) -> GraphFeatures:
        """Return assumed features of a file of that size."""
        parameters = max(1, round(size_bytes / _WEIGHT_BYTES[precision]))
        macs = round(parameters * self.macs_per_parameter)
        operator = "QLinearConv" if precision in {Precision.INT8, Precision.INT4} else "Conv"
        return GraphFeatures(
            multiply_accumulates=macs,
            parameters=parameters,
            weight_bytes=size_bytes,
            activation_bytes=round(parameters * self.activation_bytes_per_parameter),
            operator_count=self.operator_count,
            depth=self.operator_count,
            operators=[OperatorCost(name=operator, count=self.operator_count, multiply_accumulates=macs)],
        )


def cost_terms(features: GraphFeatures, precision: Precision) -> FloatArray:
    """Return the cost terms in the order of TERM_NAMES."""
    terms = dict.fromkeys(TERM_NAMES, 0.0)
    terms["call"] = 1.0
    terms["operators"] = float(
        sum(operator.count for operator in features.operators if operator.name not in _FREE_OPERATORS)
        if features.operators
        else features.operator_count
    )
    for operator in features.operators:
        terms[_macs_term(operator.name)] += operator.multiply_accumulates
    # Work of a suite whose author gave only the sum.
    listed = sum(operator.multiply_accumulates for operator in features.operators)
    terms["conv_macs"] += max(0, features.multiply_accumulates - listed)
    terms["activation_bytes"] = float(features.activation_bytes)
    terms["weight_bytes"] = float(features.weight_bytes)
    if precision in {Precision.FP16, Precision.BF16}:
        # Where there are no kernels of half precision, every tensor is converted.
        terms["cast_bytes"] = float(features.activation_bytes)
    if precision in {Precision.INT8, Precision.INT4}:
        # Integer kernels rearrange what they read; a byte of theirs costs more than one of float.
        terms["integer_bytes"] = float(features.activation_bytes)
    return np.array([terms[name] for name in TERM_NAMES])


def cost_matrix(graphs: Sequence[tuple[GraphFeatures, Precision]]) -> FloatArray:
    """Return the cost terms of several graphs, one row each."""
    return np.array([cost_terms(features, precision) for features, precision in graphs]).reshape(
        len(graphs), len(TERM_NAMES)
    )


def _macs_term(operator_name: str) -> str:
    kernel, _, kind = operator_name.partition(".")
    integer = "integer_" if kernel in _INTEGER_OPERATORS else ""
    if "Conv" not in kernel:
        return f"{integer}matrix_macs"
    if kind == "depthwise":
        return f"{integer}depthwise_macs"
    return "pointwise_macs" if kind == "pointwise" and not integer else f"{integer}conv_macs"
