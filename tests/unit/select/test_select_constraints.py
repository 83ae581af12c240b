"""Limits hold against the bad end of what is predicted, and say what to do."""

import re
from dataclasses import replace
from typing import Any

import pytest
from fleetfit_api import HardwareClass
from fleetfit_api.model_status import ModelPhase
from fleetfit_api.prediction import Evidence
from fleetfit_operator.fleet.choice import Choice, LatencyPrediction
from fleetfit_operator.fleet.snapshot import FleetNode
from fleetfit_operator.select.choose import choose
from fleetfit_operator.select.failures import failed_targets, with_class_failures
from fleetfit_operator.select.policy import Policy, policy_of

from tests.unit.fleet_builders import (
    assigned,
    deployment,
    digest,
    fleet_node,
    hardware_class,
    latencies,
    later,
    report,
    suite,
    variant,
)

MIB = 2**20
FIRST, SECOND = "CUDAExecutionProvider", "CPUExecutionProvider"


def policy(limits: dict[str, Any], *variants: dict[str, Any], **spec: Any) -> Policy:
    qoe = {"latencyTargetMilliseconds": 1, "constraints": limits, **spec.pop("qoe", {})}
    return policy_of(deployment(qoe=qoe, **spec), suite(*(variants or (variant("only"),))))


def predicted(**over: Any) -> dict[str, LatencyPrediction]:
    values: dict[str, Any] = {"latency_p95_s": 0.004, "evidence": Evidence.REFERENCE_RUN, **over}
    return {"only": LatencyPrediction(**values)}


def outcome(choice: Choice) -> str:
    return choice.candidates["only"].infeasible_because


@pytest.mark.parametrize(
    ("limits", "prediction", "sentence"),
    [
        (
            {"maxLatencyMilliseconds": 5},
            {"log_sigma": 0.2},
            "its p95 may reach 5.56 ms (predicted 4), above the limit of 5 ms",
        ),
        ({"maxLatencyMilliseconds": 5}, {"log_sigma": 0.1}, ""),
        ({"maxLatencyMilliseconds": 4}, {}, ""),
        (
            {"maxEnergyJoules": 0.5},
            {"energy_j": 0.4, "log_sigma": 0.2},
            "its energy may reach 0.556 J (predicted 0.4), above the limit of 0.5 J",
        ),
        (
            {"maxEnergyJoules": 0.5},
            {"energy_j": 0.6},
            "its predicted energy 0.6 J is above the limit of 0.5 J",
        ),
        ({"maxEnergyJoules": 0.5}, {}, ""),
        (
            {"maxMemoryBytes": 10 * MIB},
            {"memory_bytes": 12 * MIB},
            "its memory of 12.0 MiB is above the limit of 10.0 MiB",
        ),
        ({"maxMemoryBytes": 10 * MIB}, {"memory_bytes": 10 * MIB}, ""),
        ({"maxMemoryBytes": 1999}, {}, "its memory of 0.0 MiB is above the limit of 0.0 MiB"),
        (
            {"allowedProviders": ["OpenVINOExecutionProvider"]},
            {},
            "it would run on CPUExecutionProvider, which is not one of OpenVINOExecutionProvider",
        ),
        ({"allowedProviders": ["CPUExecutionProvider"]}, {}, ""),
    ],
)
def test_limits_count_with_the_bad_end(
    limits: dict[str, Any], prediction: dict[str, Any], sentence: str
) -> None:
    assert outcome(choose(policy(limits), fleet_node(), predicted(**prediction), later(0))) == sentence


def test_the_limit_is_about_the_percentile_of_the_target() -> None:
    rules = policy({"maxLatencyMilliseconds": 3}, qoe={"latencyPercentile": 50})
    assert outcome(choose(rules, fleet_node(), predicted(latency_p50_s=0.0025), later(0))) == ""
    slow = outcome(choose(rules, fleet_node(), predicted(latency_p50_s=0.0035), later(0)))
    assert slow == "its predicted p50 3.5 ms is above the limit of 3 ms"


@pytest.mark.parametrize(
    ("required", "prediction", "fits"),
    [
        ({}, 12 * MIB, False),
        ({}, 9 * MIB, True),
        ({"memoryBytes": 8 * MIB}, 12 * MIB, True),
        ({"memoryBytes": 12 * MIB}, 9 * MIB, False),
    ],
)
def test_memory_is_what_the_suite_asks_for_else_what_is_predicted(
    required: dict[str, Any], prediction: int, fits: bool
) -> None:
    rules = policy({}, variant("only", requirements=required))
    choice = choose(rules, fleet_node(memory_bytes=10.0 * MIB), predicted(memory_bytes=prediction), later(0))
    assert (choice.chosen is not None) is fits
    assert choice.candidates["only"].memory_bytes == prediction


def test_a_provider_that_did_not_come_up_counts_for_every_variant() -> None:
    """Or the node would try one variant after the other on a provider that it does not have."""
    rules = policy({"allowedProviders": [FIRST]}, variant("only"), variant("other"))
    fallen = report("other", provider=SECOND, providerFallback=True)
    node = fleet_node(providers=[FIRST, SECOND], assignment=assigned("other"), report=fallen)
    choice = choose(rules, node, {**predicted(), **latencies(other=1)}, later(0))
    assert choice.chosen is None
    assert outcome(choice) == f"it would run on {SECOND}, which is not one of {FIRST}"
    assert outcome(choose(rules, fleet_node(providers=[FIRST, SECOND]), predicted(), later(0))) == ""


@pytest.mark.parametrize(
    ("limits", "prediction"),
    [
        ({"maxLatencyMilliseconds": 1.0}, {"latency_p95_s": 0.0043217, "log_sigma": 0.1234}),
        ({"maxLatencyMilliseconds": 4.5}, {"latency_p95_s": 0.0043217, "log_sigma": 0.1234}),
        ({"maxEnergyJoules": 0.1}, {"energy_j": 0.123456}),
        ({"maxMemoryBytes": 10}, {"memory_bytes": 12345}),
        ({"maxSizeBytes": 10}, {}),
        ({"minAccuracy": 0.95}, {}),
    ],
)
def test_the_advised_limit_admits_the_variant(limits: dict[str, Any], prediction: dict[str, Any]) -> None:
    choice = choose(policy(limits), fleet_node(), predicted(**prediction), later(0))
    assert choice.chosen is None
    advised = re.search(r"with (\w+) at ([0-9.e+-]+) or (?:more|less)", choice.reason)
    assert advised is not None
    name, value = advised.groups()
    assert name in limits
    relaxed = {name: int(value) if name.endswith("Bytes") else float(value)}
    assert choose(policy(relaxed), fleet_node(), predicted(**prediction), later(0)).chosen is not None


def test_what_only_the_bad_end_keeps_out_is_said_with_the_limit_to_set() -> None:
    rules = policy({"maxLatencyMilliseconds": 5}, variant("only"), variant("slow", 0.99))
    choice = choose(rules, fleet_node(), {**predicted(log_sigma=0.2), **latencies(slow=50.0)}, later(0))
    assert choice.chosen is None
    assert choice.reason.endswith(
        "only keeps within the limits by its expected figures, but not by the bad end of their 90 % interval: "
        "relax qoe.constraints, with maxLatencyMilliseconds at 5.56 or more it may run"
    )


def test_nothing_is_advised_where_limits_are_not_what_keeps_variants_out() -> None:
    rules = policy({}, variant("only", requirements={"providers": ["X"]}))
    choice = choose(rules, fleet_node(), predicted(), later(0))
    assert choice.reason.endswith("Relax qoe.constraints or add a variant that fits")


@pytest.mark.parametrize(
    ("expected_ms", "edited", "kept"), [(4.9, False, True), (4.9, True, False), (5.1, False, False)]
)
def test_what_runs_is_left_for_its_expected_figures_until_an_edit(
    expected_ms: float, edited: bool, kept: bool
) -> None:
    rules = policy({"maxLatencyMilliseconds": 5}, variant("only"), variant("safe", 0.5))
    node = fleet_node(assignment=assigned("only", decidedFrom="another" if edited else rules.decided_from))
    choice = choose(
        rules,
        node,
        {**predicted(latency_p95_s=expected_ms / 1000, log_sigma=0.2), **latencies(safe=1)},
        later(0),
    )
    assert choice.chosen is not None
    assert choice.chosen.variant.name == ("only" if kept else "safe")


@pytest.mark.parametrize("by", ["deployment", "class"])
def test_where_a_signature_is_required_variants_without_one_are_out(by: str) -> None:
    node = fleet_node()
    rules = policy({}, variant("only"), variant("signed", signatureUri="signed.sig"))
    if by == "deployment":
        rules = policy(
            {},
            variant("only"),
            variant("signed", signatureUri="signed.sig"),
            serving={"requireSignature": True},
        )
    else:
        runtime = {"trustedKeys": ["signers"], "requireSignatures": True}
        strict = hardware_class().to_json()
        strict["spec"]["runtime"] |= runtime
        node = replace(node, hardware_class=HardwareClass.model_validate(strict))
    choice = choose(rules, node, latencies(only=1.0, signed=50.0), later(0))
    assert choice.chosen is not None
    assert choice.chosen.variant.name == "signed"
    assert outcome(choice) == "it has no signature, and one is required"


def failed_node(name: str, rules: Policy, reason: str = "UnsupportedOperator") -> FleetNode:
    assignment = assigned("only", decidedFrom=rules.decided_from)
    return fleet_node(name, assignment=assignment, report=report("only", ModelPhase.FAILED, reason=reason))


def test_an_operator_that_is_missing_on_one_node_is_missing_in_its_class() -> None:
    rules = policy({}, variant("only"), variant("plain", 0.5))
    predictions = {**predicted(), **latencies(plain=1)}
    node = fleet_node("n2")
    aware = with_class_failures(rules, [failed_node("n1", rules), node])
    choice = choose(aware, node, predictions, later(0))
    assert choice.chosen is not None
    assert choice.chosen.variant.name == "plain"
    assert outcome(choice) == (
        "it has an operator that the runtime does not, as a node of class x86 has shown"
    )
    pins = {"pins": [{"name": "p", "variant": "only", "nodeNames": ["n2"]}]}
    pinned = with_class_failures(
        policy({}, variant("only"), variant("plain", 0.5), selection=pins), [failed_node("n1", rules)]
    )
    forced = choose(pinned, node, predictions, later(0)).chosen
    assert forced is not None
    assert forced.variant.name == "only"


@pytest.mark.parametrize(
    "proof",
    [
        {"assignment": assigned("only"), "report": report("only")},
        {
            "assignment": assigned(
                "plain",
                measuredVariants=[
                    {"variant": "only", "sha256": digest("only"), "latencyP95Seconds": 0.004, "samples": 9}
                ],
            )
        },
    ],
)
def test_a_node_of_the_class_that_has_run_the_file_speaks_against_that(proof: dict[str, Any]) -> None:
    rules = policy({}, variant("only"), variant("plain", 0.5))
    nodes = [failed_node("n1", rules), fleet_node("n3", **proof)]
    choice = choose(with_class_failures(rules, nodes), fleet_node("n2"), predicted(), later(0))
    assert outcome(choice) == ""


@pytest.mark.parametrize("reason", ["CorruptModel", "InsufficientMemory"])
def test_other_failures_say_nothing_of_other_nodes(reason: str) -> None:
    rules = policy({})
    aware = with_class_failures(rules, [failed_node("n1", rules, reason)])
    assert outcome(choose(aware, fleet_node("n2"), predicted(), later(0))) == ""


def test_a_trial_that_came_too_late_is_no_failure_of_the_rollout() -> None:
    rules = policy({}, variant("only"), variant("plain"))
    memory = [{"variant": "only", "sha256": digest("only"), "reason": "NotMeasuredInTime"}]
    node = fleet_node(assignment=assigned("plain", decidedFrom=rules.decided_from, failedVariants=memory))
    assert failed_targets(rules, node) == frozenset()
    assert outcome(choose(rules, node, predicted(), later(0))) == (
        "the same file failed on this node (NotMeasuredInTime)"
    )


def test_an_unknown_operator_is_a_caveat_and_no_hindrance() -> None:
    features = {
        "multiplyAccumulates": 1, "parameters": 1, "weightBytes": 4, "activationBytes": 4, "operatorCount": 1,
        "depth": 1, "unknownOperators": ["com.acme.Fold"],
    }  # fmt: skip
    rules = policy({}, variant("only", features=features))
    choice = choose(rules, fleet_node(), predicted(), later(0))
    assert choice.chosen is not None
    assert choice.reason.endswith("; the cost of com.acme.Fold is not known to the prediction")
    said = choose(rules, fleet_node(), predicted(caveat="Fold counts as nothing"), later(0))
    assert said.reason.endswith("; Fold counts as nothing")
