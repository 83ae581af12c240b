"""What the cache derives of a node is derived once per change of the node."""

from typing import cast

import pytest
from fleetfit_kube import ApiClient
from fleetfit_operator.observe import fleet_cache
from fleetfit_operator.observe.declared import Declared
from fleetfit_operator.observe.fleet_cache import FleetCache, RuntimePods
from fleetfit_operator.observe.hardware import node_hardware

from tests.unit.fleet_builders import NOW


class NoServer:
    """Stands in where nothing is asked of the API server."""


def kubernetes_node(name: str, revision: int, **labels: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "uid": name, "resourceVersion": str(revision), "labels": labels},
        "status": {"capacity": {"cpu": "4", "memory": "8Gi"}},
    }


@pytest.fixture
def cache() -> FleetCache:
    return FleetCache(cast(ApiClient, NoServer()), RuntimePods("fleetfit-system", ""), lambda: None)


def test_a_node_of_the_snapshot_has_its_hardware(cache: FleetCache) -> None:
    cache.nodes.store(kubernetes_node("n0", 1, **{"nvidia.com/gpu.product": "NVIDIA-A2"}))
    [node] = cache.snapshot(Declared(), NOW).nodes.values()
    assert node.hardware.accelerator_product == "NVIDIA-A2"
    assert node.hardware.cpu_cores == 4.0

    cache.nodes.store(kubernetes_node("n0", 2, **{"nvidia.com/gpu.product": "NVIDIA-L4"}))
    [node] = cache.snapshot(Declared(), NOW).nodes.values()
    assert node.hardware.accelerator_product == "NVIDIA-L4"


def test_labels_are_read_again_only_after_a_change(
    cache: FleetCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(
        fleet_cache, "node_hardware", lambda node: (read.append(node.name), node_hardware(node))[1]
    )
    for name in ("n0", "n1"):
        cache.nodes.store(kubernetes_node(name, 1))
    for _ in range(3):
        cache.snapshot(Declared(), NOW)
    assert sorted(read) == ["n0", "n1"]
    cache.nodes.store(kubernetes_node("n1", 2, board="new"))
    cache.snapshot(Declared(), NOW)
    assert sorted(read) == ["n0", "n1", "n1"]
