"""How much a single source of ratings can have moved what was learnt from all of them.

A voice of weight w whose score is off by r moves the learnt factors by w r H^-1 J, with J the slope of the expected
rating and H the curvature of the fit. A source sits on one node and may have a voice on each variant that the node has
served; nobody's score is further off than from one end of the scale to what is expected. The largest sum over a node
of what that does to a QoE, over all nodes, bounds every source.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from fleetfit_operator.fleet.choice import Sway
from fleetfit_operator.predict.ensemble import FloatArray
from fleetfit_operator.predict.preference import VOICE_SIGMA, Aspects, Preference

_RESERVE: Final = 1.75
"""A source also makes the voices of others older, by one at most, and the bound is of first order."""
_FEW_VOICES: Final = 8.0
"""The fewer voices there are, the further is the first order from the whole; so many more are reckoned with."""
_NODES_IN_FULL: Final = 64
"""Nodes whose influence is worked out for every estimate; the weaker others are bounded together."""


class Influence:
    """Bounds the influence of one source on estimates.

    Args:
        preference: What was learnt.
        aspects: The rated variants on their nodes, one-dimensional, those of a node beside each other.
        nodes: Names of their nodes.
        voice: The most that one voice weighs in each row.
        total: Voices in all, those that the formula weighs as much as included.
    """

    def __init__(
        self,
        preference: Preference,
        aspects: Aspects,
        nodes: Sequence[str],
        voice: FloatArray,
        total: float,
    ) -> None:
        expected, slopes = preference.ratings(aspects)
        reserve = _RESERVE * (1.0 + _FEW_VOICES / total)
        off = reserve * voice * np.clip(np.maximum(expected, 1.0 - expected), 0.0, 1.0)
        moved = (slopes @ preference.inverse) * off[:, None]
        # By Cauchy and Schwarz no row moves a QoE by more than its own reach times the root of the QoE's variance.
        reach = off * np.sqrt(np.maximum(np.einsum("ij,ij->i", slopes @ preference.inverse, slopes), 0.0))
        names = np.array(nodes)
        starts = np.flatnonzero(np.append(True, names[1:] != names[:-1]))
        per_node = np.add.reduceat(reach, starts)
        order = np.argsort(-per_node, kind="stable")
        strongest = np.sort(order[:_NODES_IN_FULL])
        rows = [moved[start:end, 1:] for start, end in zip(starts, [*starts[1:], len(names)], strict=True)]
        self._moved = np.concatenate([rows[index] for index in strongest])
        self._starts = np.cumsum([0, *(len(rows[index]) for index in strongest[:-1])])
        self.covariance = preference.covariance
        self._others = float(per_node[order[_NODES_IN_FULL]]) if len(order) > _NODES_IN_FULL else 0.0

    def on(self, slopes: FloatArray) -> float:
        """Return the bound for a quantity that changes with the logarithms of the factors by these slopes."""
        by_row = np.abs(self._moved @ slopes)
        in_full = float(np.add.reduceat(by_row, self._starts).max())
        variance = float(slopes @ self.covariance @ slopes)
        return max(in_full, self._others * math.sqrt(max(variance, 0.0)))


@dataclass(frozen=True, slots=True, eq=False)
class LearntSway:
    """A `Sway`: how the learnt QoE of a variant on a node hangs together with others.

    Attributes:
        influence: Bounds the formula's part.
        slopes: Change of the QoE with the logarithms of the factors.
        cell: Number of the cell of trees that it lies in.
        of_correction: Bound of one source for the trees' part.
        shape_variance: Variance of the QoE by what no weight expresses.
    """

    influence: Influence
    slopes: FloatArray
    cell: int
    of_correction: float
    shape_variance: float

    def source_against(self, other: Sway) -> float:
        """Return the bound for the difference.

        Also where trees tell the two alike now: without the source they might not.
        """
        theirs = self._of_same_pass(other)
        return self.influence.on(self.slopes - theirs.slopes) + self.of_correction + theirs.of_correction

    def less_uncertain_by(self, other: Sway) -> float:
        """Return twice the covariance."""
        theirs = self._of_same_pass(other)
        shape = 2.0 * self.shape_variance if self.cell == theirs.cell else 0.0
        return 2.0 * VOICE_SIGMA**2 * float(self.slopes @ self.influence.covariance @ theirs.slopes) + shape

    def _of_same_pass(self, other: Sway) -> "LearntSway":
        if not isinstance(other, LearntSway) or other.influence is not self.influence:
            raise ValueError("beliefs of different passes cannot be compared")
        return other
