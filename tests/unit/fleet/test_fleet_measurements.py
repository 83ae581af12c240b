"""What a node timed is known as long as its file is the same, also after the node has left the variant."""

from typing import Any

from fleetfit_api.model_status import ModelPhase
from fleetfit_api.node_telemetry import ReferenceRun
from fleetfit_api.suite import Variant
from fleetfit_operator.fleet.measurements import known_measurements, reference_run_digest

from tests.unit.fleet_builders import KEY, assigned, digest, fleet_node, report, variant

VARIANTS = [Variant.model_validate(variant(name)) for name in "ab"]


def timed(p95_s: float, source: str = "WarmUp") -> dict[str, Any]:
    return {"latencyP50Seconds": p95_s, "latencyP95Seconds": p95_s, "samples": 30, "source": source}


def remembered(name: str, p95_s: float, sha256: str | None = None) -> dict[str, Any]:
    return {"variant": name, "sha256": sha256 or digest(name), "latencyP95Seconds": p95_s, "samples": 30}


def figures(**node: Any) -> dict[str, float]:
    known = known_measurements(fleet_node(**node), KEY, VARIANTS)
    return {each.variant: each.latency_p95_seconds for each in known}


def test_what_the_node_timed_of_the_serving_variant_is_known() -> None:
    assert figures(assignment=assigned("a"), report=report("a", warmUp=timed(0.01))) == {"a": 0.01}


def test_the_memory_that_it_took_is_known_too() -> None:
    loaded = report("a", warmUp=timed(0.01), memoryBytes=1 << 20)
    (known,) = known_measurements(fleet_node(assignment=assigned("a"), report=loaded), KEY, VARIANTS)
    assert known.memory_bytes == 1 << 20


def test_latencies_of_requests_do_not_count() -> None:
    live = report("a", measured=timed(0.5, "Live"), warmUp=timed(0.01))
    assert figures(assignment=assigned("a"), report=live) == {"a": 0.01}


def test_what_was_timed_of_a_variant_that_was_left_is_remembered() -> None:
    assignment = assigned("b", measuredVariants=[remembered("a", 0.02)])
    assert figures(assignment=assignment, report=report("b", warmUp=timed(0.03))) == {"a": 0.02, "b": 0.03}


def test_another_file_under_the_same_name_is_another_variant() -> None:
    assignment = assigned("b", measuredVariants=[remembered("a", 0.02, digest("an older file"))])
    assert figures(assignment=assignment, report=report("b")) == {}


def test_while_a_change_is_under_way_figures_are_not_taken_for_those_of_the_new_file() -> None:
    changing = report("b", ModelPhase.LOADING, servingVariant="a", warmUp=timed(0.01))
    assert figures(assignment=assigned("b"), report=changing) == {}


def test_what_is_remembered_already_is_the_same_object() -> None:
    assignment = assigned("a", measuredVariants=[remembered("a", 0.02)])
    node = fleet_node(assignment=assignment, report=report("a", warmUp=timed(0.02)))
    assert node.assignment(KEY) is not None
    known = known_measurements(node, KEY, VARIANTS)
    assert known[0] is node.assignment(KEY).measured_variants[0]  # type: ignore[union-attr]  # asserted above


def test_a_timing_of_a_throttled_node_is_noted_and_not_learnt_also_when_it_has_cooled_down() -> None:
    hot = report("a", warmUp={**timed(0.09), "throttled": True})
    first = known_measurements(
        fleet_node(assignment=assigned("a", measuredVariants=[remembered("a", 0.02)]), report=hot),
        KEY,
        VARIANTS,
    )
    assert [(each.latency_p95_seconds, each.disturbed_p95_seconds) for each in first] == [(0.02, 0.09)]
    cooled = fleet_node(
        assignment=assigned("a", measuredVariants=[each.to_json() for each in first]),
        report=report("a", warmUp=timed(0.09)),
    )
    assert known_measurements(cooled, KEY, VARIANTS) == first


def test_telemetry_stands_for_a_timing_that_does_not_say() -> None:
    node = fleet_node(
        assignment=assigned("a"), report=report("a", warmUp=timed(0.09)), telemetry={"throttled": True}
    )
    assert [each.samples for each in known_measurements(node, KEY, VARIANTS)] == [0]


def test_another_reference_run_has_another_digest_and_the_same_one_has_the_same() -> None:
    run = ReferenceRun(provider="CPUExecutionProvider", set_version="1")
    again = ReferenceRun.model_validate_json(run.model_dump_json(by_alias=True))
    assert reference_run_digest(run) == reference_run_digest(again)
    assert reference_run_digest(run) != reference_run_digest(run.model_copy(update={"governor": "x"}))
    assert reference_run_digest(None) == ""
