"""What a node timed is known as long as its file is the same, also after the node has left the variant."""

from typing import Any

from fleetfit_api.node_inference import ModelPhase
from fleetfit_api.suite import Variant
from fleetfit_operator.fleet.measurements import known_measurements

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
