"""Why a variant must not run on a node, as sentences.

Two kinds, since a pin overrules one of them only:

- `impossible_because`: the node cannot run it (execution provider, memory). Nothing overrules that.
- `forbidden_because`: the user does not want it (limits of `qoe.constraints`) or it failed here before.
"""

import math
from collections.abc import Sequence

from fleetfit_api.deployment import QoeConstraints
from fleetfit_api.node_inference import FailedVariant
from fleetfit_api.suite import Variant

from fleetfit_operator.fleet.choice import LatencyPrediction
from fleetfit_operator.fleet.snapshot import FleetNode

_BYTES_PER_MIB = 2**20


def impossible_because(variant: Variant, node: FleetNode) -> str:
    """Return why the node cannot run the variant; empty when it can."""
    return _provider_missing(variant, node) or _memory_short(variant, node)


def forbidden_because(
    variant: Variant,
    latency: LatencyPrediction,
    limits: QoeConstraints,
    failures: Sequence[FailedVariant],
) -> str:
    """Return which limit or earlier failure speaks against the variant; empty when none does."""
    return (
        _failed_before(variant, failures)
        or _beyond_limits(variant, limits)
        or _too_slow(latency, limits.max_latency_milliseconds)
    )


def required_memory_bytes(variant: Variant) -> int:
    """Return the memory that the loaded variant needs, estimated where the suite does not say.

    While a file is loaded ONNX Runtime holds its bytes and the weights made from them; then come the intermediate
    tensors of an inference.
    """
    if variant.requirements.memory_bytes is not None:
        return variant.requirements.memory_bytes
    return 2 * variant.size_bytes + (variant.features.activation_bytes if variant.features else 0)


def usable_providers(node: FleetNode) -> tuple[str, ...]:
    """Return the providers of the node's class that its runtime offers; all of them before it has reported."""
    chain = tuple(node.hardware_class.spec.runtime.providers) if node.hardware_class else ()
    offered = node.inference.status.telemetry.available_providers if node.inference else []
    return tuple(provider for provider in chain if not offered or provider in offered)


def usable_memory_bytes(node: FleetNode) -> float | None:
    """Return the smaller of what the runtime reports and the node's capacity; None when neither is known."""
    reported = node.inference.status.telemetry.memory_total_bytes if node.inference else 0
    capacity = node.node.capacity.get("memory")
    return min((float(each) for each in (reported, capacity) if each), default=None)


def _provider_missing(variant: Variant, node: FleetNode) -> str:
    required = variant.requirements.providers
    usable = usable_providers(node)
    if not required or set(required) & set(usable):
        return ""
    return f"it needs {' or '.join(required)}, and the node offers {', '.join(usable) or 'none'}"


def _memory_short(variant: Variant, node: FleetNode) -> str:
    usable_bytes = usable_memory_bytes(node)
    required_bytes = required_memory_bytes(variant)
    if usable_bytes is None or required_bytes <= usable_bytes:
        return ""
    return f"it needs {_mib(required_bytes)} of memory, and the node has {_mib(usable_bytes)}"


def _failed_before(variant: Variant, failures: Sequence[FailedVariant]) -> str:
    for failed in failures:
        if (failed.variant, failed.sha256) == (variant.name, variant.sha256):
            return f"the same file failed on this node ({failed.reason or 'no reason reported'})"
    return ""


def _beyond_limits(variant: Variant, limits: QoeConstraints) -> str:
    if limits.min_accuracy is not None and variant.accuracy < limits.min_accuracy:
        return f"its accuracy {variant.accuracy:.3f} is below the limit {limits.min_accuracy:.3f}"
    if limits.max_size_bytes is not None and variant.size_bytes > limits.max_size_bytes:
        return f"its size of {variant.size_bytes} bytes is above the limit of {limits.max_size_bytes}"
    if limits.allowed_precisions and variant.precision not in limits.allowed_precisions:
        return f"its precision {variant.precision} is not one of {', '.join(limits.allowed_precisions)}"
    return ""


def _too_slow(latency: LatencyPrediction, max_latency_ms: float | None) -> str:
    latency_ms = latency.latency_p95_s * 1000.0
    if not math.isfinite(latency_ms):
        return "its latency cannot be predicted"
    if max_latency_ms is not None and latency_ms > max_latency_ms:
        return f"its predicted p95 {latency_ms:.3g} ms is above the limit of {max_latency_ms:.3g} ms"
    return ""


def _mib(size_bytes: float) -> str:
    return f"{size_bytes / _BYTES_PER_MIB:,.1f} MiB"
