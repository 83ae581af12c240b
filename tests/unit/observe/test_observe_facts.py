from datetime import UTC, datetime
from typing import Any

import pytest
from fleetfit_operator.observe.facts import node_facts


def kubernetes_node(**over: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "edge-1", "labels": {"kubernetes.io/arch": "arm64"}, **over.pop("metadata", {})},
        "spec": over.pop("spec", {}),
        "status": {
            "capacity": {"cpu": "3920m", "memory": "8141544Ki", "nvidia.com/gpu": "1"},
            "conditions": [
                {"type": "MemoryPressure", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"},
            ],
            **over,
        },
    }


def test_projects_labels_capacity_in_base_units_and_readiness() -> None:
    node = node_facts(kubernetes_node())
    assert node.name == "edge-1"
    assert node.labels == {"kubernetes.io/arch": "arm64"}
    assert node.capacity == {"cpu": 3.92, "memory": 8141544 * 1024.0, "nvidia.com/gpu": 1.0}
    assert node.ready
    assert node.ready_changed_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_heartbeats_do_not_change_the_projection() -> None:
    first, second = kubernetes_node(), kubernetes_node()
    second["metadata"]["resourceVersion"] = "99"
    second["status"]["conditions"][1]["lastHeartbeatTime"] = "2026-02-02T00:00:00Z"
    second["status"]["images"] = [{"names": ["x"]}]
    assert node_facts(first) == node_facts(second)


@pytest.mark.parametrize("quantity", ["", "lots", "4Xi", "1.2.3", None, [], {"a": 1}])
def test_a_quantity_that_cannot_be_read_is_absent_and_the_rest_stays(quantity: object) -> None:
    node = node_facts(kubernetes_node(capacity={"odd.example/device": quantity, "cpu": "2"}))
    assert node.capacity == {"cpu": 2.0}


@pytest.mark.parametrize("status", ["False", "Unknown"])
def test_a_node_whose_ready_condition_is_not_true_is_not_ready(status: str) -> None:
    assert not node_facts(kubernetes_node(conditions=[{"type": "Ready", "status": status}])).ready


def test_a_node_that_is_being_deleted_is_not_ready() -> None:
    assert not node_facts(kubernetes_node(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})).ready


def test_a_cordoned_node_counts_as_any_other() -> None:
    assert node_facts(kubernetes_node(spec={"unschedulable": True})) == node_facts(kubernetes_node())


@pytest.mark.parametrize("node", [{}, {"metadata": {"name": "new"}}, {"metadata": None, "status": None}])
def test_a_bare_node_is_not_ready_and_has_nothing(node: dict[str, Any]) -> None:
    facts = node_facts(node)
    assert not facts.ready
    assert not facts.capacity
    assert not facts.labels


@pytest.mark.parametrize("time", ["yesterday", "", 5])
def test_a_time_that_cannot_be_read_is_absent(time: object) -> None:
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": time}
    assert node_facts(kubernetes_node(conditions=[condition])).ready_changed_at is None
