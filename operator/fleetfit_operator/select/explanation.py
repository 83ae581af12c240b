"""Says with figures why a node gets the variant that it gets: sentences for people, no decisions."""

import math
from typing import Final

from fleetfit_api.deployment import Pin, Qoe
from fleetfit_api.node_inference import Evidence

from fleetfit_operator.fleet.choice import Candidate
from fleetfit_operator.select.candidates import Field
from fleetfit_operator.select.policy import Policy

_EVIDENCE_WORDS: Final = {
    Evidence.MEASURED: "from the prediction and what the node timed",
    Evidence.REFERENCE_RUN: "from the reference run",
    Evidence.FEATURES_ONLY: "from the graph alone",
}
_VARIANTS_NAMED = 5


def best_sentence(qoe: Qoe, best: Candidate, runner_up: Candidate | None) -> str:
    """Say why the best variant is chosen."""
    if runner_up is None:
        return (
            f"{_name(best)} is the only variant that may run here: QoE {best.qoe:.2f} ({_figures(qoe, best)})"
        )
    return (
        f"{_name(best)} gives the best QoE {best.qoe:.2f} ({_figures(qoe, best)}); "
        f"runner-up {_short(runner_up)}"
    )


def hysteresis_sentence(qoe: Qoe, kept: Candidate, best: Candidate, hysteresis: float) -> str:
    """Say why the node keeps a variant although another one is a little better."""
    return (
        f"keeps {_name(kept)} with QoE {kept.qoe:.2f} ({_figures(qoe, kept)}): {_short(best)} "
        f"is better by {best.qoe - kept.qoe:.3f}, not by more than the hysteresis of {hysteresis:g}"
    )


def dwell_sentence(qoe: Qoe, kept: Candidate, best: Candidate, remaining_s: float) -> str:
    """Say why the node keeps a variant although another one is clearly better."""
    return (
        f"keeps {_name(kept)} with QoE {kept.qoe:.2f} ({_figures(qoe, kept)}) for another {remaining_s:.0f} s, "
        f"the minimum dwell; then it may change to {_short(best)}"
    )


def pinned_sentence(qoe: Qoe, pin: Pin, pinned: Candidate, best: Candidate | None) -> str:
    """Say that the user has fixed the variant, and what that costs."""
    text = f"{_name(pinned)} is pinned by {pin.name}: QoE {pinned.qoe:.2f} ({_figures(qoe, pinned)})"
    if pinned.infeasible_because:
        text += f", although {pinned.infeasible_because}"
    if best is not None and best.variant.name != pinned.variant.name:
        text += f"; without the pin it would be {_short(best)}"
    return text


def impossible_pin_sentence(policy: Policy, pin: Pin, field: Field) -> str:
    """Say why a pin cannot be followed, and what to do."""
    if pin.variant not in field.by_name:
        known = ", ".join(list(field.by_name)[:_VARIANTS_NAMED])
        return (
            f"pin {pin.name} asks for variant {pin.variant}, which suite {policy.suite_name} does not have; "
            f"correct the pin (the suite has {known}{_and_more(len(field.by_name))}) or remove it"
        )
    why = field.by_name[pin.variant].infeasible_because
    return (
        f"pin {pin.name} asks for variant {pin.variant}, which this node cannot run: {why}; "
        "pin another variant or remove the pin"
    )


def infeasible_sentence(policy: Policy, field: Field) -> str:
    """Say why no variant may run on the node, and what to do."""
    named = list(field.by_name.values())[:_VARIANTS_NAMED]
    each = "; ".join(f"{candidate.variant.name}: {candidate.infeasible_because}" for candidate in named)
    return (
        f"no variant of suite {policy.suite_name} may run on this node: {each}{_and_more(len(field.by_name))}. "
        "Relax qoe.constraints or add a variant that fits"
    )


def _name(candidate: Candidate) -> str:
    return candidate.variant.name


def _figures(qoe: Qoe, candidate: Candidate) -> str:
    return f"accuracy {candidate.variant.accuracy:.3f}, {_latency(qoe, candidate)}"


def _latency(qoe: Qoe, candidate: Candidate) -> str:
    latency_ms = candidate.latency.latency_p95_s * 1000.0
    if not math.isfinite(latency_ms):
        return "latency not predicted"
    evidence = candidate.latency.evidence
    verb = "expected p95" if evidence is Evidence.MEASURED else "predicted p95"
    return f"{verb} {latency_ms:.3g} ms of {qoe.latency_target_milliseconds:g} ms target, {_EVIDENCE_WORDS[evidence]}"


def _short(candidate: Candidate) -> str:
    latency_ms = candidate.latency.latency_p95_s * 1000.0
    accuracy = candidate.variant.accuracy
    return f"{candidate.variant.name} {candidate.qoe:.2f} (accuracy {accuracy:.3f}, {latency_ms:.3g} ms)"


def _and_more(count: int) -> str:
    return f" and {count - _VARIANTS_NAMED} more" if count > _VARIANTS_NAMED else ""
