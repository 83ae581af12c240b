"""What does not run as predicted is told once, in coarse words, and stays told until it is clearly over."""

from collections.abc import Sequence
from typing import Any

import pytest
from fleetfit_api.base import Condition
from fleetfit_api.deployment import ClassStatus, InferenceDeploymentStatus
from fleetfit_operator.control.happenings import happenings_of
from fleetfit_operator.fleet.prediction_errors import Quantiles, VariantError
from fleetfit_operator.fleet.progress import RolloutPlan
from fleetfit_operator.report.deployment_status import deployment_status
from fleetfit_operator.report.view import DeploymentView

from tests.unit.fleet_builders import deployment, later, rollout_node

PREDICTED = Quantiles(0.008, 0.01)
BIASED = {"measured_nodes": 12, "bias_ratio": 1.8, "sigmas": 4.0}


def error(name: str = "small", **over: Any) -> VariantError:
    return VariantError("x86", name, PREDICTED, Quantiles(0.01, 0.018), **over)


def status(
    *errors: VariantError, drifting: Sequence[str] = (), before: InferenceDeploymentStatus | None = None
) -> InferenceDeploymentStatus:
    old = before or InferenceDeploymentStatus(
        classes=[ClassStatus(name="x86", drifting_variants=list(drifting))]
    )
    view = DeploymentView(
        deployment=deployment().model_copy(update={"status": old}),
        suite_found=True,
        nodes=[rollout_node("n1", wanted="b", has="b")],
        plan=RolloutPlan(frozenset(), (ClassStatus(name="x86", nodes=1, ready=1, phase="Complete"),), None),
        choices={},
        waiting={},
        lost={},
        service_namespace="fleetfit-system",
        now=later(0),
        prediction_errors=errors,
    )
    return deployment_status(view)


def degraded(of: InferenceDeploymentStatus) -> Condition:
    return next(each for each in of.conditions if each.type == "Degraded")


def told(*errors: VariantError, drifting: Sequence[str] = ()) -> bool:
    result = status(*errors, drifting=drifting)
    is_listed = result.classes[0].drifting_variants != []
    assert is_listed == (degraded(result).reason == "PredictionDrift")
    return is_listed


def test_a_class_on_which_a_variant_does_not_run_as_predicted_is_named_with_the_cure() -> None:
    result = status(error(**BIASED))
    assert result.classes[0].drifting_variants == ["small"]
    condition = degraded(result)
    assert condition.status == "False"  # measurements correct the choice, so nothing is broken
    assert "on class x86 small takes 1.8 times what was predicted, as 12 nodes timed it" in condition.message
    assert "fleetfit train" in condition.message


@pytest.mark.parametrize(
    ("over", "is_told"),
    [
        ({"sigmas": 2.9}, False),
        ({"sigmas": -3.1, "bias_ratio": 0.5}, True),
        ({"measured_nodes": 2}, False),
        ({"bias_ratio": 1.06}, False),
    ],
)
def test_few_nodes_small_errors_and_what_chance_explains_are_not_told(
    over: dict[str, Any], is_told: bool
) -> None:
    assert told(error(**{**BIASED, **over})) is is_told


def test_what_is_told_stays_told_until_it_is_clearly_over() -> None:
    near = error(**{**BIASED, "sigmas": 2.5})
    assert not told(near)
    assert told(near, drifting=["small"])
    assert not told(error(**{**BIASED, "sigmas": 1.9}), drifting=["small"])


def test_nodes_whose_timings_changed_are_told_unless_they_are_few_of_many() -> None:
    changed = {"drifted_nodes": 2, "drift_ratio": 1.43}
    result = status(error(measured_nodes=10, **changed))
    assert "on class x86 small takes 1.4 times as long as before on 2 nodes" in degraded(result).message
    assert not told(error(measured_nodes=1000, **changed))


def test_the_same_again_is_the_same_status_and_one_event() -> None:
    first = status(error(**BIASED))
    again = status(error(**{**BIASED, "bias_ratio": 1.804, "sigmas": 4.1}), before=first)
    assert again == first
    subject = deployment()
    events = happenings_of(subject, status().conditions, first.conditions)
    assert [(each.reason, each.warning) for each in events] == [("PredictionDrift", False)]
    assert happenings_of(subject, first.conditions, again.conditions) == []
    over = status(error(**{**BIASED, "sigmas": 1.0}), before=first)
    assert [each.reason for each in happenings_of(subject, first.conditions, over.conditions)] == ["Healthy"]


def test_many_are_counted() -> None:
    result = status(*(error(f"v{i}", **BIASED) for i in range(6)))
    assert "; and 3 more" in degraded(result).message
    assert len(result.classes[0].drifting_variants) == 6
