"""Corrects the predictions of one node by its class and its own timings; see `calibration` for the model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Final

from fleetfit_api.prediction import Evidence

from fleetfit_operator.fleet.choice import LatencyPrediction
from fleetfit_operator.predict.class_errors import ClassError, ClassErrors, weight_of
from fleetfit_operator.predict.class_spread import NODE_SHARE, WITHIN_CLASS_SHARE, Spread

Predictions = Mapping[str, LatencyPrediction]

# Taken for the predictor's standard deviation where it claims none: by a third with a fingerprint, by half without.
_USUAL_LOG_SIGMA: Final = 0.3
_BLIND_LOG_SIGMA: Final = 0.5
# A variant counts as measured on the node where its timing outweighs the predictor. Not where it outweighs the class:
# that hangs on all others, and every flip of the word would be a write to each node.
_MORE_THAN_HALF: Final = 0.5
# What a node's variants have in common is left out below 1 %: most nodes then share the answer of their class.
_WORTH_TELLING: Final = 0.01


@dataclass(frozen=True, slots=True)
class OwnError:
    """One timing of a node as an error of the predictor.

    Attributes:
        errors: Log errors of p95 and median as timed.
        taught: The same as the class has heard of them: `tamed`.
        noise: Variance of the p95's logarithm.
    """

    errors: tuple[float, float]
    taught: tuple[float, float]
    noise: float


@dataclass(frozen=True, slots=True)
class _Shift:
    """What is expected of a log error, and the variance of that."""

    p95: float
    p50: float
    variance: float


@dataclass(frozen=True, slots=True)
class _Hints:
    """What timings of a node say of what its variants have in common: sums over them, weighted by their precision."""

    p95: float = 0.0
    p50: float = 0.0
    precision: float = 0.0

    def shift(self, node_variance: float) -> tuple[float, float]:
        """Return what the variants of the node have in common, of p95 and p50, with a prior of this variance."""
        if node_variance <= 0:
            return 0.0, 0.0
        precision = self.precision + 1.0 / node_variance
        return self.p95 / precision, self.p50 / precision


_NO_HINTS: Final = _Hints()


def claimed_variance(prediction: LatencyPrediction) -> float:
    """Return the variance of the log error that the predictor claims; what is usual where it claims none."""
    if prediction.log_sigma > 0:
        return prediction.log_sigma**2
    blind = prediction.evidence is Evidence.FEATURES_ONLY
    return (_BLIND_LOG_SIGMA if blind else _USUAL_LOG_SIGMA) ** 2


def corrected_by_class(predictions: Predictions, learnt: ClassErrors) -> Predictions:
    """Return the predictions corrected by the class alone; a variant it has not timed keeps its object."""
    result = dict(predictions)
    for name, common in learnt.by_variant.items():
        if name in result:
            shift = _expected(result[name], common, learnt.spread, _NO_HINTS)
            result[name] = _moved(result[name], common, shift, None)
    return result


def corrected_by_node(
    predictions: Predictions, of_class: Predictions, learnt: ClassErrors, own: Mapping[str, OwnError]
) -> Predictions:
    """Return the predictions corrected by the class and by what the node has timed.

    Args:
        predictions: What is predicted for the node.
        of_class: The same corrected by the class, of which this node is one.
        learnt: What the class says.
        own: What the node has timed, at least one variant.
    """
    spread = learnt.spread
    others = {
        name: learnt.by_variant[name].without(weight_of(each.noise, spread), each.taught)
        for name, each in own.items()
    }
    hints = {name: _hint(each, others[name], spread) for name, each in own.items()}
    together = _sum(hints.values())
    result = dict(of_class)
    if abs(together.shift(spread.node)[0]) >= _WORTH_TELLING:
        for name in predictions.keys() - own.keys():
            common = learnt.by_variant.get(name)
            shift = _expected(predictions[name], common, spread, together)
            result[name] = _moved(predictions[name], common, shift, None)
    for name, each in own.items():
        rest = _sum(hint for other, hint in hints.items() if other != name)
        shift = _expected(predictions[name], others[name], spread, rest)
        result[name] = _moved(predictions[name], others[name], shift, each)
    return result


def _sum(hints: Iterable[_Hints]) -> _Hints:
    p95 = p50 = precision = 0.0
    for hint in hints:
        p95 += hint.p95
        p50 += hint.p50
        precision += hint.precision
    return _Hints(p95, p50, precision)


def _hint(own: OwnError, others: ClassError, spread: Spread) -> _Hints:
    """Return what a timing says of the node: its distance from what the class expects."""
    precision = 1.0 / (others.variance + spread.rest + own.noise)
    return _Hints(
        (own.errors[0] - others.p95) * precision, (own.errors[1] - others.p50) * precision, precision
    )


def _expected(
    prediction: LatencyPrediction, common: ClassError | None, spread: Spread, hints: _Hints
) -> _Shift:
    """Return what is expected of the error before the node's own timing of the variant."""
    if common is None:
        claimed = claimed_variance(prediction)
        between = WITHIN_CLASS_SHARE * claimed
        node = min(spread.node, NODE_SHARE * between)
        spread = Spread(node, between - node)
        common = ClassError(0, 0.0, 0.0, 0.0, claimed - between)
    p95, p50 = hints.shift(spread.node)
    node_variance = spread.node / (1.0 + spread.node * hints.precision)
    return _Shift(common.p95 + p95, common.p50 + p50, common.variance + node_variance + spread.rest)


def _moved(
    prediction: LatencyPrediction, common: ClassError | None, shift: _Shift, own: OwnError | None
) -> LatencyPrediction:
    evidence = prediction.evidence
    if common is not None and common.nodes > 0:
        evidence = Evidence.HARDWARE_CLASS
    if own is not None:
        gain = shift.variance / (shift.variance + own.noise)
        shift = _Shift(
            shift.p95 + gain * (own.errors[0] - shift.p95),
            shift.p50 + gain * (own.errors[1] - shift.p50),
            gain * own.noise,
        )
        claimed = claimed_variance(prediction)
        if claimed / (claimed + own.noise) > _MORE_THAN_HALF:
            evidence = Evidence.MEASURED
    return prediction.shifted(shift.p95, shift.p50, sqrt(shift.variance), evidence)
