"""The shipped predictor: what it rests on, what it says of known and unknown nodes, and that it survives any input."""

import random
from datetime import date
from math import isfinite

import numpy as np
import pytest
from fleetfit_api.node_telemetry import ReferenceRun, ReferenceTime
from fleetfit_api.prediction import Evidence
from fleetfit_api.suite import GraphFeatures, OperatorCost, Precision, Variant
from fleetfit_operator.predict.graph_features import model_features
from fleetfit_operator.predict.predictor import LatencyPredictor
from fleetfit_runtime.probe.networks import REFERENCE_NETWORKS, SET_VERSION
from fleetfit_training.evaluation import rank_correlation
from fleetfit_training.graph_builder import ConvShape, GraphBuilder
from fleetfit_training.measurements import DATA_DIR, Times, read_times
from fleetfit_training.network_families import NETWORK_FAMILIES
from fleetfit_training.training_data import data_digest
from hypothesis import given, settings
from hypothesis import strategies as st

MACHINE = DATA_DIR / "epyc-2core"


def variant(
    name: str,
    features: GraphFeatures | None,
    precision: Precision = Precision.FP32,
    size_bytes: int = 400_000,
) -> Variant:
    return Variant(
        name=name,
        uri=f"https://models.example/{name}.onnx",
        sha256="a" * 64,
        size_bytes=size_bytes,
        precision=precision,
        accuracy=0.9,
        features=features,
    )


def conv_features(channels: int, layers: int = 2) -> GraphFeatures:
    graph = GraphBuilder("conv", Precision.FP32)
    data = graph.input(1, channels, 16, 16)
    for _ in range(layers):
        data = graph.conv(data, ConvShape(channels))
    return model_features(graph.build(data), "conv")


def run_of(times: dict[str, Times], slower: float = 1.0) -> ReferenceRun:
    return ReferenceRun(
        provider="CPUExecutionProvider",
        set_version=SET_VERSION,
        spread=0.02,
        times=[
            ReferenceTime(
                name=name,
                latency_p50_seconds=slower * times[name].p50_us * 1e-6,
                latency_p95_seconds=slower * times[name].p95_us * 1e-6,
                latency_mean_seconds=slower * times[name].mean_us * 1e-6,
            )
            for name in REFERENCE_NETWORKS
        ],
    )


@pytest.fixture(scope="module")
def predictor() -> LatencyPredictor:
    return LatencyPredictor.load()


@pytest.fixture(scope="module")
def run() -> ReferenceRun:
    return run_of(read_times(MACHINE / "cpu-t1.csv"))


def test_the_model_was_trained_on_the_data_beside_it(predictor: LatencyPredictor) -> None:
    assert predictor.metadata.data_digest == data_digest(), "run fleetfit train"
    assert predictor.metadata.set_version == SET_VERSION
    assert predictor.metadata.trained_on <= date(2100, 1, 1)
    assert len(predictor.known.names) == 27 + int(predictor.known.leaders.sum())


def test_a_reference_run_is_the_evidence_and_narrows_the_interval(
    predictor: LatencyPredictor, run: ReferenceRun
) -> None:
    variants = [variant("a", conv_features(32))]

    known, unknown = predictor.predict(run, variants)["a"], predictor.predict(None, variants)["a"]

    assert known.evidence is Evidence.REFERENCE_RUN
    assert unknown.evidence is Evidence.FEATURES_ONLY
    assert 0 < known.log_sigma < unknown.log_sigma
    low_s, high_s = known.interval_s()
    assert low_s < known.latency_p95_s < high_s


def test_a_run_of_another_reference_set_is_not_used(predictor: LatencyPredictor, run: ReferenceRun) -> None:
    variants = [variant("a", conv_features(32))]
    other = run.model_copy(update={"set_version": "0"})
    few = run.model_copy(update={"times": run.times[:3]})

    assert predictor.predict(other, variants) == predictor.predict(None, variants)
    assert predictor.predict(few, variants) == predictor.predict(None, variants)


def test_a_node_four_times_as_slow_is_predicted_so(predictor: LatencyPredictor, run: ReferenceRun) -> None:
    variants = [variant("a", conv_features(32)), variant("b", conv_features(64, layers=4))]
    slow = run_of(read_times(MACHINE / "cpu-t1.csv"), slower=4.0)

    fast, slower = predictor.predict(run, variants), predictor.predict(slow, variants)

    for name in ("a", "b"):
        assert slower[name].latency_p95_s == pytest.approx(4 * fast[name].latency_p95_s, rel=0.05)


@pytest.mark.parametrize("setting", ["cpu-t1", "cpu-basic-t1", "openvino-t1"])
def test_settings_that_were_learnt_from_are_told_apart(predictor: LatencyPredictor, setting: str) -> None:
    times = read_times(MACHINE / f"{setting}.csv")
    name = "resnet-fp32-1"
    graph = GraphBuilder(name, Precision.FP32)
    # The same graph as in the training set, by its seed.
    model = graph.build(NETWORK_FAMILIES["resnet"](graph, random.Random(f"1/{name}")))

    predicted = predictor.predict(run_of(times), [variant("resnet", model_features(model, name))])["resnet"]

    assert predicted.latency_p50_s == pytest.approx(times[name].p50_us * 1e-6, rel=0.3)


def test_more_work_takes_longer_and_needs_more_memory(predictor: LatencyPredictor, run: ReferenceRun) -> None:
    channels = [8, 16, 32, 64, 128, 256]
    variants = [variant(f"v{each}", conv_features(each)) for each in channels]

    for known in (run, None):
        predicted = [predictor.predict(known, variants)[each.name] for each in variants]
        latencies = np.array([each.latency_p95_s for each in predicted])
        assert rank_correlation(np.array(channels, dtype=np.float64), latencies) == pytest.approx(1.0)
        memory = [each.memory_bytes or 0 for each in predicted]
        assert memory == sorted(memory)
        assert memory[0] > 0


def test_what_a_suite_does_not_say_is_assumed_with_a_caveat(
    predictor: LatencyPredictor, run: ReferenceRun
) -> None:
    full = conv_features(32)
    sums_only = full.model_copy(update={"kernels": []})
    foreign = full.model_copy(update={"unknown_operators": ["vendor.Strange"]})
    variants = [
        variant("full", full),
        variant("sums", sums_only),
        variant("none", None),
        variant("odd", foreign),
    ]

    predicted = predictor.predict(run, variants)

    assert predicted["full"].caveat == ""
    assert "fleetfit suite build" in predicted["sums"].caveat
    assert "fleetfit suite build" in predicted["none"].caveat
    assert "vendor.Strange" in predicted["odd"].caveat
    for name in ("sums", "none", "odd"):
        assert predicted[name].log_sigma > predicted["full"].log_sigma


def test_without_features_a_larger_file_takes_longer(predictor: LatencyPredictor, run: ReferenceRun) -> None:
    sizes = [10_000, 100_000, 1_000_000, 10_000_000, 100_000_000]
    variants = [variant(f"v{size}", None, size_bytes=size) for size in sizes]

    latencies = [predictor.predict(run, variants)[each.name].latency_p95_s for each in variants]

    assert latencies == sorted(latencies)


def test_contributions_name_what_changed_the_prediction(
    predictor: LatencyPredictor, run: ReferenceRun
) -> None:
    contributions = predictor.predict(run, [variant("a", conv_features(48, layers=6))])["a"].contributions

    assert contributions
    assert len({each.feature for each in contributions}) == len(contributions) <= 5
    assert all(each.factor > 0 for each in contributions)
    strengths = [abs(np.log(each.factor)) for each in contributions]
    assert strengths == sorted(strengths, reverse=True)


def test_no_variants_no_predictions(predictor: LatencyPredictor) -> None:
    assert predictor.predict(None, []) == {}


def test_the_order_and_the_company_of_variants_do_not_matter(
    predictor: LatencyPredictor, run: ReferenceRun
) -> None:
    variants = [variant(f"v{each}", conv_features(each)) for each in (8, 24, 40)]

    together = predictor.predict(run, variants)

    turned = predictor.predict(run, variants[::-1])
    assert turned.keys() == together.keys()
    for each in variants:
        alone = predictor.predict(run, [each])[each.name]
        # Sums over other shapes of arrays differ in their last digits.
        for found in (turned[each.name], alone):
            assert found.latency_p95_s == pytest.approx(together[each.name].latency_p95_s)
            assert found.log_sigma == pytest.approx(together[each.name].log_sigma)
            assert found.evidence == together[each.name].evidence


counts = st.integers(0, 2**62)
operator_costs = st.lists(
    st.builds(
        OperatorCost,
        name=st.sampled_from(["Conv", "QLinearConv.depthwise", "Gemm", "Attention", "x.y.z"]),
        count=st.integers(1, 10**6),
        multiply_accumulates=counts,
    ),
    max_size=4,
    unique_by=lambda cost: cost.name,
)
kernels = st.lists(
    st.builds(
        lambda numbers, name: (
            f"{numbers[0]}/{numbers[1]} {name} fp32 {numbers[2]}x{numbers[3]}x{numbers[4]} g{numbers[5]} w{numbers[6]} "
            f"s{numbers[7]} {numbers[8]}+{numbers[9]}>{numbers[10]}"
        ),
        st.lists(st.integers(0, 10**12), min_size=11, max_size=11),
        st.sampled_from(["Conv", "Conv.pointwise", "MatMul", "Relu", "Odd"]),
    ),
    max_size=3,
    unique=True,
)
any_features = st.builds(
    GraphFeatures,
    multiply_accumulates=counts,
    parameters=counts,
    weight_bytes=counts,
    activation_bytes=counts,
    operator_count=st.integers(1, 10**6),
    depth=st.integers(1, 10**6),
    operators=operator_costs,
    kernels=kernels,
)


@settings(deadline=None)
@given(
    features=st.none() | any_features,
    precision=st.sampled_from(Precision),
    size_bytes=st.integers(1, 2**60),
    times=st.lists(st.tuples(*[st.floats(1e-9, 1e6)] * 3), min_size=10, max_size=10),
)
def test_any_input_gives_a_finite_positive_latency(
    predictor: LatencyPredictor,
    features: GraphFeatures | None,
    precision: Precision,
    size_bytes: int,
    times: list[tuple[float, float, float]],
) -> None:
    run = ReferenceRun(
        provider="CPUExecutionProvider",
        set_version=SET_VERSION,
        times=[
            ReferenceTime(
                name=name, latency_p50_seconds=p50, latency_mean_seconds=mean, latency_p95_seconds=p95
            )
            for name, (p50, mean, p95) in zip(REFERENCE_NETWORKS, times, strict=True)
        ],
    )
    asked = [variant("a", features, precision, size_bytes)]

    for latency in (predictor.predict(run, asked)["a"], predictor.predict(None, asked)["a"]):
        assert isfinite(latency.latency_p95_s)
        assert 0 < latency.latency_p50_s <= latency.latency_p95_s
        assert isfinite(latency.log_sigma)
