"""What is assumed of a variant whose suite says little about its graph: never an invention without a caveat."""

from typing import Final

from fleetfit_api.kernels import Kernel
from fleetfit_api.suite import GraphFeatures, OperatorCost, Precision, Variant
from pydantic import BaseModel, ConfigDict

_WEIGHT_BYTES: Final = {
    Precision.FP32: 4.0, Precision.FP16: 2.0, Precision.BF16: 2.0, Precision.INT8: 1.0, Precision.INT4: 0.5,
}  # fmt: skip
NO_FEATURES: Final = (
    "its suite has no graph features, so latency is guessed from the size: write them with "
    "`fleetfit suite build --from`"
)
NO_KERNELS: Final = (
    "its suite's graph features list no kernels, so latency is guessed from their sums: write them anew with "
    "`fleetfit suite build --from`"
)


class AssumedGraph(BaseModel):
    """The usual graph for a number of weights.

    Attributes:
        macs_per_parameter: Multiply-accumulates per weight.
        activation_bytes_per_parameter: Bytes of intermediate tensors per weight.
        kernel_count: Kernels of a graph.
    """

    model_config = ConfigDict(frozen=True)

    macs_per_parameter: float
    activation_bytes_per_parameter: float
    kernel_count: int

    def completed(self, variant: Variant) -> tuple[GraphFeatures, str]:
        """Return features with kernels for a variant, and what they lack; empty when nothing was assumed."""
        if variant.features is None:
            return _with_kernels(
                self._of_size(variant.total_bytes, variant.precision), variant.precision
            ), NO_FEATURES
        if not variant.features.kernels:
            return _with_kernels(variant.features, variant.precision), NO_KERNELS
        return variant.features, _unknown_operators(variant.features)

    def _of_size(self, size_bytes: int, precision: Precision) -> GraphFeatures:
        parameters = max(1, round(size_bytes / _WEIGHT_BYTES[precision]))
        macs = round(parameters * self.macs_per_parameter)
        operator = "QLinearConv" if precision in {Precision.INT8, Precision.INT4} else "Conv"
        return GraphFeatures(
            multiply_accumulates=macs,
            parameters=parameters,
            weight_bytes=size_bytes,
            activation_bytes=round(parameters * self.activation_bytes_per_parameter),
            operator_count=self.kernel_count,
            depth=self.kernel_count,
            operators=[OperatorCost(name=operator, count=self.kernel_count, multiply_accumulates=macs)],
        )


def _unknown_operators(features: GraphFeatures) -> str:
    if not features.unknown_operators:
        return ""
    return f"nothing is known of what {', '.join(features.unknown_operators[:5])} costs, it is left out"


def _with_kernels(features: GraphFeatures, precision: Precision) -> GraphFeatures:
    """Return features with one typical kernel for each operator that they list."""
    total = max(1, sum(operator.count for operator in features.operators))
    share_bytes, share_weights = features.activation_bytes // total, features.weight_bytes // total
    kernels = [
        Kernel(
            run=operator.count,
            written=operator.count,
            operator=operator.name,
            precision=precision.value,
            rows=max(1, operator.multiply_accumulates // operator.count // 2048)
            if operator.multiply_accumulates
            else max(1, share_bytes // 4),
            depth=64 if operator.multiply_accumulates else 0,
            columns=32 if operator.multiply_accumulates else 0,
            groups=1,
            window=1,
            stride=1,
            read_bytes=share_bytes,
            weight_bytes=share_weights if operator.multiply_accumulates else 0,
            write_bytes=share_bytes,
        )
        for operator in features.operators
    ]
    return features.model_copy(update={"kernels": [str(kernel) for kernel in kernels]})
