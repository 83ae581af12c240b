"""Finds hardware classes on which a variant does not run as predicted, or no longer as it did.

Corrections by measurements hide such an error where something was measured, not on other nodes and variants; so it is
said. Two things are looked at: the class's mean error against what the predictor claims for it, and nodes whose own
timings have changed for good (`fleet.timing_memory`).

It does not flap: what is listed in the status of the class stays listed until the error is clearly below the limit, and
figures in sentences are coarse. Everything rests on timings, of which each start of a runtime gives one.
"""

from collections.abc import Sequence
from math import log
from typing import Final

from fleetfit_api.deployment import ClassStatus
from fleetfit_api.reasons import Reason

from fleetfit_operator.fleet.prediction_errors import VariantError
from fleetfit_operator.report.conditions import Finding
from fleetfit_operator.report.view import DeploymentView
from fleetfit_operator.rollout.messages import counted

# Standard deviations: once in 400 variants by chance; it is over below what happens once in 20.
_SIGMAS: Final = 3.0
_SIGMAS_WHEN_KNOWN: Final = 2.0
# What is 10 % off is no matter, however surely it is known.
_LOG_RATIO: Final = log(1.1)
_LOG_RATIO_WHEN_KNOWN: Final = log(1.05)
# One or two nodes may be odd themselves.
_FEWEST_NODES: Final = 3
# False alarms of single nodes come once in hundreds of timings, so a large class always has some.
_DRIFTED_SHARE: Final = 0.05
_NAMED: Final = 3


def with_drifting_variants(view: DeploymentView, classes: Sequence[ClassStatus]) -> list[ClassStatus]:
    """Return the statuses of the classes with the variants that drift on their nodes."""
    names: dict[str, list[str]] = {}
    for error in drifting(view):
        names.setdefault(error.hardware_class, []).append(error.variant)
    return [
        each.model_copy(update={"drifting_variants": names[each.name]}) if each.name in names else each
        for each in classes
    ]


def prediction_drift(view: DeploymentView) -> Finding | None:
    """Find variants that do not run as predicted; no fault, since what nodes timed corrects the choice there."""
    found = drifting(view)
    if not found:
        return None
    sentences = "; ".join(_sentence(error) for error in found[:_NAMED])
    more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    message = (
        f"no fault, but predictions are off: {sentences}{more}. Let these nodes time their reference set anew; "
        "if that does not help, train the predictor with what they measure (fleetfit train)"
    )
    return Finding(Reason.PREDICTION_DRIFT, message)


def drifting(view: DeploymentView) -> list[VariantError]:
    """Return the errors that are to be told, sorted by class and variant."""
    known = {
        (each.name, variant) for each in view.deployment.status.classes for variant in each.drifting_variants
    }
    return [
        error
        for error in view.prediction_errors
        if _is_biased(error, is_known=(error.hardware_class, error.variant) in known) or _has_changed(error)
    ]


def _is_biased(error: VariantError, *, is_known: bool) -> bool:
    sigmas = _SIGMAS_WHEN_KNOWN if is_known else _SIGMAS
    log_ratio = _LOG_RATIO_WHEN_KNOWN if is_known else _LOG_RATIO
    return (
        error.measured_nodes >= _FEWEST_NODES
        and abs(error.sigmas) >= sigmas
        and abs(log(error.bias_ratio)) >= log_ratio
    )


def _has_changed(error: VariantError) -> bool:
    return error.drifted_nodes > 0 and error.drifted_nodes >= _DRIFTED_SHARE * error.measured_nodes


def _sentence(error: VariantError) -> str:
    where = f"on class {error.hardware_class or 'none'} {error.variant}"
    if _has_changed(error):
        nodes = counted(error.drifted_nodes, "node")
        return f"{where} takes {_coarse(error.drift_ratio)} times as long as before on {nodes}"
    return (
        f"{where} takes {_coarse(error.bias_ratio)} times what was predicted, "
        f"as {counted(error.measured_nodes, 'node')} timed it"
    )


def _coarse(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2g}"
