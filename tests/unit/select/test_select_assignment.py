from typing import Any

import pytest
from fleetfit_api.model_status import ModelPhase
from fleetfit_api.node_inference import Assignment
from fleetfit_api.prediction import Evidence
from fleetfit_operator.fleet.choice import Choice, LatencyPrediction
from fleetfit_operator.fleet.snapshot import FleetNode
from fleetfit_operator.select.assignment import next_assignment, wanted_target
from fleetfit_operator.select.choose import choose
from fleetfit_operator.select.failures import failed_targets
from fleetfit_operator.select.policy import Policy, decision_digest, policy_of

from tests.unit.fleet_builders import (
    assigned,
    deployment,
    digest,
    fleet_node,
    latencies,
    later,
    report,
    suite,
    target,
    variant,
)

SUITE = suite(variant("big", 0.98), variant("small", 0.95))
PREDICTED = latencies(big=20.0, small=4.0)


def policy(**spec: Any) -> Policy:
    return policy_of(deployment(**{"qoe": {"latencyTargetMilliseconds": 5}, **spec}), SUITE)


def decide(
    rules: Policy, node: FleetNode, may_move: bool = True, at_s: float = 1000.0, **predicted_ms: float
) -> tuple[Choice, Assignment | None]:
    predictions = latencies(**predicted_ms) if predicted_ms else PREDICTED
    choice = choose(rules, node, predictions, later(at_s))
    return choice, next_assignment(rules, node, choice, may_move, later(at_s))


def test_a_first_assignment_says_everything_that_the_node_needs() -> None:
    rules = policy(serving={"modelName": "mnist"})
    choice, made = decide(rules, fleet_node())
    assert made is not None
    assert (made.namespace, made.deployment, made.suite) == ("shop", "digits", "digits-suite")
    assert (made.variant, made.sha256, made.size_bytes) == ("small", digest("small"), 1000)
    assert made.model_name == "mnist"
    assert made.uri == "https://models.test/digits/small.onnx"
    assert made.assigned_at == later(1000)
    assert made.reason == choice.reason
    assert made.decided_from == rules.decided_from
    assert made.predicted is not None
    assert made.predicted.latency_p95_seconds == 0.004
    assert made.runner_up is not None
    assert made.runner_up.variant == "big"
    assert Assignment.model_validate(made.to_json()) == made


@pytest.mark.parametrize(
    ("uri", "base", "expected"),
    [
        ("a/b.onnx", "file:///models", "file:///models/a/b.onnx"),
        ("a.onnx", "https://x.test/m/", "https://x.test/m/a.onnx"),
        ("https://y.test/a.onnx", "https://x.test", "https://y.test/a.onnx"),
        ("file:///a.onnx", None, "file:///a.onnx"),
        ("deep/a.onnx", "s3://models/digits", "s3://models/digits/deep/a.onnx"),
        ("a.onnx", "oci://r.test:5000/models/digits:v1", "oci://r.test:5000/models/digits:v1/a.onnx"),
    ],
)
def test_relative_uris_are_resolved(uri: str, base: str | None, expected: str) -> None:
    rules = policy_of(deployment(), suite(variant("small", uri=uri), storage_uri=base))
    _, made = decide(rules, fleet_node())
    assert made is not None
    assert made.uri == expected


def test_further_files_go_with_the_variant_and_count_for_its_size() -> None:
    data = {"name": "part/weights.data", "uri": "w.data", "sha256": digest("w"), "sizeBytes": 5000}
    rules = policy_of(deployment(), suite(variant("small", files=[data])))
    _, made = decide(rules, fleet_node())
    assert made is not None
    (file,) = made.files
    assert (file.name, file.uri) == ("part/weights.data", "https://models.test/digits/w.data")
    assert (file.sha256, file.size_bytes) == (digest("w"), 5000)
    assert rules.suite.variants[0].total_bytes == 6000


def test_a_node_that_may_not_move_keeps_nothing_or_what_it_has() -> None:
    rules = policy()
    assert decide(rules, fleet_node(), may_move=False)[1] is None
    old = assigned("big", decidedFrom=rules.decided_from)
    assert decide(rules, fleet_node(assignment=old), may_move=False)[1] == old


def test_deciding_again_changes_nothing() -> None:
    rules = policy()
    _, first = decide(rules, fleet_node())
    _, second = decide(rules, fleet_node(assignment=first), at_s=5000)
    assert second == first


def test_noise_in_predictions_is_not_written_and_a_real_change_is() -> None:
    rules = policy()
    _, first = decide(rules, fleet_node(), big=20, small=5.1)
    assert first is not None
    noisy, kept = decide(rules, fleet_node(assignment=first), at_s=2000, big=20.3, small=5.15)
    assert noisy.chosen is not None
    assert first.predicted is not None
    assert noisy.chosen.qoe != first.predicted.qoe
    assert kept == first
    _, slower = decide(rules, fleet_node(assignment=first), at_s=2000, big=200, small=6.0)
    assert slower is not None
    assert slower.predicted is not None
    assert slower.predicted.latency_p95_seconds == 0.006
    assert slower.assigned_at == first.assigned_at


def test_better_evidence_is_written_once() -> None:
    rules = policy()
    _, first = decide(rules, fleet_node())
    node = fleet_node(assignment=first)
    measured = {**PREDICTED, "small": LatencyPrediction(0.0041, Evidence.MEASURED)}
    again = next_assignment(rules, node, choose(rules, node, measured, later(2000)), True, later(2000))
    assert again is not None
    assert again.predicted is not None
    assert again.predicted.evidence is Evidence.MEASURED
    assert "expected p95 4.1 ms of 5 ms target" in again.reason


def test_a_new_model_name_reaches_a_node_that_may_not_move() -> None:
    old = assigned("big", modelName="before")
    _, kept = decide(policy(serving={"modelName": "after"}), fleet_node(assignment=old), may_move=False)
    assert kept is not None
    assert (kept.model_name, kept.variant) == ("after", "big")


def test_how_requests_run_together_reaches_every_node_at_once_and_is_no_new_decision() -> None:
    serving = {"batching": {"maxItems": 4, "maxWaitMilliseconds": 2.5}}
    edited, before = policy(serving=serving), policy()
    assert edited.decided_from == before.decided_from
    _, old = decide(before, fleet_node())
    assert old is not None
    for may_move in (False, True):
        _, made = decide(edited, fleet_node(assignment=old), may_move=may_move, at_s=5000)
        assert made == old.model_copy(update={"batching": edited.spec.serving.batching})
        assert made.batching.max_wait_s == 0.0025
    _, first = decide(edited, fleet_node())
    assert first is not None
    assert first.batching.max_items == 4


def test_a_signature_goes_with_the_variant_and_what_is_required_reaches_every_node() -> None:
    variants = suite(variant("big", 0.98), variant("small", 0.95, signatureUri="small.sig"))
    rules = policy_of(deployment(serving={"requireSignature": True}), variants)
    _, made = decide(rules, fleet_node())
    assert made is not None
    assert (made.signature_uri, made.require_signature) == ("https://models.test/digits/small.sig", True)
    free = policy_of(deployment(), variants)
    assert free.decided_from != rules.decided_from
    _, old = decide(free, fleet_node())
    assert old is not None
    assert (old.variant, old.signature_uri, old.require_signature) == ("big", "", False)
    _, kept = decide(rules, fleet_node(assignment=old), may_move=False)
    assert kept is not None
    assert (kept.variant, kept.require_signature) == ("big", True)


def test_a_failure_moves_into_memory_with_the_next_assignment() -> None:
    rules = policy()
    old = assigned("small", decidedFrom=rules.decided_from)
    node = fleet_node(assignment=old, report=report("small", ModelPhase.FAILED, reason="CorruptModel"))
    _, moved = decide(rules, node)
    assert moved is not None
    assert moved.variant == "big"
    assert [(f.variant, f.sha256, f.reason) for f in moved.failed_variants] == [
        ("small", digest("small"), "CorruptModel")
    ]
    after = fleet_node(assignment=moved, report=report("big"))
    assert failed_targets(rules, after) == {target("small")}
    assert decide(rules, after, at_s=9000)[1] == moved


def test_a_failure_is_remembered_by_a_node_that_has_no_other_variant() -> None:
    rules = policy_of(deployment(), suite(variant("small")))
    old = assigned("small", decidedFrom=rules.decided_from)
    node = fleet_node(assignment=old, report=report("small", ModelPhase.FAILED, reason="CorruptModel"))
    choice, kept = decide(rules, node)
    assert wanted_target(choice) is None
    assert kept is not None
    assert kept.variant == "small"
    assert [failed.variant for failed in kept.failed_variants] == ["small"]


@pytest.mark.parametrize("stale", [{"variant": "small"}, {"sha256": digest("other")}])
def test_a_report_on_something_else_is_no_failure_of_the_assigned(stale: dict[str, Any]) -> None:
    rules = policy()
    failed = report("big", ModelPhase.FAILED, reason="CorruptModel", **stale)
    node = fleet_node(assignment=assigned("big", decidedFrom=rules.decided_from), report=failed)
    assert failed_targets(rules, node) == frozenset()


def test_memory_of_a_replaced_file_is_dropped() -> None:
    rules = policy()
    memory = [
        {"variant": "small", "sha256": digest("earlier")},
        {"variant": "gone", "sha256": digest("gone")},
    ]
    node = fleet_node(assignment=assigned("big", decidedFrom=rules.decided_from, failedVariants=memory))
    assert failed_targets(rules, node) == frozenset()


def test_a_pinned_variant_without_a_prediction_can_still_be_written() -> None:
    rules = policy(selection={"pins": [{"name": "p", "variant": "small", "nodeNames": ["n1"]}]})
    choice = choose(rules, fleet_node(), {}, later(0))
    made = next_assignment(rules, fleet_node(), choice, True, later(0))
    assert made is not None
    assert made.predicted is None
    assert "latency not predicted" in made.reason


@pytest.mark.parametrize(
    "edit",
    [
        {"qoe": {"latencyTargetMilliseconds": 6}},
        {"qoe": {"latencyTargetMilliseconds": 5, "constraints": {"minAccuracy": 0.5}}},
        {"qoe": {"latencyTargetMilliseconds": 5, "profile": "frugal"}},
        {"qoe": {"latencyTargetMilliseconds": 5, "latencyPercentile": 50}},
        {"qoe": {"latencyTargetMilliseconds": 5, "energyTargetJoules": 1}},
        {"qoe": {"latencyTargetMilliseconds": 5, "ratings": {"enabled": False}}},
        {"qoe": {"latencyTargetMilliseconds": 5, "constraints": {"maxEnergyJoules": 1}}},
        {"selection": {"hysteresis": 0.1}},
        {"selection": {"hysteresisSigmas": 2}},
        {"selection": {"exploration": {"maxNodesShare": 0.1}}},
        {"suiteRef": {"name": "other"}},
    ],
)
def test_edits_of_what_choices_rest_on_change_the_digest(edit: dict[str, Any]) -> None:
    assert policy(**edit).decided_from != policy().decided_from


@pytest.mark.parametrize(
    "edit",
    [
        {"rollout": {"maxUnavailable": 3, "paused": True}},
        {"serving": {"modelName": "x"}},
        {"nodeSelector": {"a": "b"}},
        {"selection": {"hysteresis": 0.02}},
        {"selection": {"hysteresisSigmas": 1, "exploration": {"maxNodesShare": 0}}},
        {"qoe": {"latencyTargetMilliseconds": 5, "profile": "balanced", "weights": {}, "ratings": {}}},
    ],
)
def test_other_edits_and_spelt_out_defaults_do_not(edit: dict[str, Any]) -> None:
    assert policy(**edit).decided_from == policy().decided_from


def test_the_suite_counts_but_not_the_order_of_its_variants() -> None:
    spec = deployment().spec
    one, two = variant("a"), variant("b")
    assert decision_digest(spec, suite(one, two).spec) == decision_digest(spec, suite(two, one).spec)
    assert decision_digest(spec, suite(one).spec) != decision_digest(spec, suite(one, two).spec)
    moved = suite(one, storage_uri="https://elsewhere.test")
    assert decision_digest(spec, suite(one).spec) != decision_digest(spec, moved.spec)


def test_what_a_restarted_runtime_times_anew_is_remembered_by_a_node_that_keeps_its_variant() -> None:
    rules = policy()
    known = [{"variant": "small", "sha256": digest("small"), "latencyP95Seconds": 0.004, "samples": 200}]
    old = assigned("small", decidedFrom=rules.decided_from, measuredVariants=known)
    timed = {"latencyP50Seconds": 0.004, "latencyP95Seconds": 0.0042, "samples": 200, "source": "WarmUp"}
    _, kept = decide(rules, fleet_node(assignment=old, report=report("small", warmUp=timed)), may_move=False)
    assert kept is not None
    assert [(each.timings, each.last_p95_seconds) for each in kept.measured_variants] == [(2, 0.0042)]
    again = fleet_node(assignment=kept, report=report("small", warmUp=timed))
    assert decide(rules, again, may_move=False)[1] == kept
