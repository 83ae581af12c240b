"""The telemetry that a runtime reports about its node, in the form of the API."""

from fleetfit_api.node_inference import NodeTelemetry

from fleetfit_runtime.probe.cgroup import CgroupFacts

_GIB = 1 << 30


def rounded_free_bytes(free_bytes: int) -> int:
    """Return free space rounded down to whole GiB, so that a growing log file does not rewrite the status."""
    return free_bytes // _GIB * _GIB


def node_telemetry(
    facts: CgroupFacts,
    *,
    runtime_version: str,
    onnxruntime_version: str,
    available_providers: list[str],
    store_free_bytes: int,
) -> NodeTelemetry:
    """Return what is known about the node."""
    return NodeTelemetry(
        runtime_version=runtime_version,
        onnxruntime_version=onnxruntime_version,
        available_providers=available_providers,
        cpu_count=round(facts.processors(), 3),
        memory_total_bytes=facts.memory_bytes(),
        store_free_bytes=rounded_free_bytes(store_free_bytes),
    )
