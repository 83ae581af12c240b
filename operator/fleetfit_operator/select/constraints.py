"""Why a variant must not run on a node, as sentences.

Two kinds, since a pin overrules one of them only:

- `impossible_because`: the node cannot run it (execution provider, memory). Nothing overrules that.
- `Rules.obstacles`: the user does not want it (limits of `qoe.constraints`), or it failed here or on a node alike.

Predictions are held against limits with the bad end of their 90 % interval. The variant that a node runs is held
against them with its expected figures: else a node whose interval touches a limit would change to and fro with every
small move of the prediction. An edit of the deployment is a fresh decision, with the bad end.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fleetfit_api.node_inference import FailedVariant
from fleetfit_api.qoe import QoeConstraints
from fleetfit_api.suite import Variant

from fleetfit_operator.fleet.choice import LatencyPrediction
from fleetfit_operator.select.standing import Standing

_BYTES_PER_MIB = 2**20
# Rounding noise, so that a figure that equals its limit keeps within it.
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One thing that speaks against a variant.

    Attributes:
        because: What, a sentence.
        remedy: Which limit of qoe.constraints would have to be what for it to be gone; empty when none would do.
        by_interval: Whether the expected figure keeps within the limit and only the bad end of its interval does not.
    """

    because: str
    remedy: str = ""
    by_interval: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What the user forbids, as it applies to one node.

    Attributes:
        limits: The limits.
        percentile: Percentile of latency that they are about.
        provider: Execution provider that the node would use; empty when none is known.
        failures: What failed on the node.
        signed_only: Whether variants without a signature must not run.
    """

    limits: QoeConstraints
    percentile: int
    provider: str
    failures: Sequence[FailedVariant]
    signed_only: bool = False

    def obstacles(
        self, variant: Variant, latency: LatencyPrediction, is_running: bool
    ) -> tuple[Obstacle, ...]:
        """Return what speaks against the variant, what weighs most first; empty when nothing does."""
        return (
            *_failed_before(variant, self.failures),
            *self._of_the_file(variant),
            *self._of_the_provider(),
            *self._of_memory(variant, latency),
            *self._of_predictions(latency, is_running),
        )

    def _of_the_file(self, variant: Variant) -> Iterator[Obstacle]:
        limits = self.limits
        if self.signed_only and not variant.signature_uri:
            yield Obstacle("it has no signature, and one is required")
        if limits.min_accuracy is not None and variant.accuracy < limits.min_accuracy:
            yield Obstacle(
                f"its accuracy {variant.accuracy:.3f} is below the limit {limits.min_accuracy:.3f}",
                f"minAccuracy at {variant.accuracy:g} or less",
            )
        if limits.max_size_bytes is not None and variant.total_bytes > limits.max_size_bytes:
            yield Obstacle(
                f"its size of {variant.total_bytes} bytes is above the limit of {limits.max_size_bytes}",
                f"maxSizeBytes at {variant.total_bytes} or more",
            )
        if limits.allowed_precisions and variant.precision not in limits.allowed_precisions:
            yield Obstacle(
                f"its precision {variant.precision} is not one of {', '.join(limits.allowed_precisions)}",
                f"{variant.precision} in allowedPrecisions",
            )

    def _of_the_provider(self) -> Iterator[Obstacle]:
        allowed = self.limits.allowed_providers
        if allowed and self.provider not in allowed:
            yield Obstacle(
                f"it would run on {self.provider or 'no provider'}, which is not one of {', '.join(allowed)}",
                f"{self.provider} in allowedProviders" if self.provider else "",
            )

    def _of_memory(self, variant: Variant, latency: LatencyPrediction) -> Iterator[Obstacle]:
        limit = self.limits.max_memory_bytes
        expected = expected_memory_bytes(variant, latency)
        if limit is not None and expected > limit:
            yield Obstacle(
                f"its memory of {_mib(expected)} is above the limit of {_mib(limit)}",
                f"maxMemoryBytes at {expected} or more",
            )

    def _of_predictions(self, latency: LatencyPrediction, is_running: bool) -> Iterator[Obstacle]:
        expected_s = latency.latency_s(self.percentile)
        if not math.isfinite(expected_s):
            yield Obstacle("its latency cannot be predicted")
            return
        bad_s = expected_s if is_running else latency.interval_s(self.percentile)[1]
        yield from _beyond(
            _Figure(f"p{self.percentile}", "ms", expected_s * 1000.0, bad_s * 1000.0),
            self.limits.max_latency_milliseconds,
            "maxLatencyMilliseconds",
        )
        if latency.energy_j is not None and expected_s > 0:
            # Energy is power times time: it is as uncertain as the time.
            bad_j = latency.energy_j * bad_s / expected_s
            yield from _beyond(
                _Figure("energy", "J", latency.energy_j, bad_j),
                self.limits.max_energy_joules,
                "maxEnergyJoules",
            )


def impossible_because(variant: Variant, latency: LatencyPrediction, standing: Standing) -> str:
    """Return why a node cannot run the variant; empty when it can."""
    return _provider_missing(variant, standing.providers) or _memory_short(
        variant, latency, standing.memory_bytes
    )


def required_memory_bytes(variant: Variant, latency: LatencyPrediction) -> int:
    """Return the memory that a node must have: what the suite asks for, else what is expected."""
    if variant.requirements.memory_bytes is not None:
        return variant.requirements.memory_bytes
    return expected_memory_bytes(variant, latency)


def expected_memory_bytes(variant: Variant, latency: LatencyPrediction) -> int:
    """Return the memory that the loaded variant is expected to take, estimated where nothing tells.

    While a file is loaded ONNX Runtime holds its bytes and the weights made from them; then come the intermediate
    tensors of an inference.
    """
    if latency.memory_bytes is not None:
        return latency.memory_bytes
    if variant.requirements.memory_bytes is not None:
        return variant.requirements.memory_bytes
    return 2 * variant.total_bytes + (variant.features.activation_bytes if variant.features else 0)


@dataclass(frozen=True, slots=True)
class _Figure:
    """A predicted figure in the unit of its limit, as expected and at the bad end of its interval."""

    name: str
    unit: str
    expected: float
    bad: float


def _beyond(figure: _Figure, limit: float | None, limit_name: str) -> Iterator[Obstacle]:
    if limit is None or figure.bad <= limit * (1 + _TOLERANCE):
        return
    remedy = f"{limit_name} at {_rounded_up(figure.bad):g} or more"
    if figure.expected > limit:
        because = (
            f"its predicted {figure.name} {figure.expected:.3g} {figure.unit} is above the limit of "
            f"{limit:.3g} {figure.unit}"
        )
        yield Obstacle(because, remedy)
        return
    because = (
        f"its {figure.name} may reach {figure.bad:.3g} {figure.unit} (predicted {figure.expected:.3g}), "
        f"above the limit of {limit:.3g} {figure.unit}"
    )
    yield Obstacle(because, remedy, by_interval=True)


def _rounded_up(value: float) -> float:
    """Return the value with three digits, never less than it: what is advised must do."""
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return math.ceil(value / step * (1 - _TOLERANCE)) * step


def _provider_missing(variant: Variant, usable: Sequence[str]) -> str:
    required = variant.requirements.providers
    if not required or set(required) & set(usable):
        return ""
    return f"it needs {' or '.join(required)}, and the node offers {', '.join(usable) or 'none'}"


def _memory_short(variant: Variant, latency: LatencyPrediction, usable_bytes: float | None) -> str:
    required_bytes = required_memory_bytes(variant, latency)
    if usable_bytes is None or required_bytes <= usable_bytes:
        return ""
    return f"it needs {_mib(required_bytes)} of memory, and the node has {_mib(usable_bytes)}"


def _failed_before(variant: Variant, failures: Sequence[FailedVariant]) -> Iterator[Obstacle]:
    for failed in failures:
        if (failed.variant, failed.sha256) == (variant.name, variant.sha256):
            yield Obstacle(f"the same file failed on this node ({failed.reason or 'no reason reported'})")


def _mib(size_bytes: float) -> str:
    return f"{size_bytes / _BYTES_PER_MIB:,.1f} MiB"
