"""What kind of work a kernel is, and the figures of many kernels as arrays.

Groups are coarse on purpose: kernels of one group are bound by the same part of a processor, on any processor.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from fleetfit_api.kernels import Kernel

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


class Group(IntEnum):
    """Kinds of work."""

    CONVOLUTION = 0
    POINTWISE = 1
    DEPTHWISE = 2
    MATRIX = 3
    PRODUCT = 4
    POOL = 5
    BINARY = 6
    ACTIVATION = 7
    NORMALISATION = 8
    SOFTMAX = 9
    REARRANGEMENT = 10
    QUANTISATION = 11
    OTHER = 12


_BY_OPERATOR: Final[dict[str, Group]] = {
    **dict.fromkeys(("Add", "Sum", "Mul", "Sub", "Div", "Min", "Max", "Pow"), Group.BINARY),
    **dict.fromkeys(
        ("Relu", "Clip", "Sigmoid", "HardSigmoid", "LeakyRelu", "PRelu", "Elu", "Selu", "Erf", "Gelu", "Tanh",
         "HardSwish", "Exp", "Sqrt", "Mish", "Softplus"), Group.ACTIVATION
    ),
    **dict.fromkeys(("Softmax", "LogSoftmax"), Group.SOFTMAX),
    **dict.fromkeys(
        ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Concat", "Slice", "Split", "Gather", "Pad",
         "Expand", "Tile", "DepthToSpace", "SpaceToDepth"), Group.REARRANGEMENT
    ),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast"), Group.QUANTISATION),
}  # fmt: skip
FREE_OPERATORS: Final = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
"""Operators that only change a shape."""


def group_of(kernel: Kernel) -> Group:
    """Return the kind of work that a kernel does."""
    if kernel.depth > 0:
        if "Conv" in kernel.operator:
            suffixes = {"depthwise": Group.DEPTHWISE, "pointwise": Group.POINTWISE}
            return suffixes.get(kernel.operator.rpartition(".")[2], Group.CONVOLUTION)
        return Group.PRODUCT if kernel.groups > 1 else Group.MATRIX
    if "Pool" in kernel.operator or kernel.operator.startswith("Reduce"):
        return Group.POOL
    if "Norm" in kernel.operator:
        return Group.NORMALISATION
    return _BY_OPERATOR.get(kernel.operator.removeprefix("QLinear"), Group.OTHER)


@dataclass(frozen=True, slots=True)
class KernelArrays:
    """Figures of kernels, one entry each.

    Attributes:
        group: Kind of work.
        integer: Whether it computes on int8.
        half: Whether it computes on 16-bit floats.
        free: Whether it only changes a shape.
        macs: Multiply-accumulates of one run.
        read_bytes: Activations read.
        weight_bytes: Weights read.
        write_bytes: Bytes written.
        sizes: Rows, depth, columns, groups, window and stride, one row per kernel.
    """

    group: IntArray
    integer: BoolArray
    half: BoolArray
    free: BoolArray
    macs: FloatArray
    read_bytes: FloatArray
    weight_bytes: FloatArray
    write_bytes: FloatArray
    sizes: FloatArray

    @classmethod
    def of(cls, kernels: Sequence[Kernel]) -> Self:
        """Return the figures of some kernels."""
        return cls(
            group=np.array([group_of(kernel) for kernel in kernels], dtype=np.int64),
            integer=np.array([kernel.precision in {"int8", "int4"} for kernel in kernels], dtype=bool),
            half=np.array([kernel.precision in {"fp16", "bf16"} for kernel in kernels], dtype=bool),
            free=np.array([kernel.operator in FREE_OPERATORS for kernel in kernels], dtype=bool),
            macs=np.array([float(kernel.multiply_accumulates) for kernel in kernels]),
            read_bytes=np.array([float(kernel.read_bytes) for kernel in kernels]),
            weight_bytes=np.array([float(kernel.weight_bytes) for kernel in kernels]),
            write_bytes=np.array([float(kernel.write_bytes) for kernel in kernels]),
            sizes=np.array(
                [(k.rows, k.depth, k.columns, k.groups, k.window, k.stride) for k in kernels],
                dtype=np.float64,
            ).reshape(len(kernels), 6),
        )

    @property
    def traffic_bytes(self) -> FloatArray:
        """Bytes that one run reads and writes."""
        return self.read_bytes + self.weight_bytes + self.write_bytes
