from datetime import UTC, datetime

from fleetfit_api import HardwareClass
from fleetfit_api.base import Condition
from fleetfit_kube.errors import Invalid, Unavailable
from fleetfit_operator.apply.writes import Write, WriteResult
from fleetfit_operator.control.happenings import happenings_of, refused_classes, summary_of_moves

SUBJECT = HardwareClass.model_validate(
    {"metadata": {"name": "x"}, "spec": {"runtime": {"image": "i", "providers": ["CPUExecutionProvider"]}}}
)


def condition(kind: str, status: str, reason: str, message: str = "m") -> Condition:
    return Condition.model_validate(
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": datetime(2026, 1, 1, tzinfo=UTC),
        }
    )


def told(old: list[Condition], new: list[Condition]) -> list[tuple[str, bool]]:
    return [(each.reason, each.warning) for each in happenings_of(SUBJECT, old, new)]


def test_a_new_reason_is_told_once_though_several_conditions_have_it() -> None:
    new = [condition("Ready", "False", "RolloutStopped"), condition("Degraded", "True", "RolloutStopped")]
    assert told([], new) == [("RolloutStopped", True)]


def test_the_same_reason_with_other_figures_is_not_told() -> None:
    old = [condition("Progressing", "True", "RollingOut", "1 of 9")]
    assert told(old, [condition("Progressing", "True", "RollingOut", "2 of 9")]) == []


def test_health_from_the_start_is_no_news_but_recovery_is() -> None:
    healthy = [condition("Degraded", "False", "Healthy")]
    assert told([], healthy) == []
    assert told([condition("Degraded", "True", "NodesFailed")], healthy) == [("Healthy", False)]


def test_a_wave_is_one_sentence() -> None:
    told_moves = summary_of_moves(SUBJECT, {("fast", "small"): 1, ("plain", "small"): 250})
    assert [each.message for each in told_moves] == [
        "1 node of class fast now to run small",
        "250 nodes of class plain now to run small",
    ]


async def _nothing() -> None:
    return None


def test_a_class_that_asks_for_the_impossible_is_told_why() -> None:
    refusal = Invalid(422, "Invalid", "spec.template.spec.containers[0].image: Required value")
    result = WriteResult(0, ((Write("DaemonSet", "fleetfit-runtime-x", _nothing), refusal),))
    happening = refused_classes([SUBJECT], result)[0]
    assert (happening.reason, happening.warning) == ("InvalidSpec", True)
    assert "image: Required value" in happening.message
    overloaded = Unavailable(503, "Unavailable", "later")
    result = WriteResult(0, ((Write("DaemonSet", "fleetfit-runtime-x", _nothing), overloaded),))
    assert refused_classes([SUBJECT], result) == []
