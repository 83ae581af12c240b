"""A fleet's correction survives its way through a ConfigMap, is refused when damaged, and corrects predictions."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from math import exp, log
from typing import Any

import lightgbm
import numpy as np
import pytest
from fleetfit_api.prediction import Contribution
from fleetfit_api.suite import GraphFeatures, Variant
from fleetfit_operator.predict.corrected_predictor import CONTRIBUTION, with_correction
from fleetfit_operator.predict.fleet_correction import (
    FEATURE_NAMES,
    MOST_CHARACTERS,
    CorrectionFacts,
    FleetCorrection,
    UnusableCorrectionError,
    correction_rows,
    node_speed,
)
from fleetfit_operator.predict.shipped_model import ShippedModel
from fleetfit_training.fleet_timings import fleet_records
from fleetfit_training.retrain import retrain

from tests.unit.fleet_builders import variant
from tests.unit.predict.fleet_timing_cases import (
    FEATURES,
    FLOAT_KERNEL,
    INTEGER_KERNEL,
    PREDICTED_S,
    TenMilliseconds,
    fleet,
    run_of,
    timed_suite,
)

SHIPPED = "a" * 64


@pytest.fixture(scope="module")
def correction() -> FleetCorrection:
    nodes = fleet(40, lambda _node, name: 3.0 if name == "small" else 1.5)
    report = retrain(
        fleet_records(nodes, [timed_suite()], TenMilliseconds()), None, SHIPPED, date(2026, 1, 1)
    )
    assert report.correction is not None
    return report.correction


def features(kernel: str = "") -> GraphFeatures:
    return GraphFeatures.model_validate({**FEATURES, "kernels": [kernel] if kernel else []})


def test_it_comes_back_as_it_was(correction: FleetCorrection) -> None:
    text = correction.dump()
    assert len(text) < MOST_CHARACTERS / 4
    back = FleetCorrection.parse(text, SHIPPED)
    assert back.dump() == text
    assert back.digest == correction.digest
    rows = correction_rows([features(FLOAT_KERNEL), features(INTEGER_KERNEL)], np.log([0.01, 0.01]), 0.5)
    assert np.array_equal(back.log_ratio(rows), correction.log_ratio(rows))


def changed(**over: Any) -> Callable[[str], str]:
    return lambda text: json.dumps({**json.loads(text), **over})


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda _: "", "it is no fleet correction: Invalid JSON"),
        (lambda _: "[]", "it is no fleet correction"),
        (lambda _: "{}", "it is no fleet correction: format: Field required"),
        (lambda text: text[: len(text) // 2], "it is no fleet correction: Invalid JSON"),
        (changed(format=2), "format: Input should be 1"),
        (changed(offset=float("nan")), "offset: "),
        (changed(limit=20.0), "limit: "),
        (changed(featureNames=["depth"]), "other features than this version computes"),
        (lambda text: changed(model=json.loads(text)["model"][:-100])(text), "the digest differs"),
        (lambda text: text.replace(SHIPPED, "b" * 64), "another shipped model"),
    ],
)
def test_what_is_damaged_or_foreign_is_refused(
    damage: Callable[[str], str], sentence: str, correction: FleetCorrection
) -> None:
    with pytest.raises(UnusableCorrectionError, match=sentence):
        FleetCorrection.parse(damage(correction.dump()), SHIPPED)


def test_a_model_of_other_features_is_refused(correction: FleetCorrection) -> None:
    data = lightgbm.Dataset(np.arange(40.0).reshape(20, 2), np.arange(20.0))
    other = lightgbm.train({"verbosity": -1, "min_data_in_leaf": 2}, data, num_boost_round=1)
    text = replace(correction, booster=other).dump()
    with pytest.raises(UnusableCorrectionError, match="2 features instead of"):
        FleetCorrection.parse(text, SHIPPED)


def test_there_is_a_name_for_every_column_and_a_place_for_graphs_without_kernels() -> None:
    graphs = [features(), features(FLOAT_KERNEL), features(INTEGER_KERNEL)]
    rows = correction_rows(graphs, np.log([0.01, 0.02, 0.03]), -3.0)
    assert rows.shape == (3, len(FEATURE_NAMES))
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES)
    column = dict(zip(FEATURE_NAMES, rows.T, strict=True))
    assert column["share_integer"].tolist() == [0.0, 0.0, 1.0]
    assert column["run_convolution_size_0"].tolist() == [0.0, 5.0, 5.0]
    assert column["written_all_kernels"].tolist() == [0.0, 7.0, 7.0]
    assert column["depth"].tolist() == [5.0, 5.0, 5.0]
    assert column["speed"].tolist() == [-3.0, -3.0, -3.0]


def test_answers_stay_within_the_limit(correction: FleetCorrection) -> None:
    rows = correction_rows([features(INTEGER_KERNEL)], np.log([0.01]), 0.5)
    assert correction.log_ratio(rows)[0] > 0.2
    assert replace(correction, limit=0.2).log_ratio(rows).tolist() == [0.2]
    assert correction.log_ratio(rows[:0]).tolist() == []


def test_the_speed_of_a_node_is_that_of_its_run() -> None:
    run = run_of("n")
    expected = np.mean([log(each.latency_p50_seconds) for each in run.times])
    assert node_speed(run) == pytest.approx(expected)
    assert np.isnan(node_speed(None))
    assert np.isnan(node_speed(run.model_copy(update={"times": []})))


def variants() -> list[Variant]:
    known = variant("known", features={**FEATURES, "kernels": [INTEGER_KERNEL]})
    return [Variant.model_validate(each) for each in (known, variant("bare"))]


def test_predictions_are_corrected_where_the_graph_is_known(correction: FleetCorrection) -> None:
    run = run_of("n")
    plain = TenMilliseconds().predict(run, variants())
    corrected = with_correction(TenMilliseconds(), correction).predict(run, variants())
    assert corrected["bare"] == plain["bare"]
    factor = corrected["known"].latency_p95_s / PREDICTED_S
    assert 2.0 < factor <= exp(correction.limit)
    assert corrected["known"].latency_p50_s == pytest.approx(factor * plain["known"].latency_p50_s)
    assert corrected["known"].log_sigma == plain["known"].log_sigma
    assert corrected["known"].evidence is plain["known"].evidence
    (told,) = corrected["known"].contributions
    assert told == Contribution(feature=CONTRIBUTION, factor=told.factor)
    assert told.factor == pytest.approx(factor)


def test_without_a_correction_the_predictor_is_the_shipped_one() -> None:
    shipped = TenMilliseconds()
    assert with_correction(shipped, None) is shipped


def test_the_shipped_model_is_known_by_its_files(tmp_path: Any) -> None:
    shipped = ShippedModel.load()
    assert shipped.trained_on
    assert len(shipped.digest) == 64
    (tmp_path / "metadata.json").write_text('{"data_digest": "d", "more": 1}')
    small = ShippedModel.load(tmp_path)
    assert (small.data_digest, small.trained_on) == ("d", "")
    (tmp_path / "latency.txt").write_text("another")
    assert ShippedModel.load(tmp_path).digest != small.digest


def test_facts_refuse_what_is_no_digest() -> None:
    with pytest.raises(ValueError, match="pattern"):
        CorrectionFacts(
            shipped_model="x",
            trained_on=date(2026, 1, 1),
            data_digest=SHIPPED,
            nodes=1,
            held_out_nodes=0,
            error=0.0,
            error_without=0.0,
        )
