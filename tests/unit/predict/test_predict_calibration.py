"""Measurements draw predictions towards them by what they rest on: the node itself, its class, its variants."""

import random
from dataclasses import replace
from math import exp, log

import pytest
from fleetfit_api.names import NodeName
from fleetfit_api.node_inference import MeasuredVariant
from fleetfit_api.prediction import Evidence
from fleetfit_operator.fleet.choice import LatencyPrediction
from fleetfit_operator.predict.calibration import Calibration, NodeTimings, Predictions
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fleet_builders import digest

PREDICTED: Predictions = {
    "small": LatencyPrediction(0.01, Evidence.REFERENCE_RUN, 0.008, log_sigma=0.3, energy_j=0.1),
    "large": LatencyPrediction(0.04, Evidence.REFERENCE_RUN, 0.03, log_sigma=0.3),
    "other": LatencyPrediction(0.02, Evidence.FEATURES_ONLY),
}
LATENCY_S = st.floats(1e-5, 10.0)
SAMPLES = st.integers(1, 10_000)


def timed(variant: str, p95_s: float, samples: int = 200, **over: object) -> MeasuredVariant:
    return MeasuredVariant.model_validate(
        {
            "variant": variant,
            "sha256": digest(variant),
            "latency_p95_seconds": p95_s,
            "latency_p50_seconds": p95_s * 0.8,
            "samples": samples,
            **over,
        }
    )


def node(name: str, *measured: MeasuredVariant, hardware_class: str = "pi", run: str = "") -> NodeTimings:
    return NodeTimings(NodeName(name), hardware_class, PREDICTED, measured, run)


def expected(name: str, *nodes: NodeTimings) -> Predictions:
    return Calibration(nodes).of(NodeName(name))


def log_error(prediction: LatencyPrediction, variant: str) -> float:
    return log(prediction.latency_p95_s / PREDICTED[variant].latency_p95_s)


def test_many_runs_outweigh_the_prediction() -> None:
    result = expected("a", node("a", timed("small", 0.03, 5000)))["small"]
    assert 0.028 < result.latency_p95_s < 0.03
    assert result.evidence is Evidence.MEASURED
    assert result.log_sigma < 0.06


def test_both_quantiles_and_the_energy_move_and_the_order_of_quantiles_stays() -> None:
    result = expected("a", node("a", timed("small", 0.03)))["small"]
    assert result.latency_p50_s == pytest.approx(0.8 * result.latency_p95_s, rel=0.02)
    assert result.energy_j == pytest.approx(0.1 * result.latency_p50_s / 0.008)
    odd = timed("small", 0.03, latency_p50_seconds=0.03)
    assert (r := expected("a", node("a", odd))["small"]).latency_p50_s <= r.latency_p95_s


def test_a_median_that_the_predictor_does_not_know_stays_unknown() -> None:
    assert expected("a", node("a", timed("other", 0.03)))["other"].latency_p50_s == 0.0


@pytest.mark.parametrize("useless", [timed("small", 0.03, 0), timed("large", 0.0), timed("gone", 0.1)])
def test_a_measurement_without_samples_figures_or_prediction_changes_nothing(
    useless: MeasuredVariant,
) -> None:
    assert expected("a", node("a", useless)) is PREDICTED


def test_nodes_of_the_class_are_corrected_and_others_are_not() -> None:
    nodes = [node("a", timed("small", 0.02)), node("b"), node("c", hardware_class="jetson")]
    result = expected("b", *nodes)
    assert 0.01 < result["small"].latency_p95_s < 0.02
    assert result["small"].evidence is Evidence.HARDWARE_CLASS
    assert result["small"].log_sigma < PREDICTED["small"].log_sigma
    assert result["large"] is PREDICTED["large"]
    assert expected("c", *nodes) is PREDICTED


def test_the_more_nodes_agree_the_more_the_class_believes_them() -> None:
    errors = [
        log_error(
            expected("new", node("new"), *(node(f"n{i}", timed("small", 0.02)) for i in range(count)))[
                "small"
            ],
            "small",
        )
        for count in (1, 2, 4, 16)
    ]
    assert errors == sorted(errors)
    assert errors[0] > 0.5 * log(2)
    assert errors[-1] > 0.95 * log(2)


def test_nodes_that_disagree_teach_less_and_leave_a_wide_interval() -> None:
    def learnt(*latencies_s: float) -> LatencyPrediction:
        nodes = [node(f"n{i}", timed("small", each)) for i, each in enumerate(latencies_s)]
        return expected("new", node("new"), *nodes)["small"]

    agreed, torn = learnt(*[0.02] * 6), learnt(0.01, 0.04, 0.01, 0.04, 0.01, 0.04)
    assert log_error(torn, "small") < log_error(agreed, "small")
    assert torn.log_sigma > 2 * agreed.log_sigma
    assert torn.log_sigma > PREDICTED["small"].log_sigma


def test_a_faulty_node_does_not_move_its_class() -> None:
    healthy = [node(f"n{i}", timed("small", 0.01)) for i in range(6)]
    result = expected("new", node("new"), *healthy, node("faulty", timed("small", 5.0)))["small"]
    assert result.latency_p95_s < 0.014


def test_a_node_that_is_slow_in_all_it_timed_is_expected_to_be_slower_in_the_rest_by_less() -> None:
    slow = node("slow", timed("small", 0.012), timed("other", 0.024))
    peers = [node(f"n{i}", timed("small", 0.01), timed("other", 0.02)) for i in range(5)]
    shift = log_error(expected("slow", slow, *peers)["large"], "large")
    assert 0 < shift < 0.6 * log(1.2)
    one = log_error(expected("slow", node("slow", timed("small", 0.012)), *peers)["large"], "large")
    assert 0 < one < shift
    # A quota's step in one variant is no reason to shift the rest by much.
    alone = log_error(expected("a", node("a", timed("small", 0.07)))["large"], "large")
    assert 0 < alone < 0.15 * log(7)


def test_a_timing_from_before_the_node_was_fingerprinted_anew_counts_less() -> None:
    def of_run(run: str) -> LatencyPrediction:
        return expected("a", node("a", timed("small", 0.03, reference_run=run), run="now"))["small"]

    assert of_run("before").latency_p95_s < of_run("now").latency_p95_s
    assert of_run("before").log_sigma > of_run("now").log_sigma


def test_few_own_runs_leave_the_evidence_to_the_class_or_the_predictor() -> None:
    weak = timed("small", 0.02, 1, latency_p50_seconds=0.005)
    assert expected("a", node("a", weak))["small"].evidence is Evidence.REFERENCE_RUN
    peers = [node(f"n{i}", timed("small", 0.02)) for i in range(3)]
    assert expected("a", node("a", weak), *peers)["small"].evidence is Evidence.HARDWARE_CLASS


@given(p95_s=LATENCY_S, samples=SAMPLES)
def test_alone_the_result_lies_between_prediction_and_measurement(p95_s: float, samples: int) -> None:
    result = expected("a", node("a", timed("small", p95_s, samples)))["small"].latency_p95_s
    low, high = sorted([p95_s, PREDICTED["small"].latency_p95_s])
    assert low * (1 - 1e-9) <= result <= high * (1 + 1e-9)


@given(p95_s=LATENCY_S, fewer=SAMPLES, more=SAMPLES)
def test_more_samples_draw_nearer_to_the_measurement(p95_s: float, fewer: int, more: int) -> None:
    fewer, more = sorted([fewer, more])

    def distance(samples: int) -> float:
        result = expected("a", node("a", timed("small", p95_s, samples)))["small"]
        return abs(log(result.latency_p95_s / p95_s))

    assert distance(more) <= distance(fewer) + 1e-9


timings = st.dictionaries(
    st.sampled_from([f"n{i}" for i in range(6)]),
    st.lists(
        st.tuples(st.sampled_from(list(PREDICTED)), LATENCY_S, SAMPLES), max_size=3, unique_by=lambda t: t[0]
    ),
    min_size=1,
)


def fleet_of(drawn: dict[str, list[tuple[str, float, int]]]) -> list[NodeTimings]:
    return [node(name, *(timed(*each) for each in measured)) for name, measured in drawn.items()]


@given(drawn=timings, seed=st.integers(0, 1000))
def test_the_order_of_nodes_does_not_matter(
    drawn: dict[str, list[tuple[str, float, int]]], seed: int
) -> None:
    nodes = fleet_of(drawn)
    shuffled = random.Random(seed).sample(nodes, len(nodes))
    one, other = Calibration(nodes), Calibration(shuffled)
    assert {each.name: one.of(each.name) for each in nodes} == {n.name: other.of(n.name) for n in nodes}


@given(drawn=timings)
def test_what_the_class_expects_lies_within_what_was_predicted_and_timed(
    drawn: dict[str, list[tuple[str, float, int]]],
) -> None:
    nodes = fleet_of(drawn)
    result = expected("new", node("new"), *nodes)
    for variant, prediction in result.items():
        seen = [m.latency_p95_seconds for n in nodes for m in n.measured if m.variant == variant]
        span = [PREDICTED[variant].latency_p95_s, *seen]
        assert min(span) * (1 - 1e-9) <= prediction.latency_p95_s <= max(span) * (1 + 1e-9)
        assert (prediction is PREDICTED[variant]) is (not seen)


@given(drawn=timings)
def test_figures_are_sane_whatever_was_timed(drawn: dict[str, list[tuple[str, float, int]]]) -> None:
    nodes = fleet_of(drawn)
    calibration = Calibration(nodes)
    for each in nodes:
        for variant, prediction in calibration.of(each.name).items():
            assert 0 < prediction.latency_p95_s < 1e3
            assert 0 <= prediction.latency_p50_s <= prediction.latency_p95_s
            assert 0 <= prediction.log_sigma < 1.0
            own = calibration.own_errors(each.name).get(variant)
            if own is not None and prediction.evidence is Evidence.MEASURED:
                before = PREDICTED[variant].latency_p95_s * exp(own.errors[0])
                assert abs(log(prediction.latency_p95_s / before)) < abs(own.errors[0]) + 8


def test_nodes_with_the_same_predictions_share_one_answer() -> None:
    nodes = [node("a", timed("small", 0.02)), node("b"), node("c")]
    calibration = Calibration(nodes)
    assert calibration.of(NodeName("b")) is calibration.of(NodeName("c"))
    assert calibration.of(NodeName("b")) is not calibration.of(NodeName("a"))


def test_other_fields_of_a_prediction_stay() -> None:
    known = {"small": replace(PREDICTED["small"], memory_bytes=7, caveat="because")}
    result = Calibration([NodeTimings(NodeName("a"), "pi", known, (timed("small", 0.02),))]).of(NodeName("a"))
    assert (result["small"].memory_bytes, result["small"].caveat) == (7, "because")
