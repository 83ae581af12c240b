from typing import Any

import pytest
from fleetfit_api.model_status import ModelPhase, ModelStatus
from fleetfit_api.node_inference import Assignment
from fleetfit_operator.fleet.choice import Choice
from fleetfit_operator.fleet.snapshot import FleetNode
from fleetfit_operator.select.choose import choose
from fleetfit_operator.select.policy import Policy, policy_of

from tests.unit.fleet_builders import (
    assigned,
    deployment,
    digest,
    fleet_node,
    latencies,
    later,
    report,
    suite,
    variant,
)

BIG = variant("big", 0.98)
SMALL = variant("small", 0.95)
TINY = variant("tiny", 0.70)
PREDICTED = latencies(big=20.0, small=4.2, tiny=1.0)


def policy(*variants: dict[str, Any], target_ms: float = 5.0, **spec: Any) -> Policy:
    qoe = {"latencyTargetMilliseconds": target_ms, **spec.pop("qoe", {})}
    return policy_of(deployment(qoe=qoe, **spec), suite(*(variants or (BIG, SMALL, TINY))))


def name_of(choice: Choice) -> str | None:
    return choice.chosen.variant.name if choice.chosen else None


def running(policy: Policy, name: str, **over: Any) -> Assignment:
    return assigned(name, **{"decidedFrom": policy.decided_from, **over})


def test_the_best_qoe_is_chosen_and_explained_with_figures() -> None:
    choice = choose(policy(), fleet_node(), PREDICTED, later(0))
    assert name_of(choice) == "small"
    assert choice.runner_up is not None
    assert choice.runner_up.variant.name == "tiny"
    assert choice.reason == (
        "small gives the best QoE 0.97 (accuracy 0.950, predicted p95 4.2 ms of 5 ms target, "
        "from the reference run); runner-up tiny 0.71 (accuracy 0.700, 1 ms)"
    )
    assert set(choice.candidates) == {"big", "small", "tiny"}


@pytest.mark.parametrize(("target_ms", "expected"), [(0.5, "tiny"), (5.0, "small"), (25.0, "big")])
def test_a_looser_target_admits_a_more_accurate_variant(target_ms: float, expected: str) -> None:
    assert name_of(choose(policy(target_ms=target_ms), fleet_node(), PREDICTED, later(0))) == expected


@pytest.mark.parametrize(
    ("weights", "expected"),
    [({"accuracy": 0, "latency": 1}, "tiny"), ({"accuracy": 1, "latency": 0}, "big")],
)
def test_a_weight_of_zero_ignores_its_aspect(weights: dict[str, float], expected: str) -> None:
    assert name_of(choose(policy(qoe={"weights": weights}), fleet_node(), PREDICTED, later(0))) == expected


def test_equal_qoe_goes_to_the_faster_then_to_the_first_name() -> None:
    twins = policy(variant("b"), variant("a"), variant("c"))
    assert name_of(choose(twins, fleet_node(), latencies(a=3, b=2, c=3), later(0))) == "b"
    assert name_of(choose(twins, fleet_node(), latencies(a=2, b=2, c=2), later(0))) == "a"


@pytest.mark.parametrize(
    ("constraints", "variant_over", "node_over", "sentence"),
    [
        ({"maxLatencyMilliseconds": 5}, {}, {}, "its predicted p95 20 ms is above the limit of 5 ms"),
        ({"minAccuracy": 0.99}, {}, {}, "its accuracy 0.980 is below the limit 0.990"),
        ({"maxSizeBytes": 999}, {}, {}, "its size of 1000 bytes is above the limit of 999"),
        ({"allowedPrecisions": ["int8", "fp16"]}, {}, {}, "its precision fp32 is not one of int8, fp16"),
        (
            {},
            {"requirements": {"providers": ["CUDAExecutionProvider"]}},
            {},
            "it needs CUDAExecutionProvider, and the node offers CPUExecutionProvider",
        ),
        (
            {},
            {"requirements": {"providers": ["CUDAExecutionProvider"]}},
            {
                "providers": ["CUDAExecutionProvider", "CPUExecutionProvider"],
                "telemetry": {"availableProviders": ["CPUExecutionProvider"]},
            },
            "it needs CUDAExecutionProvider, and the node offers CPUExecutionProvider",
        ),
        (
            {},
            {"requirements": {"memoryBytes": 2**31}},
            {"memory_bytes": 2.0**30},
            "it needs 2,048.0 MiB of memory, and the node has 1,024.0 MiB",
        ),
        (
            {},
            {"sizeBytes": 2**30},
            {"memory_bytes": 2.0**30},
            "it needs 2,048.0 MiB of memory, and the node has 1,024.0 MiB",
        ),
        (
            {},
            {"requirements": {"memoryBytes": 2**31}},
            {"telemetry": {"memoryTotalBytes": 2**30}},
            "it needs 2,048.0 MiB of memory, and the node has 1,024.0 MiB",
        ),
        (
            {},
            {"requirements": {"memoryBytes": 2**31}},
            {"telemetry": {"memoryTotalBytes": 2**35}, "memory_bytes": 2.0**30},
            "it needs 2,048.0 MiB of memory, and the node has 1,024.0 MiB",
        ),
    ],
)
def test_a_hard_constraint_excludes_with_a_sentence(
    constraints: dict[str, Any], variant_over: dict[str, Any], node_over: dict[str, Any], sentence: str
) -> None:
    only = policy(variant("big", 0.98, **variant_over), qoe={"constraints": constraints})
    choice = choose(only, fleet_node(**node_over), PREDICTED, later(0))
    assert choice.chosen is None
    assert choice.candidates["big"].infeasible_because == sentence
    assert choice.reason.startswith(
        f"no variant of suite digits-suite may run on this node: big: {sentence}. "
        "Relax qoe.constraints or add a variant that fits"
    )


@pytest.mark.parametrize(
    ("variant_over", "node_over"),
    [
        ({"requirements": {"providers": ["X", "CPUExecutionProvider"]}}, {}),
        ({"requirements": {"memoryBytes": 2**30}}, {"memory_bytes": 2.0**30}),
        ({"sizeBytes": 2**40}, {"memory_bytes": None}),
    ],
)
def test_what_just_fits_is_feasible(variant_over: dict[str, Any], node_over: dict[str, Any]) -> None:
    only = policy(variant("big", **variant_over))
    assert name_of(choose(only, fleet_node(**node_over), PREDICTED, later(0))) == "big"


def test_a_variant_without_a_finite_prediction_is_not_chosen() -> None:
    choice = choose(policy(), fleet_node(), latencies(big=1.0, small=float("inf")), later(0))
    assert name_of(choice) == "big"
    assert choice.candidates["small"].infeasible_because == "its latency cannot be predicted"
    assert choice.candidates["tiny"].infeasible_because == "its latency cannot be predicted"


def failed_report(reason: str, **over: Any) -> ModelStatus:
    return report("small", ModelPhase.FAILED, reason=reason, **over)


@pytest.mark.parametrize("reason", ["CorruptModel", "UnsupportedOperator", "InsufficientMemory"])
def test_what_failed_here_for_good_is_not_chosen_again(reason: str) -> None:
    rules = policy()
    node = fleet_node(assignment=running(rules, "small"), report=failed_report(reason))
    choice = choose(rules, node, PREDICTED, later(0))
    assert name_of(choice) == "tiny"
    assert choice.candidates["small"].infeasible_because == f"the same file failed on this node ({reason})"


@pytest.mark.parametrize("reason", ["UnreachableSource", "DiskFull", "DigestMismatch", ""])
def test_a_failure_that_may_pass_does_not_exclude(reason: str) -> None:
    rules = policy()
    node = fleet_node(assignment=running(rules, "small"), report=failed_report(reason))
    assert name_of(choose(rules, node, PREDICTED, later(0))) == "small"


def test_a_new_file_of_a_failed_variant_is_tried() -> None:
    rules = policy(BIG, {**SMALL, "sha256": digest("corrected")})
    node = fleet_node(assignment=running(rules, "small"), report=failed_report("CorruptModel"))
    assert name_of(choose(rules, node, PREDICTED, later(0))) == "small"


def test_a_failure_is_remembered_after_the_node_has_moved_on_until_an_edit() -> None:
    rules = policy()
    memory = [{"variant": "small", "sha256": digest("small"), "reason": "CorruptModel"}]
    node = fleet_node(assignment=running(rules, "tiny", failedVariants=memory), report=report("tiny"))
    assert name_of(choose(rules, node, PREDICTED, later(10_000))) == "tiny"
    edited = policy(target_ms=6.0)
    assert name_of(choose(edited, node, PREDICTED, later(10_000))) == "small"


NEAR = (variant("old", 0.90), variant("new", 0.91))
NEAR_PREDICTED = latencies(old=1.0, new=1.0)


def near(gain: float, **selection: Any) -> Policy:
    variants = (variant("old", 0.90), variant("new", round(0.90 + gain, 4)), variant("best", 1.0))
    limits = {"constraints": {"maxSizeBytes": 5000}}
    best_is_too_big = {**variants[2], "sizeBytes": 6000}
    return policy(*variants[:2], best_is_too_big, qoe=limits, selection=selection)


@pytest.mark.parametrize(("gain", "expected"), [(0.01, "old"), (0.02, "old"), (0.03, "new")])
def test_a_node_changes_only_for_more_than_the_hysteresis(gain: float, expected: str) -> None:
    rules = near(gain, hysteresis=0.02)
    node = fleet_node(assignment=running(rules, "old"))
    choice = choose(rules, node, NEAR_PREDICTED, later(301))
    assert name_of(choice) == expected
    if expected == "old":
        assert "keeps old with QoE 0.90" in choice.reason
        assert "not by more than the hysteresis of 0.02" in choice.reason
        assert choice.runner_up is not None
        assert choice.runner_up.variant.name == "new"
        assert choice.recheck_s is None


@pytest.mark.parametrize(("age_s", "expected"), [(0, "old"), (299, "old"), (300, "new"), (-50, "old")])
def test_a_node_keeps_a_variant_for_the_minimum_dwell(age_s: float, expected: str) -> None:
    rules = near(0.05, minimumDwellSeconds=300)
    choice = choose(rules, fleet_node(assignment=running(rules, "old")), NEAR_PREDICTED, later(age_s))
    assert name_of(choice) == expected
    if expected == "old":
        assert choice.recheck_s == 300 - max(0, age_s)
        assert "the minimum dwell" in choice.reason


@pytest.mark.parametrize("gain", [0.01, 0.05])
def test_an_edit_ends_the_dwell_but_not_the_hysteresis(gain: float) -> None:
    rules = near(gain)
    node = fleet_node(assignment=running(rules, "old", decidedFrom="something else"))
    assert name_of(choose(rules, node, NEAR_PREDICTED, later(1))) == ("new" if gain > 0.02 else "old")


def test_an_infeasible_variant_is_left_at_once() -> None:
    rules = near(0.001)
    node = fleet_node(assignment=running(rules, "best"))
    assert name_of(choose(rules, node, {**NEAR_PREDICTED, **latencies(best=1.0)}, later(1))) == "new"


def test_a_changed_file_is_a_new_choice() -> None:
    rules = near(0.001)
    node = fleet_node(assignment=running(rules, "old", sha256=digest("earlier")))
    assert name_of(choose(rules, node, NEAR_PREDICTED, later(1))) == "new"


def pin(variant_name: str, name: str = "fixed", **over: Any) -> dict[str, Any]:
    return {"name": name, "variant": variant_name, "nodeNames": ["n1"], **over}


def pinned(*pins: dict[str, Any], **spec: Any) -> Policy:
    return policy(selection={"pins": list(pins)}, **spec)


def test_a_pin_wins_over_the_best_and_says_what_it_costs() -> None:
    choice = choose(pinned(pin("tiny")), fleet_node(), PREDICTED, later(0))
    assert name_of(choice) == "tiny"
    assert choice.reason.startswith("tiny is pinned by fixed: QoE 0.71")
    assert "without the pin it would be small 0.97" in choice.reason


def test_a_pin_wins_over_hysteresis_dwell_limits_and_earlier_failures() -> None:
    rules = pinned(pin("small"), qoe={"constraints": {"minAccuracy": 0.96}})
    node = fleet_node(assignment=running(rules, "small"), report=failed_report("CorruptModel"))
    choice = choose(rules, node, PREDICTED, later(0))
    assert name_of(choice) == "small"
    assert "although the same file failed on this node (CorruptModel)" in choice.reason


@pytest.mark.parametrize(
    ("pins", "labels", "expected"),
    [
        ([pin("tiny", nodeNames=["other"])], {}, "small"),
        ([pin("tiny", nodeNames=[], nodeSelector={"zone": "a"})], {"zone": "a"}, "tiny"),
        ([pin("tiny", nodeNames=[], nodeSelector={"zone": "a", "x": "1"})], {"zone": "a"}, "small"),
        ([pin("tiny", nodeNames=["other"], nodeSelector={"zone": "a"})], {"zone": "a"}, "tiny"),
        ([pin("big"), pin("tiny", "second")], {}, "big"),
    ],
)
def test_a_pin_applies_by_name_or_labels_and_the_first_wins(
    pins: list[dict[str, Any]], labels: dict[str, str], expected: str
) -> None:
    assert name_of(choose(pinned(*pins), fleet_node(labels=labels), PREDICTED, later(0))) == expected


def test_a_pin_to_an_unknown_variant_leaves_the_node_as_it_is_and_says_so() -> None:
    choice = choose(pinned(pin("tinny")), fleet_node(), PREDICTED, later(0))
    assert choice.chosen is None
    assert choice.reason == (
        "pin fixed asks for variant tinny, which suite digits-suite does not have; "
        "correct the pin (the suite has big, small, tiny) or remove it"
    )


@pytest.mark.parametrize("requirement", [{"memoryBytes": 2**50}, {"providers": ["CUDAExecutionProvider"]}])
def test_a_pin_does_not_win_over_what_the_node_cannot_do(requirement: dict[str, Any]) -> None:
    rules = policy(variant("big", requirements=requirement), SMALL, selection={"pins": [pin("big")]})
    choice = choose(rules, fleet_node(), PREDICTED, later(0))
    assert choice.chosen is None
    assert "which this node cannot run: it needs" in choice.reason
    assert "pin another variant or remove the pin" in choice.reason


def test_a_single_feasible_variant_is_said_to_be_the_only_one() -> None:
    choice = choose(policy(SMALL), fleet_node(), PREDICTED, later(0))
    assert choice.runner_up is None
    assert choice.reason.startswith("small is the only variant that may run here: QoE 1.00")


def test_a_long_suite_is_explained_within_bounds() -> None:
    many = [variant(f"v{number:02d}", 0.5) for number in range(64)]
    choice = choose(policy(*many), fleet_node(), {}, later(0))
    assert len(choice.reason) < 2048
    assert "and 59 more" in choice.reason


def test_a_node_without_anything_known_still_gets_a_choice() -> None:
    bare = FleetNode(fleet_node(memory_bytes=None).node)
    assert name_of(choose(policy(), bare, PREDICTED, later(0))) == "small"
