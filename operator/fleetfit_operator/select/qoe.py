"""The quality of experience that a variant gives the users of a node, without ratings to learn from.

    QoE = (accuracy / best accuracy of the suite) ** accuracy weight
        * min(1, latency target / predicted p95 latency) ** latency weight

It is 1 for the most accurate variant that answers within the target. Below the target users notice no delay, so being
faster still earns nothing; beyond it QoE falls with the ratio. The best accuracy is the suite's, feasible here or not:
so the QoE of a variant means the same on every node. A weight of 0 ignores its aspect.

This module knows nothing of limits, pins or what runs now.
"""

from fleetfit_api.deployment import Qoe

# Finer differences are rounding noise of the arithmetic; without them equal figures are equal on every machine.
_DECIMALS = 6


def quality_of_experience(qoe: Qoe, accuracy: float, best_accuracy: float, latency_p95_s: float) -> float:
    """Return the QoE, 0 to 1, rounded to six decimals."""
    accuracy_share = min(1.0, accuracy / best_accuracy) if best_accuracy > 0 else 1.0
    target_s = qoe.latency_target_milliseconds / 1000.0
    latency_share = min(1.0, target_s / latency_p95_s) if latency_p95_s > 0 else 1.0
    value: float = accuracy_share**qoe.weights.accuracy * latency_share**qoe.weights.latency
    return round(min(1.0, max(0.0, value)), _DECIMALS)


def qoe_gain(from_qoe: float, to_qoe: float) -> float:
    """Return by how much a QoE is better, without the rounding noise that a difference brings back."""
    return round(to_qoe - from_qoe, _DECIMALS)
