"""What a load measures of a real model: its memory, and how the node was meanwhile."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from fleetfit_api.model_status import MeasurementSource, ModelPhase
from fleetfit_api.node_inference import NodeInferenceStatus
from fleetfit_api.node_telemetry import NodeTelemetry
from fleetfit_runtime.agent.status import NodeState, build_status
from fleetfit_runtime.probe.node_probe import NodeProbe
from fleetfit_runtime.probe.process_memory import process_memory_bytes
from fleetfit_runtime.probe.reference import run_reference_set
from fleetfit_runtime.probe.reference_passes import ReferenceBudget
from fleetfit_runtime.probe.reference_timing import RoundLength
from fleetfit_runtime.telemetry.gauges import Gauges
from fleetfit_runtime.telemetry.metrics import RuntimeCollector
from onnx import ModelProto, TensorProto, helper
from prometheus_client import CollectorRegistry
from runtime_models import assignment, graph, saved
from runtime_node import CPU, Node

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FLOAT = TensorProto.FLOAT


def weighty_model(width: int, layers: int) -> ModelProto:
    """Return a model whose weights take 4 * width^2 * layers bytes; its y is of x's shape."""
    weights = [
        helper.make_tensor(
            f"w{layer}",
            FLOAT,
            [width, width],
            np.random.default_rng(layer).random((width, width), np.float32).tobytes(),
            raw=True,
        )
        for layer in range(layers)
    ]
    names = ["x", *(f"t{layer}" for layer in range(layers - 1)), "y"]
    nodes = [
        helper.make_node("MatMul", [names[layer], f"w{layer}"], [names[layer + 1]]) for layer in range(layers)
    ]
    value = [helper.make_tensor_value_info(name, FLOAT, ["N", width]) for name in ("x", "y")]
    return graph(nodes, value[:1], value[1:], weights)


async def served_memory_bytes(node: Node, path: Path, variant: str) -> int:
    node.assign(assignment(path, variant))
    await node.until_phase(ModelPhase.READY, variant)
    assert node.keeper.served is not None
    return node.keeper.served.memory_bytes


async def test_a_load_tells_its_memory_also_where_another_model_was_before(
    node: Node, tmp_path: Path
) -> None:
    large = saved(tmp_path, "large", weighty_model(1024, 4))
    small = saved(tmp_path, "small", weighty_model(256, 4))
    sizes = {name: path.stat().st_size for name, path in (("large", large), ("small", small))}
    first = await served_memory_bytes(node, large, "large")
    assert sizes["large"] <= first <= 4 * sizes["large"]
    assert first % (64 << 10) == 0
    await served_memory_bytes(node, small, "small")
    again = await served_memory_bytes(node, large, "large-again")
    # The same weights take the same room, though the C library had some of it left from before.
    assert 0.5 * first <= again <= 1.5 * first


async def test_what_building_a_session_took_goes_back_to_the_system(node: Node, tmp_path: Path) -> None:
    before = process_memory_bytes()
    path = saved(tmp_path, "large", weighty_model(1024, 8))
    await served_memory_bytes(node, path, "large")
    after = process_memory_bytes()
    assert before is not None
    assert after is not None
    # The weights once as the processor likes them; the file's bytes and the graph's own copy are gone.
    assert after - before < 2 * path.stat().st_size


async def test_status_and_metrics_carry_memory_and_conditions(node: Node, tmp_path: Path) -> None:
    node.assign(assignment(saved(tmp_path, "a", weighty_model(1024, 4)), "a"))
    await node.until_phase(ModelPhase.READY)
    served = node.keeper.served
    assert served is not None
    for _ in range(40):
        served.latency.record(0.002)
    telemetry = NodeTelemetry(throttled=True)
    state = NodeState(1, 1, None, "http://10.0.0.1:8080", (), telemetry, others_load=0.75)
    (model,) = build_status(state, node.agent.keepers(), NodeInferenceStatus(), NOW).models
    assert model.memory_bytes == served.memory_bytes > 0
    assert model.warm_up is not None
    assert model.warm_up.source is MeasurementSource.WARM_UP
    assert 0 <= model.warm_up.cpu_load <= 1
    assert model.measured is not None
    assert (model.measured.throttled, model.measured.cpu_load) == (True, 0.75)
    registry = CollectorRegistry()
    gauges = Gauges(ready=lambda: True, connections=int, store_bytes=int, store_free_bytes=int)
    registry.register(RuntimeCollector(node.counts, node.table, gauges, {}))
    labels = {"model": "digits", "variant": "a"}
    memory = registry.get_sample_value("fleetfit_runtime_model_memory_bytes", labels)
    assert memory == served.memory_bytes
    (part,) = model.provider_nodes
    assert (part.provider, part.nodes) == (CPU, served.model.proof.graph_nodes[CPU])
    assert part.nodes > 0
    nodes = registry.get_sample_value("fleetfit_runtime_model_graph_nodes", {**labels, "provider": CPU})
    assert nodes == part.nodes
    for source, quantile, expected_s in (
        ("WarmUp", "0.5", served.warm_up.latency_p50_seconds),
        ("WarmUp", "0.95", served.warm_up.latency_p95_seconds),
        ("Live", "0.5", 0.002),
    ):
        more = {**labels, "source": source, "quantile": quantile}
        found_s = registry.get_sample_value("fleetfit_runtime_model_latency_seconds", more)
        assert found_s == expected_s


async def test_a_reference_run_tells_how_the_node_was() -> None:
    budget = ReferenceBudget(RoundLength(0.002, 0.002), min_rounds=2, target_s=0.1)
    (run,) = await asyncio.to_thread(run_reference_set, [CPU], 1, None, budget)
    probe = NodeProbe()
    assert (run.governor, run.driver_version) == (probe.governor(), probe.driver_version())
    assert 0 <= run.outlier_rounds < 10 * len(run.times)
    assert len(run.times) >= 5
