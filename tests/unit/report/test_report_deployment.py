from collections.abc import Sequence
from typing import Any

import pytest
from fleetfit_api import InferenceDeployment
from fleetfit_api.base import Condition, ConditionStatus
from fleetfit_api.deployment import InferenceDeploymentStatus
from fleetfit_api.model_status import ModelPhase
from fleetfit_api.names import NodeName
from fleetfit_api.reasons import Reason
from fleetfit_operator.fleet.choice import Choice
from fleetfit_operator.fleet.progress import RolloutNode
from fleetfit_operator.fleet.snapshot import DeploymentKey
from fleetfit_operator.report.deployment_status import deployment_status
from fleetfit_operator.report.view import DeploymentView
from fleetfit_operator.rollout.plan import plan_rollout

from tests.unit.fleet_builders import deployment, later, report, rollout_node

OLDER = DeploymentKey("shop", "older")


def status(
    *nodes: RolloutNode,
    subject: InferenceDeployment | None = None,
    at_s: float = 0.0,
    reasons_against: dict[str, str] | None = None,
    waiting: dict[str, Reason] | None = None,
    lost: Sequence[str] = (),
    suite_found: bool = True,
) -> InferenceDeploymentStatus:
    subject = subject or deployment()
    nothing = {name: Choice(None, None, {}, why) for name, why in (reasons_against or {}).items()}
    return deployment_status(
        DeploymentView(
            deployment=subject,
            suite_found=suite_found,
            nodes=nodes,
            plan=plan_rollout(subject.spec.rollout, nodes, later(at_s)),
            choices={NodeName(name): choice for name, choice in nothing.items()},
            waiting={NodeName(name): reason for name, reason in (waiting or {}).items()},
            lost={NodeName(name): OLDER for name in lost},
            service_namespace="fleetfit-system",
            now=later(at_s),
        )
    )


def told(result: InferenceDeploymentStatus, kind: str = "Ready") -> Condition:
    return next(condition for condition in result.conditions if condition.type == kind)


def words(result: InferenceDeploymentStatus) -> list[str]:
    return [f"{each.type}={each.status} {each.reason}" for each in result.conditions]


def done(name: str, **over: Any) -> RolloutNode:
    return rollout_node(name, "b", "b", **over)


def flying(name: str) -> RolloutNode:
    return rollout_node(name, "b", "b", report=report("b", ModelPhase.LOADING, servingVariant="a"))


def failing(name: str, reason: str = "CorruptModel") -> RolloutNode:
    return rollout_node(
        name, "b", "b", report=report("b", ModelPhase.FAILED, reason=reason, servingVariant="a")
    )


def test_a_complete_rollout() -> None:
    result = status(done("n1"), done("n2"), rollout_node("n3", "a", "a"))
    assert words(result) == [
        "Ready=True AllNodesReady",
        "Progressing=False RolloutComplete",
        "Degraded=False Healthy",
    ]
    assert told(result).message == "the variant is ready on 3 of 3 nodes"
    assert told(status(done("n1"))).message == "the variant is ready on 1 of 1 node"
    assert (result.ready_summary, result.variants_summary) == ("3/3", "b (2), a (1)")
    assert result.url == "http://fleetfit-runtime.fleetfit-system.svc:8080/v2/models/digits"
    assert result.model_name == "digits"
    assert result.observed_generation == 5
    assert [(v.name, v.assigned, v.ready) for v in result.variants] == [("a", 1, 1), ("b", 2, 2)]


def test_counts_while_rolling() -> None:
    result = status(done("n1"), flying("n2"), rollout_node("n3"), rollout_node("n4", absent=True))
    counts = result.nodes
    assert (counts.matched, counts.assigned, counts.updated, counts.ready) == (4, 4, 2, 1)
    assert (counts.serving, counts.failed, counts.absent) == (3, 0, 1)
    assert result.variants_summary == "a (2), b (1)"
    assert words(result)[:2] == ["Ready=False RollingOut", "Progressing=True RollingOut"]
    assert told(result).message.startswith("x86: 1 node to change, 1 at a time; now n2 (Loading)")


def test_absent_nodes_are_told_but_are_no_fault() -> None:
    result = status(done("n1"), rollout_node("n2", absent=True))
    assert words(result) == [
        "Ready=True NodesAbsent",
        "Progressing=False RolloutComplete",
        "Degraded=False NodesAbsent",
    ]
    assert told(result).message == (
        "the variant is ready on 1 of 2 nodes; absent: 1 node (n2), to follow when back"
    )


def test_when_no_node_answers_readiness_is_unknown() -> None:
    result = status(done("n1", absent=True))
    assert words(result)[0] == "Ready=Unknown NodesAbsent"
    assert told(result).message.startswith("no node answers: 1 node (n1); ")


@pytest.mark.parametrize(
    ("arguments", "expected", "sentence"),
    [
        (
            {"suite_found": False},
            "SuiteNotFound",
            "ModelSuite digits-suite is not in namespace shop: create it or correct spec.suiteRef",
        ),
        (
            {"lost": ["n8", "n9"]},
            "ModelNameConflict",
            "model name digits is already served by shop/older on 2 nodes (n8, n9): "
            "set another spec.serving.modelName or select other nodes",
        ),
        (
            {"reasons_against": {"n1": "no variant may run"}},
            "NoFeasibleVariant",
            "1 node (n1) cannot get a variant; n1: no variant may run",
        ),
    ],
)
def test_faults_of_the_declaration_say_what_to_do(
    arguments: dict[str, Any], expected: str, sentence: str
) -> None:
    result = status(done("n1"), **arguments)
    assert words(result) == [
        f"Ready=False {expected}",
        f"Progressing=False {expected}",
        f"Degraded=True {expected}",
    ]
    assert {condition.message for condition in result.conditions} == {sentence}


def test_no_matching_nodes() -> None:
    result = status()
    assert words(result)[:2] == ["Ready=False NoMatchingNodes", "Progressing=False NoMatchingNodes"]
    assert result.ready_summary == "0/0"


def test_a_stopped_rollout() -> None:
    result = status(failing("n1"), rollout_node("n2"))
    assert words(result) == [
        "Ready=False RolloutStopped",
        "Progressing=False RolloutStopped",
        "Degraded=True RolloutStopped",
    ]
    assert "n1 (CorruptModel)" in told(result).message


def test_a_stop_by_the_deadline_is_called_so() -> None:
    result = status(flying("n1"), rollout_node("n2"), at_s=600)
    assert words(result)[1] == "Progressing=False ProgressDeadlineExceeded"
    assert told(result, "Progressing").message.startswith("1 node (n1) not ready within 600 s; x86:")


def test_tolerated_failures_degrade() -> None:
    result = status(failing("n1"), done("n2"), subject=deployment(rollout={"maxFailedNodes": 1}))
    assert words(result)[0] == "Ready=False NodesFailed"
    assert words(result)[2] == "Degraded=True NodesFailed"
    assert told(result).message == "x86: nodes serve b (1); failed within maxFailedNodes: n1 (CorruptModel)"


def test_a_paused_rollout() -> None:
    result = status(done("n1"), rollout_node("n2"), subject=deployment(rollout={"paused": True}))
    assert words(result)[:2] == ["Ready=False RolloutPaused", "Progressing=False RolloutPaused"]


def test_what_ends_a_pause_is_said_once_for_all_classes() -> None:
    nodes = [rollout_node("n1", hardware_class="arm"), rollout_node("n2", hardware_class="x86")]
    result = status(*nodes, subject=deployment(rollout={"paused": True}))
    assert told(result).message == (
        "arm: 1 node to change; x86: 1 node to change; set rollout.paused to false to go on"
    )


@pytest.mark.parametrize("reason", [Reason.AWAITING_RUNTIME, Reason.AWAITING_REFERENCE_RUN])
def test_waiting_for_a_node_to_be_known(reason: Reason) -> None:
    new = rollout_node("n2", None, None)
    result = status(done("n1"), new, waiting={"n2": reason})
    assert words(result)[:2] == [f"Ready=False {reason}", f"Progressing=True {reason}"]


def test_an_absent_node_is_not_waited_for() -> None:
    new = rollout_node("n2", None, None, absent=True)
    result = status(done("n1"), new, waiting={"n2": Reason.AWAITING_RUNTIME})
    assert words(result)[0] == "Ready=True NodesAbsent"


def test_a_provider_fallback_degrades_but_stays_ready() -> None:
    fallen = report(
        "b", provider="CPUExecutionProvider", providerFallback=True, providerMessage="no NPU driver"
    )
    result = status(done("n1", report=fallen))
    assert words(result)[0] == "Ready=True AllNodesReady"
    assert words(result)[2] == "Degraded=True ProviderFallback"
    assert told(result, "Degraded").message.endswith("n1 runs on CPUExecutionProvider: no NPU driver")


def test_one_fault_does_not_hide_another() -> None:
    fallen = report("b", providerFallback=True, providerMessage="no NPU driver")
    nodes = [failing("n1"), rollout_node("n2", "b", "b", report=fallen, hardware_class="arm")]
    degraded = told(status(*nodes, reasons_against={"n3": "no variant may run"}), "Degraded")
    assert degraded.reason == "NoFeasibleVariant"
    assert "n3: no variant may run; also: x86: 1 node failed with b" in degraded.message
    assert degraded.message.count("x86: ") == 1
    assert degraded.message.endswith("runs on another one: no NPU driver")


def test_the_time_of_a_condition_moves_only_with_its_status() -> None:
    first = status(flying("n1"), at_s=10)
    subject = deployment().model_copy(update={"status": first})
    same = status(flying("n1"), subject=subject, at_s=20)
    assert same == first
    other_words = status(flying("n1"), rollout_node("n2"), subject=subject, at_s=20)
    assert told(other_words).message != told(first).message
    assert told(other_words).last_transition_time == later(10)
    flipped = status(done("n1"), subject=subject, at_s=30)
    assert told(flipped).status is ConditionStatus.TRUE
    assert told(flipped).last_transition_time == later(30)
    assert told(flipped, "Degraded").last_transition_time == later(10)


def test_times_are_whole_seconds_so_that_what_is_read_back_is_equal() -> None:
    first = status(flying("n1"), at_s=10.75)
    assert InferenceDeploymentStatus.model_validate(first.to_json()) == first
    assert told(first).last_transition_time == later(10)


def test_a_fleet_in_trouble_keeps_within_the_bounds_of_the_schema() -> None:
    nodes = [failing(f"n{number:04}-{'x' * 50}") for number in range(3000)]
    result = status(*nodes, reasons_against={node.name: "y" * 2000 for node in nodes})
    assert len(str(result.to_json())) < 20_000
