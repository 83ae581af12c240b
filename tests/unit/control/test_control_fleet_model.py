"""The operator uses the fleet's correction when there is one that it can use, and says so."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any, cast

import pytest
from fleetfit_api.names import FLEET_CORRECTION_KEY
from fleetfit_kube import ApiClient, ResourceType
from fleetfit_kube.errors import ApiError, Forbidden, NotFound
from fleetfit_operator.control.fleet_model import FleetModel, ModelPlace
from fleetfit_operator.control.prediction import FleetPredictions
from fleetfit_operator.predict.corrected_predictor import with_correction
from fleetfit_operator.predict.fleet_correction import FleetCorrection
from fleetfit_operator.predict.shipped_model import ShippedModel
from fleetfit_operator.telemetry.metrics import Metrics
from fleetfit_training.fleet_timings import fleet_records
from fleetfit_training.retrain import retrain
from prometheus_client import CollectorRegistry

from tests.unit.fleet_builders import KEY, fleet_node
from tests.unit.predict.fleet_timing_cases import PREDICTED_S, TenMilliseconds, fleet, timed_suite

SHIPPED = ShippedModel(digest="a" * 64, data_digest="d" * 64, trained_on="2026-01-01")


@pytest.fixture(scope="module")
def correction() -> FleetCorrection:
    records = fleet_records(fleet(40, lambda *_: 2.0), [timed_suite()], TenMilliseconds())
    trained = retrain(records, None, SHIPPED.digest, date(2026, 1, 2)).correction
    assert trained is not None
    return trained


class OneConfigMap:
    """An API server that has nothing but this ConfigMap."""

    def __init__(self) -> None:
        self.data: Mapping[str, str] | None = None
        self.error: ApiError | None = None
        self.asked: list[tuple[str, str, str]] = []

    async def get(self, resource: ResourceType, name: str, namespace: str) -> dict[str, Any]:
        self.asked.append((resource.kind, namespace, name))
        if self.error is not None:
            raise self.error
        if self.data is None:
            raise NotFound(404, "NotFound", "there is none")
        return {"metadata": {"name": name}, **({"data": self.data} if self.data else {})}

    def hold(self, text: str) -> None:
        self.data = {FLEET_CORRECTION_KEY: text}


class Rig:
    """The fleet's model with what it reads from and works for."""

    def __init__(self, name: str = "fleetfit-model") -> None:
        self.server = OneConfigMap()
        self.registry = CollectorRegistry()
        shipped = TenMilliseconds()
        self.predictions = FleetPredictions(shipped)
        self.model = FleetModel(
            cast(ApiClient, self.server),
            ModelPlace("fleetfit-system", name),
            SHIPPED,
            with_correction=partial(with_correction, shipped),
            user=self.predictions,
            metrics=Metrics(self.registry).model,
        )

    def factor(self) -> float:
        """Return by how much the predictions of a pass are corrected."""
        self.predictions.begin_pass()
        return self.predictions.of(fleet_node(), timed_suite(), KEY)["exact"].latency_p95_s / PREDICTED_S

    def shown(self, correction: str) -> float | None:
        labels = {"data_digest": "d" * 12, "trained_on": "2026-01-01", "correction": correction}
        return self.registry.get_sample_value("fleetfit_model_info", labels)

    def error(self, model: str) -> float | None:
        return self.registry.get_sample_value("fleetfit_model_held_out_error", {"model": model})


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_without_a_config_map_the_shipped_model_works_alone(rig: Rig) -> None:
    await rig.model.refresh()
    assert rig.factor() == 1.0
    assert rig.server.asked == [("ConfigMap", "fleetfit-system", "fleetfit-model")]
    assert rig.shown("none") == 1.0
    assert rig.error("shipped") is None


async def test_a_correction_is_used_and_its_predecessors_answers_are_forgotten(
    rig: Rig, correction: FleetCorrection
) -> None:
    assert rig.factor() == 1.0
    rig.server.hold(correction.dump())
    await rig.model.refresh()
    assert 1.5 < rig.factor() < 2.1
    assert rig.shown(correction.digest[:12]) == 1.0
    assert rig.shown("none") is None
    assert rig.error("shipped") == correction.facts.error_without
    assert rig.error("corrected") == correction.facts.error


@pytest.mark.parametrize("data", [None, {}], ids=["deleted", "emptied"])
async def test_a_correction_that_is_taken_away_is_used_no_longer(
    data: Mapping[str, str] | None, rig: Rig, correction: FleetCorrection
) -> None:
    rig.server.hold(correction.dump())
    await rig.model.refresh()
    rig.server.data = data
    await rig.model.refresh()
    assert rig.factor() == 1.0
    assert rig.shown("none") == 1.0
    assert rig.error("corrected") is None


async def test_one_that_cannot_be_used_is_refused_aloud_and_once(
    rig: Rig, correction: FleetCorrection, caplog: pytest.LogCaptureFixture
) -> None:
    rig.server.hold(correction.dump())
    await rig.model.refresh()
    foreign = replace(correction, facts=correction.facts.model_copy(update={"shipped_model": "b" * 64}))
    rig.server.hold(foreign.dump())
    caplog.set_level(logging.ERROR)
    for _ in range(2):
        await rig.model.refresh()
    assert rig.factor() == 1.0
    assert rig.shown("refused") == 1.0
    (record,) = caplog.records
    assert record.message == "the fleet's correction is not used"
    assert "another shipped model" in vars(record)["error"]


async def test_while_it_cannot_be_read_the_last_one_stays(rig: Rig, correction: FleetCorrection) -> None:
    rig.server.hold(correction.dump())
    await rig.model.refresh()
    before = rig.factor()
    rig.server.error = Forbidden(403, "Forbidden", "no")
    await rig.model.refresh()
    assert rig.factor() == before
    assert rig.shown(correction.digest[:12]) == 1.0


async def test_the_same_again_lets_answers_stand(rig: Rig, correction: FleetCorrection) -> None:
    rig.server.hold(correction.dump())
    await rig.model.refresh()
    first = rig.predictions.of(fleet_node(), timed_suite(), KEY)
    await rig.model.refresh()
    rig.predictions.begin_pass()
    assert rig.predictions.of(fleet_node(), timed_suite(), KEY) is first


async def test_without_a_name_nothing_is_read() -> None:
    rig = Rig(name="")
    await rig.model.refresh()
    assert rig.server.asked == []
    assert rig.factor() == 1.0
