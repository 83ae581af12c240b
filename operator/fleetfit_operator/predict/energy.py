"""The energy of an inference: the node's power while it infers, as its runtime measured it, times the expected time.

Without a power figure there is no energy: nothing is made up. The power is that of the whole node, idle power
included, so energies compare between variants on a node, less so between nodes.
"""

from collections.abc import Mapping
from dataclasses import replace

from fleetfit_operator.fleet.choice import LatencyPrediction


def with_energy(
    predictions: Mapping[str, LatencyPrediction], power_watts: float | None
) -> Mapping[str, LatencyPrediction]:
    """Return predictions with the energy of the median inference, on a node whose power is known."""
    if not power_watts:
        return predictions
    return {
        name: replace(each, energy_j=power_watts * (each.latency_p50_s or each.latency_p95_s))
        for name, each in predictions.items()
    }
