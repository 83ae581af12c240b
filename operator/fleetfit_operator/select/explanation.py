"""Says with figures why a node gets the variant that it gets: sentences for people, no decisions."""

import math
from collections.abc import Sequence
from typing import Final

from fleetfit_api.deployment import Exploration, Pin, Selection
from fleetfit_api.prediction import Evidence
from fleetfit_api.qoe import Qoe, QoeProfile, QoeWeights

from fleetfit_operator.fleet.choice import Candidate
from fleetfit_operator.select.candidates import Field
from fleetfit_operator.select.constraints import Obstacle
from fleetfit_operator.select.hysteresis import gain_needed, gain_sigma
from fleetfit_operator.select.policy import Policy

_EVIDENCE_WORDS: Final = {
    Evidence.MEASURED: "from the prediction and what the node timed",
    Evidence.HARDWARE_CLASS: "from the prediction and what nodes of its class timed",
    Evidence.REFERENCE_RUN: "from the reference run",
    Evidence.FEATURES_ONLY: "from the graph alone",
}
_VARIANTS_NAMED = 5
_OPERATORS_NAMED = 3


def best_sentence(qoe: Qoe, best: Candidate, runner_up: Candidate | None) -> str:
    """Say why the best variant is chosen."""
    if runner_up is None:
        return (
            f"{_name(best)} is the only variant that may run here: QoE {best.qoe:.2f} ({_figures(qoe, best)})"
        )
    return (
        f"{_name(best)} gives the best QoE {best.qoe:.2f} ({_figures(qoe, best)}); "
        f"runner-up {_short(qoe, runner_up)}"
    )


def surer_sentence(qoe: Qoe, chosen: Candidate, best: Candidate) -> str:
    """Say why the node changes to a variant although another one is expected to be even better."""
    return (
        f"{_name(chosen)} is surely better than what ran here: QoE {chosen.qoe:.2f} ({_figures(qoe, chosen)}); "
        f"{_short(qoe, best)} may be better still, but that is too uncertain"
    )


def hysteresis_sentence(qoe: Qoe, kept: Candidate, best: Candidate, selection: Selection) -> str:
    """Say why the node keeps a variant although another one is a little better."""
    needed = gain_needed(selection, kept, best)
    if needed > selection.hysteresis:
        hurdle = f"{needed:.3f}, as the gain is uncertain by {gain_sigma(kept, best):.3f}"
    else:
        hurdle = f"the hysteresis of {selection.hysteresis:g}"
    return (
        f"keeps {_name(kept)} with QoE {kept.qoe:.2f} ({_figures(qoe, kept)}): {_short(qoe, best)} "
        f"is better by {best.qoe - kept.qoe:.3f}, not by more than {hurdle}"
    )


def dwell_sentence(qoe: Qoe, kept: Candidate, best: Candidate, remaining_s: float) -> str:
    """Say why the node keeps a variant although another one is clearly better."""
    return (
        f"keeps {_name(kept)} with QoE {kept.qoe:.2f} ({_figures(qoe, kept)}) for another {remaining_s:.0f} s, "
        f"the minimum dwell; then it may change to {_short(qoe, best)}"
    )


def exploring_sentence(qoe: Qoe, exploration: Exploration, tried: Candidate, best: Candidate) -> str:
    """Say why the node tries a variant that is not expected to be the best."""
    loss = max(0.0, best.qoe - tried.qoe)
    return (
        f"tries {_name(tried)} until it is measured, since no node of the class has run it: QoE {tried.qoe:.2f} "
        f"({_figures(qoe, tried)}), an expected loss of {loss:.3f}, at most {exploration.max_expected_loss:g}, against "
        f"{_short(qoe, best)}"
    )


def pinned_sentence(qoe: Qoe, pin: Pin, pinned: Candidate, best: Candidate | None) -> str:
    """Say that the user has fixed the variant, and what that costs."""
    text = f"{_name(pinned)} is pinned by {pin.name}: QoE {pinned.qoe:.2f} ({_figures(qoe, pinned)})"
    if pinned.infeasible_because:
        text += f", although {pinned.infeasible_because}"
    if best is not None and best.variant.name != pinned.variant.name:
        text += f"; without the pin it would be {_short(qoe, best)}"
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
        f"{_remedy(field)}"
    )


def notes(policy: Policy, chosen: Candidate) -> str:
    """Say what else the figures rest on: weights other than the usual ones, ratings, and what a prediction lacks."""
    return "".join(
        f"; {note}"
        for note in (_weights_note(policy.spec.qoe), _ratings_note(chosen), _caveat(chosen))
        if note
    )


def _remedy(field: Field) -> str:
    """Say which limits to relax, and to what, for the best of the variants that limits alone keep out."""
    movable = [
        field.by_name[name]
        for name, obstacles in field.obstacles.items()
        if name not in field.impossible and obstacles and all(each.remedy for each in obstacles)
    ]
    if not movable:
        return "Relax qoe.constraints or add a variant that fits"
    nearly = [each for each in movable if _keeps_limits_as_expected(field.obstacles[each.variant.name])]
    best = max(nearly or movable, key=lambda each: each.qoe)
    values = " and ".join(each.remedy for each in field.obstacles[best.variant.name])
    if nearly:
        return (
            f"{_name(best)} keeps within the limits by its expected figures, but not by the bad end of their 90 % "
            f"interval: relax qoe.constraints, with {values} it may run"
        )
    return f"Relax qoe.constraints or add a variant that fits: with {values} {_name(best)} may run"


def _keeps_limits_as_expected(obstacles: Sequence[Obstacle]) -> bool:
    return all(each.by_interval for each in obstacles)


def _weights_note(qoe: Qoe) -> str:
    if qoe.profile is QoeProfile.BALANCED and qoe.weights == QoeWeights():
        return ""
    weights = ", ".join(f"{aspect} {weight:g}" for aspect, weight in qoe.resolved_weights())
    overridden = "" if qoe.weights == QoeWeights() else ", some of them set"
    return f"weights of profile {qoe.profile}{overridden}: {weights}"


def _ratings_note(chosen: Candidate) -> str:
    if chosen.voices <= 0 or chosen.prior_qoe is None:
        return ""
    return f"by the formula QoE {chosen.prior_qoe:.2f}, moved by the ratings of {chosen.voices:.0f} users"


def _caveat(chosen: Candidate) -> str:
    """Return what the prediction lacks: in its own words, else by the operators whose cost is not known."""
    if chosen.latency.caveat:
        return chosen.latency.caveat
    features = chosen.variant.features
    unknown = features.unknown_operators if features else []
    if not unknown or chosen.latency.evidence is Evidence.MEASURED:
        return ""
    more = f" and {len(unknown) - _OPERATORS_NAMED} more" if len(unknown) > _OPERATORS_NAMED else ""
    return f"the cost of {', '.join(unknown[:_OPERATORS_NAMED])}{more} is not known to the prediction"


def _name(candidate: Candidate) -> str:
    return candidate.variant.name


def _figures(qoe: Qoe, candidate: Candidate) -> str:
    return f"accuracy {candidate.variant.accuracy:.3f}, {_latency(qoe, candidate)}"


def _latency(qoe: Qoe, candidate: Candidate) -> str:
    latency, percentile = candidate.latency, qoe.latency_percentile
    latency_ms = latency.latency_s(percentile) * 1000.0
    if not math.isfinite(latency_ms):
        return "latency not predicted"
    verb = "expected" if latency.evidence is Evidence.MEASURED else "predicted"
    low_s, high_s = latency.interval_s(percentile)
    interval = f" ({low_s * 1000:.3g} to {high_s * 1000:.3g})" if latency.log_sigma > 0 else ""
    return (
        f"{verb} p{percentile} {latency_ms:.3g} ms{interval} of {qoe.latency_target_milliseconds:g} ms target, "
        f"{_EVIDENCE_WORDS[latency.evidence]}"
    )


def _short(qoe: Qoe, candidate: Candidate) -> str:
    latency_ms = candidate.latency.latency_s(qoe.latency_percentile) * 1000.0
    accuracy = candidate.variant.accuracy
    return f"{candidate.variant.name} {candidate.qoe:.2f} (accuracy {accuracy:.3f}, {latency_ms:.3g} ms)"


def _and_more(count: int) -> str:
    return f" and {count - _VARIANTS_NAMED} more" if count > _VARIANTS_NAMED else ""
