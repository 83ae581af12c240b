"""In how many replies the users of a node are asked for a rating: where the choice is uncertain, within the budget.

With z the lead of the chosen variant over its runner-up, in standard deviations of that lead,

    share = askShare * (1 - z / 3), in quarters of askShare, rounded up; 0 from z = 3 on

so nobody is asked where ratings could hardly change anything. A lead below 0 (a rival that is not better by enough)
counts as none. Steps are few, and a step is left only when the figure is three quarters of a step away from it: every
other share is a write to the API server.
"""

import math
from typing import Final

from fleetfit_operator.fleet.choice import Choice
from fleetfit_operator.select.hysteresis import gain_sigma
from fleetfit_operator.select.policy import Policy

CERTAIN_SIGMAS: Final = 3.0
_STEPS: Final = 4
_STEP_MARGIN: Final = 0.75
_DECIMALS = 6


def ask_share(policy: Policy, choice: Choice, share_now: float | None = None) -> float:
    """Return the share of replies in which to ask, 0 to `ratings.askShare`.

    Args:
        policy: The deployment.
        choice: What the node should run.
        share_now: The share that the node has now; None when it has none by the same declaration.
    """
    ratings = policy.spec.qoe.ratings
    if not ratings.enabled or ratings.ask_share <= 0:
        return 0.0
    level = _STEPS * max(0.0, 1.0 - _lead_sigmas(choice) / CERTAIN_SIGMAS)
    if share_now is not None:
        level_now = share_now / ratings.ask_share * _STEPS
        if abs(level_now - level) <= _STEP_MARGIN:
            return share_now
    return round(ratings.ask_share * math.ceil(level) / _STEPS, _DECIMALS)


def _lead_sigmas(choice: Choice) -> float:
    """Return the lead in standard deviations; infinite where there is nothing to decide by ratings."""
    if choice.chosen is None or choice.runner_up is None or choice.pinned:
        return math.inf
    lead = max(0.0, choice.chosen.qoe - choice.runner_up.qoe)
    sigma = gain_sigma(choice.chosen, choice.runner_up)
    if sigma <= 0:
        return math.inf if lead > 0 else 0.0
    return lead / sigma
