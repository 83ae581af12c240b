"""How far the predictor was from what was timed, per class and variant, for metrics and for the eye. No decisions.

Predictions are taken here as they were before measurements corrected them: it is the predictor that is judged.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import exp
from statistics import median

import numpy as np
from fleetfit_api.names import NodeName
from fleetfit_api.node_inference import MeasuredVariant

from fleetfit_operator.fleet.choice import LatencyPrediction
from fleetfit_operator.fleet.prediction_errors import Quantiles, VariantError
from fleetfit_operator.predict.calibration import Calibration, NodeTimings


def variant_errors(calibration: Calibration) -> list[VariantError]:
    """Return the errors, sorted by class and variant; a variant that no node has timed has its prediction alone."""
    by_class: dict[str, list[NodeTimings]] = {}
    for node in calibration.nodes:
        by_class.setdefault(node.hardware_class, []).append(node)
    return [
        error for name, nodes in sorted(by_class.items()) for error in _of_class(calibration, name, nodes)
    ]


def _of_class(calibration: Calibration, name: str, nodes: Sequence[NodeTimings]) -> Iterable[VariantError]:
    timed: dict[str, list[tuple[NodeTimings, MeasuredVariant]]] = {}
    for node in nodes:
        for measured in node.measured:
            timed.setdefault(measured.variant, []).append((node, measured))
    # Most nodes share their predictions with others, so each set is looked at once.
    shared = {id(node.predictions): node.predictions for node in nodes}
    counts = Counter(id(node.predictions) for node in nodes)
    for variant in sorted({variant for each in shared.values() for variant in each}):
        with_it = {place: each[variant] for place, each in shared.items() if variant in each}
        predicted = _predicted(list(with_it.values()), [counts[place] for place in with_it])
        yield _error(calibration, name, variant, predicted, timed.get(variant, []))


def _error(
    calibration: Calibration,
    hardware_class: str,
    variant: str,
    predicted: Quantiles,
    timed: Sequence[tuple[NodeTimings, MeasuredVariant]],
) -> VariantError:
    learnt = calibration.class_errors(hardware_class)
    common = learnt.by_variant.get(variant) if learnt else None
    if common is None or common.weight <= 0:
        return VariantError(hardware_class, variant, predicted)
    names = [node.name for node, _ in timed]
    drifts = [measured for node, measured in timed if has_drifted(node, measured)]
    return VariantError(
        hardware_class,
        variant,
        predicted,
        measured=_measured([measured for _, measured in timed if measured.samples > 0]),
        measured_nodes=common.nodes,
        error_ratio=exp(_middle(_sizes(calibration, variant, names))),
        bias_ratio=exp(common.weighted_p95 / common.weight),
        sigmas=common.sigmas,
        drifted_nodes=len(drifts),
        drift_ratio=_middle([d.latency_p95_seconds / d.before_drift_p95_seconds for d in drifts]) or 1.0,
    )


def has_drifted(node: NodeTimings, measured: MeasuredVariant) -> bool:
    """Return whether the timings of a variant have changed for good since the node's reference run of today."""
    is_older = measured.reference_run and node.reference_run and measured.reference_run != node.reference_run
    return measured.before_drift_p95_seconds > 0 and not is_older


def _sizes(calibration: Calibration, variant: str, names: Iterable[NodeName]) -> list[float]:
    own = (calibration.own_errors(name).get(variant) for name in names)
    return [abs(each.errors[0]) for each in own if each is not None]


def _predicted(predictions: Sequence[LatencyPrediction], counts: Sequence[int]) -> Quantiles:
    if len(predictions) == 1:
        return Quantiles(predictions[0].latency_p50_s, predictions[0].latency_p95_s)
    return Quantiles(
        float(np.median(np.repeat([each.latency_p50_s for each in predictions], counts))),
        float(np.median(np.repeat([each.latency_p95_s for each in predictions], counts))),
    )


def _measured(measured: Sequence[MeasuredVariant]) -> Quantiles:
    return Quantiles(
        _middle([each.latency_p50_seconds for each in measured]),
        _middle([each.latency_p95_seconds for each in measured]),
    )


def _middle(values: Sequence[float]) -> float:
    return median(values) if values else 0.0
