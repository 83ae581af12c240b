"""A new device as a non-negative mix of known devices and physical cost terms, fitted to a few readings.

    latency(graph) = sum_d w_d latency_d(graph) + sum_j p_j term_j(graph),   w, p >= 0

It can be read ("0.6 of a Xeon 6226 and 0.2 of a Raspberry Pi 4, plus 3 us an operator"), it cannot run wild between
the readings, and the terms carry a device that is unlike all known ones. Minimised is the squared relative error with
a ridge that draws the weights of devices to an equal mix and those of terms to nothing.

Several strengths of the ridge are tried; each is judged by the errors that it would make at readings left out, which
for a ridge follow from one fit: e_i / (1 - h_ii) with the hat matrix of the columns in use.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.optimize import nnls

from fleetfit_operator.predict.kernel_groups import BoolArray, FloatArray, IntArray

_SMALLEST_LEVERAGE_LEFT: Final = 1e-3
_SMALLEST_RATIO: Final = 0.05
_MOST_STEPS: Final = 2000


@dataclass(frozen=True, slots=True)
class Ridge:
    """How strongly a mix is held.

    Attributes:
        strength: Ridge of the weights of known devices, to an equal mix.
        terms_factor: Ridge of the weights of terms, to nothing, as a multiple of it.
        all_terms: Whether all terms take part or only the first set.
    """

    strength: float
    terms_factor: float
    all_terms: bool = False


@dataclass(frozen=True, slots=True)
class Columns:
    """What a mix is made of, for some graphs.

    Attributes:
        devices: Seconds on known devices, by graph and device.
        terms: Physical terms, by graph and term.
        optional: Terms that only some ridges use.
        leaders: Devices among which the equal mix is shared out; the others begin at nothing.
        usual_prices: Usual seconds per unit of each term, in which the ridge counts; by default what the readings hold
            of it, which is right only where they hold much of every term.
    """

    devices: FloatArray
    terms: FloatArray
    optional: BoolArray
    leaders: BoolArray
    usual_prices: FloatArray | None = None

    def rows(self, selected: IntArray | BoolArray | slice) -> "Columns":
        """Return the columns of some graphs."""
        return replace(self, devices=self.devices[selected], terms=self.terms[selected])

    @property
    def design(self) -> FloatArray:
        """All columns side by side."""
        return np.hstack([self.devices, self.terms])


@dataclass(frozen=True, slots=True)
class Mix:
    """One fit.

    Attributes:
        weights: Weight of each column, 0 or above.
        left_out: Errors at each reading if it were left out, as logarithms of predicted over measured.
    """

    weights: FloatArray
    left_out: FloatArray


def fit_mixes(
    readings: Columns, latency_s: FloatArray, trust: FloatArray, ridges: Sequence[Ridge]
) -> list[Mix]:
    """Return one fit for each ridge.

    Args:
        readings: Columns of the graphs that were timed.
        latency_s: What they took.
        trust: How much each reading counts, 1 for an exact one.
        ridges: Strengths to try.
    """
    relative = readings.design / latency_s[:, None]
    device_count = readings.devices.shape[1]
    # Every column scaled to one on average, so that a ridge means the same for all of them.
    scales = 1.0 / np.maximum(relative.mean(axis=0), np.finfo(np.float64).tiny)
    scales[:device_count] = np.exp(-np.log(relative[:, :device_count]).mean(axis=0))
    if readings.usual_prices is not None:
        usual = readings.terms @ readings.usual_prices / latency_s
        scales[device_count:] = readings.usual_prices / np.exp(np.log(np.maximum(usual, 1e-12)).mean())
    scales[~np.isfinite(scales) | (relative.max(axis=0) <= 0)] = 0.0
    scaled = relative * scales
    prior = np.zeros(scaled.shape[1])
    prior[:device_count] = readings.leaders / max(1, int(np.count_nonzero(readings.leaders)))
    return [_fit(_Problem(readings, scaled, prior, scales, trust), ridge) for ridge in ridges]


@dataclass(frozen=True, slots=True)
class _Problem:
    readings: Columns
    scaled: FloatArray
    prior: FloatArray
    scales: FloatArray
    trust: FloatArray


def _fit(problem: _Problem, ridge: Ridge) -> Mix:
    scaled, scales, readings = problem.scaled, problem.scales, problem.readings
    device_count = readings.devices.shape[1]
    used = np.concatenate([np.ones(device_count, bool), ridge.all_terms | ~readings.optional]) & (scales > 0)
    penalty = np.full(scaled.shape[1], ridge.strength)
    penalty[device_count:] *= ridge.terms_factor
    columns, penalty, middle = scaled[:, used], penalty[used], problem.prior[used]
    importance = np.sqrt(problem.trust / np.sum(problem.trust))
    stacked = np.vstack([columns * importance[:, None], np.diag(np.sqrt(penalty))])
    target = np.concatenate([importance, np.sqrt(penalty) * middle])
    solution, _ = nnls(stacked, target, maxiter=_MOST_STEPS)
    weights = np.zeros(scaled.shape[1])
    weights[used] = solution
    active = solution > 0
    left_out = _left_out(columns[:, active], penalty[active], importance, columns @ solution)
    return Mix(weights * scales, left_out)


def _left_out(
    columns: FloatArray, penalty: FloatArray, importance: FloatArray, fitted: FloatArray
) -> FloatArray:
    """Return the errors that leaving each reading out would give, on the columns in use."""
    weighted = columns * importance[:, None]
    inner = weighted.T @ weighted + np.diag(penalty)
    leverage = np.einsum("ij,ji->i", weighted, np.linalg.solve(inner, weighted.T))
    errors = (fitted - 1.0) / np.maximum(_SMALLEST_LEVERAGE_LEFT, 1.0 - leverage)
    return np.asarray(np.log(np.maximum(1.0 + errors, _SMALLEST_RATIO)))
