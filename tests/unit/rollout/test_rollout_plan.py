from typing import Any

import pytest
from fleetfit_api.deployment import ClassStatus, Rollout
from fleetfit_api.model_status import ModelPhase
from fleetfit_operator.fleet.progress import RolloutNode, RolloutPlan
from fleetfit_operator.rollout.hardware_class import max_unavailable_nodes
from fleetfit_operator.rollout.plan import plan_rollout

from tests.unit.fleet_builders import digest, later, report, rollout_node, target


def rules(canaries: int = 1, **over: Any) -> Rollout:
    return Rollout.model_validate({"canary": {"nodesPerClass": canaries}, **over})


def plan(rollout: Rollout, *nodes: RolloutNode, at_s: float = 0.0) -> RolloutPlan:
    return plan_rollout(rollout, nodes, later(at_s))


def only(result: RolloutPlan) -> ClassStatus:
    assert len(result.classes) == 1
    return result.classes[0]


def done(name: str, has: str = "b", **over: Any) -> RolloutNode:
    return rollout_node(name, wanted="b", has=has, **over)


def flying(name: str, phase: ModelPhase = ModelPhase.LOADING, **over: Any) -> RolloutNode:
    """Told b, still serving a."""
    return rollout_node(name, has="b", **{"report": report("b", phase, servingVariant="a"), **over})


def failing(name: str, reason: str = "CorruptModel", serving: str = "a", **over: Any) -> RolloutNode:
    state = report("b", ModelPhase.FAILED, reason=reason, servingVariant=serving)
    return rollout_node(name, has="b", **{"report": state, **over})


@pytest.mark.parametrize(
    ("value", "nodes", "expected"),
    [
        (1, 10, 1),
        (4, 2, 4),
        ("25%", 10, 3),
        ("25%", 4, 1),
        ("1%", 5, 1),
        ("100%", 7, 7),
        ("25%", 0, 1),
        ("2", 9, 2),
    ],
)
def test_max_unavailable_is_rounded_up_and_at_least_one(value: int | str, nodes: int, expected: int) -> None:
    assert max_unavailable_nodes(value, nodes) == expected


def test_the_canary_goes_first_even_in_a_first_installation() -> None:
    nodes = [rollout_node(name, has=None) for name in "cab"]
    result = plan(rules(maxUnavailable="100%"), *nodes)
    assert result.moves == {"a"}
    assert only(result).phase == "Canary"
    assert only(result).message == "3 nodes to change; b must first be ready on 1 node of the class"


def test_the_others_wait_until_the_canary_is_ready() -> None:
    result = plan(rules(maxUnavailable="100%"), flying("a"), rollout_node("b"), rollout_node("c"))
    assert result.moves == set()
    assert only(result).phase == "Canary"
    assert only(result).message.endswith("now a (Loading)")


def test_after_the_canary_the_others_follow_within_max_unavailable() -> None:
    result = plan(rules(maxUnavailable=2), done("a"), *(rollout_node(name) for name in "bcde"))
    assert result.moves == {"b", "c"}
    assert only(result).phase == "Rolling"


def test_the_budget_counts_what_is_in_flight() -> None:
    result = plan(rules(maxUnavailable=2), done("a"), flying("b"), rollout_node("c"), rollout_node("d"))
    assert result.moves == {"c"}
    assert only(result).message == "2 nodes to change, 2 at a time; now b (Loading)"


def test_the_last_node_to_change_is_told_without_a_count_of_none() -> None:
    assert only(plan(rules(), done("a"), flying("b"))).message == "now b (Loading)"


def test_what_a_node_struggles_with_is_told_while_it_tries() -> None:
    trouble = report("b", ModelPhase.DOWNLOADING, reason="UnreachableSource", servingVariant="a")
    result = plan(rules(), done("a"), rollout_node("b", "b", "b", report=trouble))
    assert only(result).message == "now b (Downloading: UnreachableSource)"


def test_several_canaries_must_all_be_ready() -> None:
    some = [flying("a"), done("b"), rollout_node("c"), rollout_node("d")]
    assert plan(rules(canaries=2, maxUnavailable=4), *some).moves == set()
    some[0] = done("a")
    assert plan(rules(canaries=2, maxUnavailable=4), *some).moves == {"c", "d"}


def test_canaries_are_bounded_by_max_unavailable() -> None:
    assert plan(rules(canaries=5, maxUnavailable=2), *(rollout_node(n) for n in "abcdef")).moves == {"a", "b"}


def test_no_canaries_when_there_are_none_asked() -> None:
    assert plan(rules(canaries=0, maxUnavailable=2), *(rollout_node(n) for n in "abc")).moves == {"a", "b"}


def test_more_canaries_than_nodes_do_not_block() -> None:
    assert plan(rules(canaries=9, maxUnavailable=9), rollout_node("a")).moves == {"a"}
    assert only(plan(rules(canaries=9), done("a"))).phase == "Complete"


def test_each_target_is_proven_apart_and_canaries_share_one_budget() -> None:
    nodes = [rollout_node("a", "b"), rollout_node("b", "c"), rollout_node("c", "c")]
    assert plan(rules(maxUnavailable=3), *nodes).moves == {"a"}
    nodes[0] = done("a")
    assert plan(rules(maxUnavailable=3), *nodes).moves == {"b"}


def test_each_class_has_its_own_canary_and_budget() -> None:
    nodes = [rollout_node(name, hardware_class=name[0]) for name in ("x1", "x2", "y1", "y2")]
    result = plan(rules(), *nodes)
    assert result.moves == {"x1", "y1"}
    assert [each.name for each in result.classes] == ["x", "y"]


def test_a_failure_stops_its_class_only() -> None:
    nodes = [
        failing("x1", hardware_class="x"),
        rollout_node("x2", hardware_class="x"),
        done("y1", hardware_class="y"),
        rollout_node("y2", hardware_class="y"),
    ]
    result = plan(rules(), *nodes)
    assert result.moves == {"y2"}
    stopped = result.classes[0]
    assert (stopped.phase, stopped.failed) == ("Stopped", 1)
    assert stopped.message == (
        "1 node failed with b, more than maxFailedNodes 0: x1 (CorruptModel); no further node changes to it. "
        "Correct or remove the variant in the suite, cure the nodes, or raise rollout.maxFailedNodes"
    )


def test_tolerated_failures_do_not_stop_and_do_not_prove() -> None:
    result = plan(rules(maxFailedNodes=1), failing("a"), rollout_node("b"), rollout_node("c"))
    assert result.moves == {"b"}
    assert only(result).phase == "Canary"


def test_a_corrected_variant_goes_to_the_failed_node_first() -> None:
    failed = failing("c", wanted="b2")
    result = plan(rules(), failed, rollout_node("a", "b2"), rollout_node("b", "b2"))
    assert result.moves == {"c"}
    assert only(result).phase == "Canary"
    assert only(result).failed == 0


def test_a_node_that_left_a_bad_variant_still_speaks_against_it() -> None:
    left = rollout_node("a", "c", "c", failed_targets=frozenset({target("b")}))
    result = plan(rules(), left, rollout_node("b"), rollout_node("c"))
    assert result.moves == set()
    assert only(result).phase == "Stopped"
    assert "a (failed before)" in only(result).message


def test_a_node_may_leave_a_bad_variant_while_its_class_is_stopped() -> None:
    leaving = failing("a", wanted="c", failed_targets=frozenset({target("b")}))
    assert plan(rules(), leaving, rollout_node("b")).moves == {"a"}


def test_old_failures_with_what_nobody_wants_any_more_do_not_count() -> None:
    left = rollout_node("a", "c", "c", failed_targets=frozenset({target("b")}))
    result = plan(rules(), left, rollout_node("b", "c", "a"))
    assert only(result).failed == 0
    assert result.moves == {"b"}


def test_a_node_that_is_not_ready_in_time_counts_as_failed() -> None:
    deadline = rules(progressDeadlineSeconds=60)
    nodes = flying("a"), rollout_node("b")
    early = plan(deadline, *nodes, at_s=59)
    assert only(early).phase == "Canary"
    assert early.next_check_s == 1
    late = plan(deadline, *nodes, at_s=60)
    assert only(late).phase == "Stopped"
    assert "a (not ready in time)" in only(late).message


def test_a_late_node_is_named_with_what_it_waits_for() -> None:
    waiting = report("b", ModelPhase.DOWNLOADING, reason="DiskFull", servingVariant="a")
    late = plan(rules(progressDeadlineSeconds=10), flying("a", report=waiting), at_s=11)
    assert "a (not ready in time: DiskFull)" in only(late).message
    assert late.next_check_s is None


def test_a_node_that_reports_nothing_yet_is_in_flight() -> None:
    for nothing in (None, report("a"), report("b", sha256=digest("earlier b"))):
        result = plan(rules(), flying("a", report=nothing), rollout_node("b"))
        assert result.moves == set()
        assert only(result).ready == 0
        assert "a (told)" in only(result).message


def test_a_restart_of_the_runtime_is_no_failure() -> None:
    restarting = flying("a", not_ready_since=later(5000))
    result = plan(rules(progressDeadlineSeconds=60), restarting, at_s=5010)
    assert only(result).failed == 0
    assert result.next_check_s == 50


@pytest.mark.parametrize(
    ("absent_since", "phase"),
    [
        (None, "Stopped"),
        (later(0), "Stopped"),
        (later(600), "Stopped"),
        (later(601), "Canary"),
        (later(-5), "Canary"),
    ],
)
def test_a_node_that_vanished_in_its_change_counts_as_failed(absent_since: Any, phase: str) -> None:
    gone = flying("a", absent=True, absent_since=absent_since, report=report("a"))
    assert only(plan(rules(), gone, rollout_node("b"), at_s=2000)).phase == phase


def test_times_cut_to_seconds_do_not_hide_that_a_node_vanished() -> None:
    gone = flying("a", absent=True, assigned_at=later(0.9), absent_since=later(0))
    assert only(plan(rules(), gone, rollout_node("b"), at_s=5)).phase == "Stopped"


def test_absent_nodes_neither_move_nor_block() -> None:
    nodes = [
        rollout_node("a", absent=True),
        rollout_node("b", has=None, absent=True),
        done("c"),
        rollout_node("d"),
    ]
    result = plan(rules(), *nodes)
    assert result.moves == {"d"}
    assert only(plan(rules(), *nodes[:3])).phase == "Complete"
    assert (
        only(plan(rules(), *nodes[:3])).message == "nodes serve b (1); absent and to follow when back: a, b"
    )


def test_an_absent_node_that_had_become_ready_is_no_failure() -> None:
    result = plan(rules(), done("a", absent=True), rollout_node("b"), rollout_node("c"))
    assert only(result).failed == 0
    assert result.moves == {"b"}


def test_percentages_are_of_the_nodes_that_answer() -> None:
    nodes = [done("a"), rollout_node("b"), rollout_node("c")]
    away = [done(f"z{number}", absent=True) for number in range(97)]
    assert plan(rules(maxUnavailable="34%"), *nodes, *away).moves == {"b", "c"}
    assert plan(rules(maxUnavailable="33%"), *nodes, *away).moves == {"b"}


def test_a_paused_rollout_moves_nothing() -> None:
    result = plan(rules(paused=True), done("a"), rollout_node("b"))
    assert result.moves == set()
    assert only(result).phase == "Paused"
    assert only(result).message == "1 node to change"
    assert only(plan(rules(paused=True), done("a"))).phase == "Complete"


def test_nodes_without_a_wanted_variant_keep_what_they_have() -> None:
    kept, bare = rollout_node("a", wanted=None), rollout_node("b", wanted=None, has=None)
    result = plan(rules(), kept, bare)
    assert result.moves == set()
    assert only(result).phase == "Complete"
    assert (only(result).updated, only(result).ready) == (1, 1)
    assert only(result).message == "nodes serve a (1); no variant for b"


def test_a_broken_node_uses_up_the_budget_of_nodes_that_serve() -> None:
    broken = failing("a", "DiskFull", serving="")
    result = plan(rules(maxFailedNodes=1), broken, done("b"), rollout_node("c"))
    assert result.moves == set()
    assert "nothing serves on a, which counts towards maxUnavailable" in only(result).message
    assert plan(rules(maxFailedNodes=1), broken, done("b"), rollout_node("c", has=None)).moves == {"c"}


def test_a_failed_node_that_still_serves_leaves_room_for_others() -> None:
    assert plan(rules(maxFailedNodes=1), failing("a"), done("b"), rollout_node("c")).moves == {"c"}


def test_broken_nodes_may_move_but_only_max_unavailable_at_a_time() -> None:
    nodes = [failing(name, serving="", wanted="b2") for name in "abcd"]
    ready = rollout_node("e", "b2", "b2")
    assert plan(rules(maxUnavailable=2), *nodes, ready).moves == {"a", "b"}


def test_a_node_in_flight_may_be_given_another_target_within_the_budget() -> None:
    redirected = flying("a", wanted="c")
    assert plan(rules(maxUnavailable=1), redirected, rollout_node("b", "c")).moves == {"a"}


def test_a_canary_that_is_given_another_target_gives_back_its_place() -> None:
    nodes = [flying("x", wanted="c"), rollout_node("v"), rollout_node("y", "c")]
    assert plan(rules(canaries=2, maxUnavailable=9), *nodes).moves == {"x", "v"}


def test_nothing_to_do_is_complete_and_no_nodes_are_no_classes() -> None:
    assert only(plan(rules(), done("a"), done("b"))).message == "nodes serve b (2)"
    assert plan(rules()) == RolloutPlan(frozenset(), (), None)


def test_counts_of_a_class() -> None:
    nodes = [done("a"), flying("b"), rollout_node("c"), rollout_node("d", absent=True), failing("e")]
    status = only(plan(rules(maxFailedNodes=9), *nodes))
    assert (status.nodes, status.updated, status.ready, status.failed, status.absent) == (5, 3, 1, 1, 1)


def test_long_lists_of_nodes_are_cut() -> None:
    status = only(plan(rules(), *(failing(f"n{number:03}") for number in range(200))))
    assert "n000 (CorruptModel), n001 (CorruptModel), n002 (CorruptModel) and 197 more" in status.message
