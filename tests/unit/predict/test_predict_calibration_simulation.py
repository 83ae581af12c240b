"""On a made-up fleet whose truth is known, pooling beats learning from nodes alone and believing what was timed."""

from math import exp, log

import numpy as np
from fleetfit_api.names import NodeName
from fleetfit_api.node_inference import MeasuredVariant
from fleetfit_api.prediction import Evidence
from fleetfit_operator.fleet.choice import LatencyPrediction
from fleetfit_operator.predict.calibration import Calibration, NodeTimings, Predictions

from tests.unit.fleet_builders import digest

CLASSES, NODES, VARIANTS, SEEDS = 4, 12, 6, 20
CLAIMED_LOG_SD = 0.3
CLASS_LOG_SD, NODE_LOG_SD, REST_LOG_SD = 0.26, 0.09, 0.12
NOISE_LOG_SD = 0.217
TIMED_SHARE = 0.2
Truth = dict[tuple[NodeName, str], float]


def fleet(rng: np.random.Generator) -> tuple[list[NodeTimings], Truth]:
    """Nodes that have timed some variants, noisily, and the true log error of every variant on every node."""
    nodes, truth = [], {}
    predictions = {
        f"v{i}": LatencyPrediction(0.01 * (i + 1), Evidence.REFERENCE_RUN, log_sigma=CLAIMED_LOG_SD)
        for i in range(VARIANTS)
    }
    for c in range(CLASSES):
        common = rng.normal(0, CLASS_LOG_SD, VARIANTS)
        for n in range(NODES):
            name = NodeName(f"c{c}-n{n}")
            errors = common + rng.normal(0, NODE_LOG_SD) + rng.normal(0, REST_LOG_SD, VARIANTS)
            measured = []
            for (variant, prediction), error in zip(predictions.items(), errors, strict=True):
                truth[name, variant] = float(error)
                if rng.random() < TIMED_SHARE:
                    seen = prediction.latency_p95_s * exp(error + rng.normal(0, NOISE_LOG_SD))
                    measured.append(timed(variant, seen))
            nodes.append(NodeTimings(name, f"c{c}", predictions, tuple(measured)))
    return nodes, truth


def timed(variant: str, p95_s: float) -> MeasuredVariant:
    # 4 inferences that spread by 20 % leave 0.21 of noise in the logarithm of the p95, and timings differ by 0.05.
    p50_s = p95_s / exp(1.645 * 0.2)
    return MeasuredVariant(
        variant=variant,
        sha256=digest(variant),
        latency_p95_seconds=p95_s,
        latency_p50_seconds=p50_s,
        samples=4,
    )


def mean_squared_error(
    nodes: list[NodeTimings], truth: Truth, corrected: dict[NodeName, Predictions]
) -> float:
    errors = [
        log(corrected[node.name][v].latency_p95_s / node.predictions[v].latency_p95_s) - truth[node.name, v]
        for node in nodes
        for v in node.predictions
    ]
    return float(np.mean(np.square(errors)))


def pooled(nodes: list[NodeTimings]) -> dict[NodeName, Predictions]:
    calibration = Calibration(nodes)
    return {node.name: calibration.of(node.name) for node in nodes}


def alone(nodes: list[NodeTimings]) -> dict[NodeName, Predictions]:
    return {node.name: Calibration([node]).of(node.name) for node in nodes}


def replaced(nodes: list[NodeTimings]) -> dict[NodeName, Predictions]:
    """Believe what was timed here, else what the class timed in the mean, else the predictor."""
    by_class: dict[tuple[str, str], list[float]] = {}
    for node in nodes:
        for each in node.measured:
            by_class.setdefault((node.hardware_class, each.variant), []).append(each.latency_p95_seconds)
    result: dict[NodeName, Predictions] = {}
    for node in nodes:
        own = {each.variant: [each.latency_p95_seconds] for each in node.measured}
        result[node.name] = {
            v: LatencyPrediction(exp(np.mean(np.log(seen))), Evidence.MEASURED)
            if (seen := own.get(v) or by_class.get((node.hardware_class, v)))
            else prediction
            for v, prediction in node.predictions.items()
        }
    return result


def test_pooling_beats_learning_alone_and_full_replacement() -> None:
    scores: dict[str, list[float]] = {}
    for seed in range(SEEDS):
        nodes, truth = fleet(np.random.default_rng(seed))
        for name, corrected in (
            ("none", {node.name: node.predictions for node in nodes}),
            ("pooled", pooled(nodes)),
            ("alone", alone(nodes)),
            ("replaced", replaced(nodes)),
        ):
            scores.setdefault(name, []).append(mean_squared_error(nodes, truth, corrected))
    mean = {name: float(np.mean(values)) for name, values in scores.items()}
    assert mean["pooled"] < 0.85 * mean["replaced"]
    assert mean["pooled"] < 0.65 * mean["alone"]
    assert mean["alone"] < mean["none"]


def test_nine_true_latencies_of_ten_lie_in_the_corrected_interval() -> None:
    inside = []
    for seed in range(SEEDS):
        nodes, truth = fleet(np.random.default_rng(seed))
        for name, predictions in pooled(nodes).items():
            for v, prediction in predictions.items():
                true_s = 0.01 * (int(v[1:]) + 1) * exp(truth[name, v])
                low_s, high_s = prediction.interval_s()
                inside.append(low_s <= true_s <= high_s)
    assert 0.85 <= np.mean(inside) <= 0.94
