"""Per-model statistics in the form of Triton's statistics extension. Pure."""

from collections.abc import Iterable
from typing import Any

from fleetfit_runtime.engine.run_counts import RunCounts, Tally
from fleetfit_runtime.engine.served_model import ServedModel


def show_statistics(models: Iterable[ServedModel]) -> dict[str, Any]:
    """Return the statistics of models, since each was loaded."""
    return {"model_stats": [_of_model(model) for model in models]}


def _of_model(model: ServedModel) -> dict[str, Any]:
    counts = model.counts
    return {
        "name": model.name,
        "version": model.variant,
        "last_inference": round(counts.last_s * 1000),
        "inference_count": counts.items,
        "execution_count": executions(counts),
        "inference_stats": {
            "success": _shown(counts.success),
            "fail": _shown(counts.failure),
            "queue": _shown(counts.queue),
            "compute_input": _shown(Tally()),
            "compute_infer": _shown(counts.compute),
            "compute_output": _shown(counts.output),
            "cache_hit": _shown(Tally()),
            "cache_miss": _shown(Tally()),
        },
        "batch_stats": _batches(counts),
        "memory_usage": _memory(model),
    }


def executions(counts: RunCounts) -> int:
    """Return how often the model ran: a batch is one run."""
    return round(counts.runs)


def _batches(counts: RunCounts) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    for size, tally in sorted(counts.by_batch.items()):
        runs = Tally(_runs(size, tally), tally.sum_s / max(size, 1))
        shown.append(
            {
                "batch_size": size,
                "compute_input": _shown(Tally(runs.count)),
                "compute_infer": _shown(runs),
                "compute_output": _shown(Tally(runs.count)),
            }
        )
    return shown


def _runs(size: int, tally: Tally) -> int:
    return round(tally.count / max(size, 1))


def _memory(model: ServedModel) -> list[dict[str, Any]]:
    if not model.memory_bytes:
        return []
    return [{"type": "CPU", "id": 0, "byte_size": model.memory_bytes}]


def _shown(tally: Tally) -> dict[str, int]:
    return {"count": tally.count, "ns": round(tally.sum_s * 1e9)}
