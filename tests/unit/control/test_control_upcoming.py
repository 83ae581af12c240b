"""What nodes are told to fetch ahead, from the plan of the whole fleet, and how often they are told."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from fleetfit_api.names import NodeName
from fleetfit_api.node_inference import AssignedFile, NodeInferenceSpec, UpcomingModel
from fleetfit_operator.control.plan import plan_fleet
from fleetfit_operator.control.prediction import FleetPredictions
from fleetfit_operator.control.upcoming import upcoming_models
from fleetfit_operator.fleet.progress import UpcomingChange
from fleetfit_operator.fleet.snapshot import FleetSnapshot

from tests.unit.control.test_control_plan import (
    KEY,
    TERMS,
    BySize,
    a_deployment,
    a_node,
    a_snapshot,
    a_suite,
    after,
    converge,
    variants,
)

ROLLOUT = {"maxUnavailable": 2, "canary": {"nodesPerClass": 1}}


@pytest.fixture
def predictions() -> FleetPredictions:
    return FleetPredictions(BySize())


def told(fleet: FleetSnapshot) -> dict[str, list[str]]:
    """Return the digests that nodes were told to fetch ahead."""
    return {
        name: [each.sha256 for each in node.inference.spec.upcoming]
        for name, node in fleet.nodes.items()
        if node.inference is not None and node.inference.spec.upcoming
    }


def edited(fleet: FleetSnapshot, **spec: Any) -> FleetSnapshot:
    return replace(fleet, deployments={KEY: a_deployment(rollout=ROLLOUT, **spec)})


def test_nodes_of_the_next_waves_are_told_the_files_and_lose_them_with_their_assignment(
    predictions: FleetPredictions,
) -> None:
    start = a_snapshot(*(a_node(f"n{i}") for i in range(8)), deployments=[a_deployment(rollout=ROLLOUT)])
    fleet, _ = converge(start, predictions)
    assert told(fleet) == {}

    fleet = edited(fleet, qoe={"latencyTargetMilliseconds": 2.0})
    writes: Counter[str] = Counter()
    told_before: set[str] = set()
    while (plan := plan_fleet(fleet, predictions, TERMS, epoch=1)).specs:
        for name, spec in plan.specs.items():
            if any(each.variant == "small" for each in spec.assignments):
                assert not spec.upcoming
                assert name in told_before or name == "n0"
        fleet = after(fleet, plan)
        writes.update(plan.specs.keys())
        told_before |= told(fleet).keys()
        assert set().union(*told(fleet).values(), {"b" * 64}) == {"b" * 64}
    assert set(variants(fleet).values()) == {"small"}
    assert told(fleet) == {}
    assert writes.total() <= 2 * 8, "one write ahead and one with the assignment"


def test_the_list_is_that_of_the_suite_with_absolute_addresses(predictions: FleetPredictions) -> None:
    suite = a_suite()
    data = {"name": "w.data", "uri": "part/w.data", "sha256": "c" * 64, "sizeBytes": 5}
    document = suite.to_json()
    document["spec"]["variants"][0]["files"] = [data]
    fleet = a_snapshot(a_node("n0"), a_node("n1"), suites=[type(suite).model_validate(document)])
    spec = plan_fleet(fleet, predictions, TERMS, epoch=1).specs[NodeName("n1")]
    assert spec.assignments == []
    assert spec.upcoming == [
        UpcomingModel(
            uri="https://models.example/large.onnx",
            sha256="a" * 64,
            size_bytes=20_000,
            files=[
                AssignedFile(
                    name="w.data", uri="https://models.example/part/w.data", sha256="c" * 64, size_bytes=5
                )
            ],
        )
    ]
    assert NodeInferenceSpec.model_validate(spec.to_json()) == spec


def test_a_node_that_does_not_answer_is_not_written_to_for_it(predictions: FleetPredictions) -> None:
    fleet = a_snapshot(*(a_node(f"n{i}") for i in range(3)))
    fleet = after(fleet, plan_fleet(fleet, predictions, TERMS, epoch=1), ready=False)
    assert told(fleet).keys() == {"n1", "n2"}
    away = fleet.nodes[NodeName("n2")]
    away = replace(away, node=replace(away.node, ready=False))
    gone = replace(fleet, nodes={**fleet.nodes, NodeName("n2"): away})
    assert NodeName("n2") not in plan_fleet(gone, predictions, TERMS, epoch=1).specs


def change(digit: str, waves: int) -> dict[NodeName, UpcomingChange]:
    model = UpcomingModel(uri=f"https://models.example/{digit}", sha256=digit * 64, size_bytes=1)
    return {NodeName("n0"): UpcomingChange(waves, model)}


def test_several_deployments_make_one_short_list_the_nearest_first_and_equal_files_once() -> None:
    changes = [change(digit, waves) for digit, waves in zip("abcaedf", (2, 1, 2, 1, 1, 2, 2), strict=True)]
    found = upcoming_models(a_node("n0"), changes)
    assert [each.sha256[0] for each in found] == ["b", "a", "e", "c"]
    assert upcoming_models(a_node("n1"), changes) == []
