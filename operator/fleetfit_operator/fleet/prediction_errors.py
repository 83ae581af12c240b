"""How far predictions are from what was timed, per hardware class and variant: a value between rooms, for people."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Latencies of one variant in the middle of a class.

    Attributes:
        p50_s: Median over the nodes of the median latency; 0 when unknown.
        p95_s: Median over the nodes of the 95th percentile.
    """

    p50_s: float
    p95_s: float


@dataclass(frozen=True, slots=True)
class VariantError:
    """What was predicted of a variant on the nodes of a class, and what they timed.

    Attributes:
        hardware_class: Name of the class.
        variant: Name of the variant.
        predicted: What the predictor expects, before any measurement corrects it.
        measured: What nodes timed; None when none has.
        measured_nodes: Nodes that have timed it.
        error_ratio: Factor, 1 or more, that half of the measured p95 are within of the predicted ones.
        bias_ratio: Factor by which measured p95 are above the predicted ones in the weighted mean of the nodes.
        sigmas: The same as a logarithm, in standard deviations that the predictor claims.
        drifted_nodes: Nodes whose own timings have changed for good.
        drift_ratio: Factor, in their middle, by which these take longer than before.
    """

    hardware_class: str
    variant: str
    predicted: Quantiles
    measured: Quantiles | None = None
    measured_nodes: int = 0
    error_ratio: float = 1.0
    bias_ratio: float = 1.0
    sigmas: float = 0.0
    drifted_nodes: int = 0
    drift_ratio: float = 1.0
