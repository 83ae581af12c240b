"""What is told of nodes that try again and again, long before the deadline of the rollout."""

import pytest
from fleetfit_api.base import Condition
from fleetfit_api.model_status import ModelPhase
from fleetfit_operator.fleet.progress import RolloutNode
from fleetfit_operator.report.deployment_status import deployment_status
from fleetfit_operator.report.view import DeploymentView
from fleetfit_operator.rollout.plan import plan_rollout

from tests.unit.fleet_builders import deployment, later, report, rollout_node


def conditions(*nodes: RolloutNode, at_s: float = 0.0) -> dict[str, Condition]:
    subject = deployment()
    view = DeploymentView(
        deployment=subject,
        suite_found=True,
        nodes=nodes,
        plan=plan_rollout(subject.spec.rollout, nodes, later(at_s)),
        choices={},
        waiting={},
        lost={},
        service_namespace="fleetfit-system",
        now=later(at_s),
    )
    return {condition.type: condition for condition in deployment_status(view).conditions}


def struggling(
    name: str, reason: str = "UnreachableSource", message: str = "no route to models.test"
) -> RolloutNode:
    told = report("b", ModelPhase.DOWNLOADING, reason=reason, message=message, servingVariant="a")
    return rollout_node(name, "b", "b", report=told)


def test_what_is_in_the_way_is_told_at_once() -> None:
    found = conditions(struggling("n3"), struggling("n1"), struggling("n2"))
    sentence = (
        "node n1 cannot get b and tries again, UnreachableSource: no route to models.test (and 2 more nodes)"
    )
    assert (found["Degraded"].status, found["Degraded"].reason) == ("True", "UnreachableSource")
    assert (found["Ready"].status, found["Ready"].reason) == ("False", "UnreachableSource")
    assert found["Degraded"].message == found["Ready"].message == sentence
    assert (found["Progressing"].status, found["Progressing"].reason) == ("True", "RollingOut")


def test_each_reason_is_told_and_the_words_do_not_follow_figures() -> None:
    before = conditions(struggling("n1"), struggling("n2", "DiskFull", "lacks 812 bytes"))
    after = conditions(struggling("n1"), struggling("n2", "DiskFull", "lacks 40 bytes"))
    assert before["Degraded"] == after["Degraded"]
    assert "node n1 cannot get b and tries again, UnreachableSource: " in before["Degraded"].message
    assert "node n2 cannot get b and tries again, DiskFull: the disk of" in before["Degraded"].message


def test_after_the_deadline_the_rollout_has_stopped_and_says_for_what() -> None:
    found = conditions(struggling("n1", "DiskFull"), at_s=600)
    assert (found["Progressing"].status, found["Progressing"].reason) == ("False", "ProgressDeadlineExceeded")
    assert (found["Degraded"].status, found["Degraded"].reason) == ("True", "RolloutStopped")
    assert "n1 (not ready in time: DiskFull)" in found["Degraded"].message
    assert "tries again" not in found["Degraded"].message


@pytest.mark.parametrize("reason", ["", "Assigned", "Pending", "Downloading", "Loading"])
@pytest.mark.parametrize("phase", [ModelPhase.PENDING, ModelPhase.DOWNLOADING, ModelPhase.LOADING])
def test_a_change_that_goes_its_way_is_no_fault(phase: ModelPhase, reason: str) -> None:
    node = rollout_node("n1", "b", "b", report=report("b", phase, reason=reason, servingVariant="a"))
    found = conditions(node)
    assert (found["Degraded"].status, found["Degraded"].reason) == ("False", "Healthy")
    assert found["Ready"].reason == "RollingOut"


def test_trouble_with_what_is_no_longer_assigned_and_of_absent_nodes_is_not_told() -> None:
    stale = report("old", ModelPhase.DOWNLOADING, reason="UnreachableSource", servingVariant="a")
    told_anew = rollout_node("n1", "b", "b", report=stale)
    away = rollout_node("n2", "b", "b", report=struggling("n2").report, absent=True, absent_since=later(-60))
    assert conditions(told_anew, away)["Degraded"].status == "False"


def test_a_reason_of_a_newer_runtime_is_told_in_its_words() -> None:
    found = conditions(struggling("n1", "SomethingNew", "never heard of"))
    assert found["Degraded"].reason == "InternalError"
    assert "SomethingNew: never heard of" in found["Degraded"].message


def test_a_long_message_of_a_node_is_cut() -> None:
    assert len(conditions(struggling("n1", message="x" * 2048))["Degraded"].message) < 700
