"""How much better a variant must be for a node to change to it.

Two variants that are equal as far as anybody knows must not take turns whenever a figure moves, so the gain in QoE must
exceed what the user asks for, and some standard deviations of the gain where it is uncertain:

    needed = max(hysteresis + sway,
                 min(hysteresisSigmas * sqrt(sigma_kept ** 2 + sigma_rival ** 2 - shared), 0.1))

The sway is the most that a single source of ratings can have changed of the gain: a change that ratings bring about is
better by more than the hysteresis also without any one of them. It is 0 without ratings.

What users have not said yet makes alike variants better or worse together: that part of the variances is shared, and
taken off. The errors of predicted latencies count as independent. On one node they have a part in common, so the gain
is in truth more certain than that: the node is rather too slow to change.

A node that serves a variant has measured it, its rival there is only predicted. The uncertain term is therefore
bounded: what is expected to be better by a tenth of the whole scale is tried, however uncertain. If it disappoints it
is measured by then, and the node goes back once and for all.
"""

import math
from typing import Final

from fleetfit_api.deployment import Selection

from fleetfit_operator.fleet.choice import Candidate
from fleetfit_operator.select.qoe import qoe_gain

LARGEST_UNCERTAIN_TERM: Final = 0.1
"""Gain in QoE above which uncertainty does not keep a node from changing."""


def gain_sigma(kept: Candidate, rival: Candidate) -> float:
    """Return the standard deviation of the difference of two candidates' QoE."""
    variance = kept.qoe_sigma**2 + rival.qoe_sigma**2
    if kept.sway is not None and rival.sway is not None:
        variance -= rival.sway.less_uncertain_by(kept.sway)
    return math.sqrt(max(0.0, variance))


def source_sway(kept: Candidate, rival: Candidate) -> float:
    """Return the most that a single source of ratings can have changed of the gain."""
    if kept.sway is None or rival.sway is None:
        return 0.0
    return rival.sway.source_against(kept.sway)


def gain_needed(selection: Selection, kept: Candidate, rival: Candidate) -> float:
    """Return the gain in QoE that must be exceeded for a node to change from one candidate to another."""
    uncertain = min(selection.hysteresis_sigmas * gain_sigma(kept, rival), LARGEST_UNCERTAIN_TERM)
    return max(selection.hysteresis + source_sway(kept, rival), uncertain)


def is_worth_changing(selection: Selection, kept: Candidate, rival: Candidate) -> bool:
    """Return whether a rival is better by enough."""
    return qoe_gain(kept.qoe, rival.qoe) > gain_needed(selection, kept, rival)
