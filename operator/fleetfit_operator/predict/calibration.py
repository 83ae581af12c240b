"""Corrects predictions by what nodes timed: of the variant itself, of it on nodes of the class, of others on the node.

A hierarchical normal model of the log error e = log(measured p95 / predicted p95) of variant v on node n of class c,
with shrinkage instead of switches (empirical Bayes: C. N. Morris, Parametric empirical Bayes inference, JASA 78, 1983):

    e(n, v) = m(c, v) + b(n) + d(n, v),    y(n, v) = e(n, v) + noise

    m ~ N(0, M)     what the class has in common; M = s^2 - T, at least s^2 / 2
    b ~ N(0, B)     what all variants of the node have in common, B a share of T
    d ~ N(0, T - B) the rest
    s^2             the predictor's own variance (`log_sigma`), so the sum of the three is what its interval claims
    T               variance between nodes of the class, from the class's timings by the method of moments
                    (R. DerSimonian, N. Laird, Meta-analysis in clinical trials, Controlled Clinical Trials 7, 1986),
                    drawn to s^2 / 4 while there are few; `class_errors` has the estimates and their bounds
    noise           variance of a timing, from its number of inferences and their spread (`timing_memory`)

For node n and variant v, with w = 1 / (T + noise):

1. class: of the other nodes, m = sum w y / (sum w + 1/M), variance P = 1 / (sum w + 1/M).
2. node: from the node's other variants u, b = sum (y_u - m_u) g_u / (sum g_u + 1/B), g_u = 1 / (P_u + T - B + noise_u),
   variance 1 / (sum g_u + 1/B).
3. own: prior mean m + b, variance V = P + var b + T - B; the node's own timing moves it by V / (V + noise) of the way.

Leaving the node itself out in 1 makes 3 the exact posterior of the model (but for b, which is taken as independent of
m). The median latency moves by the same weights as the 95th percentile. What the class expects always lies between 0
and errors that were timed; an own timing draws the estimate the nearer the more inferences it rests on and the less
they spread. The new `log_sigma` is the standard deviation that is left, the larger one where nodes of a class differ by
more than the predictor claims.

The evidence is Measured where the node's own timing outweighs the predictor (s^2 > noise), else HardwareClass where
another node of the class has timed the variant, else what it was.

What is timed under throttling, load or on battery never comes here; `fleet.measurements` keeps it apart.
Nothing here knows Kubernetes or clocks. The cost is linear in the number of timings, then per node in what it corrects.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, log
from typing import Final

import numpy as np
from fleetfit_api.names import NodeName
from fleetfit_api.node_inference import MeasuredVariant

from fleetfit_operator.fleet.timing_memory import log_variance
from fleetfit_operator.predict.class_errors import ClassErrors, class_errors, tamed
from fleetfit_operator.predict.class_spread import VariantTimings
from fleetfit_operator.predict.node_correction import (
    OwnError,
    Predictions,
    claimed_variance,
    corrected_by_class,
    corrected_by_node,
)

# A timing from before the node was fingerprinted anew may be of another driver, governor or processor speed.
_STALE_LOG_SD: Final = 0.15


@dataclass(frozen=True, slots=True)
class NodeTimings:
    """What is known of one node, to be corrected and to correct others by.

    Attributes:
        name: Name of the node.
        hardware_class: Name of its class.
        predictions: What is predicted for it; shared between nodes where it is the same.
        measured: What it timed.
        reference_run: Digest of its reference run; empty without one.
        spread: How much repeated runs differ on it, relative; 0 when unknown.
    """

    name: NodeName
    hardware_class: str
    predictions: Predictions
    measured: tuple[MeasuredVariant, ...] = ()
    reference_run: str = ""
    spread: float = 0.0


class Calibration:
    """Corrected predictions of a fleet for one suite.

    Args:
        nodes: All nodes that the suite is for; their order does not matter.
    """

    def __init__(self, nodes: Iterable[NodeTimings]) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._own: dict[NodeName, dict[str, OwnError]] = {}
        self._classes: dict[str, ClassErrors] = {}
        self._shared: dict[tuple[str, int], Predictions] = {}
        self._learn()

    @property
    def nodes(self) -> Iterable[NodeTimings]:
        """The nodes."""
        return self._nodes.values()

    def class_errors(self, hardware_class: str) -> ClassErrors | None:
        """Return what the nodes of a class say; None when none has timed anything."""
        return self._classes.get(hardware_class)

    def own_errors(self, name: NodeName) -> Mapping[str, OwnError]:
        """Return the errors that a node has found, by variant."""
        return self._own.get(name, {})

    def of(self, name: NodeName) -> Predictions:
        """Return the corrected predictions of a node; what nothing was timed of is the same object as before."""
        node = self._nodes[name]
        learnt = self._classes.get(node.hardware_class)
        if learnt is None:
            return node.predictions
        place = (node.hardware_class, id(node.predictions))
        if place not in self._shared:
            self._shared[place] = corrected_by_class(node.predictions, learnt)
        own = self._own.get(name)
        if not own:
            return self._shared[place]
        return corrected_by_node(node.predictions, self._shared[place], learnt, own)

    def _learn(self) -> None:
        rows: dict[str, dict[str, list[_Row]]] = {}
        for position, name in enumerate(sorted(self._nodes)):
            node = self._nodes[name]
            for measured in node.measured:
                row = _row(position, node, measured)
                if row is not None:
                    of_class = rows.setdefault(node.hardware_class, {})
                    of_class.setdefault(measured.variant, []).append(row)
        for hardware_class, by_variant in rows.items():
            timings = {variant: tamed(_timings(each)) for variant, each in by_variant.items()}
            self._classes[hardware_class] = class_errors(timings)
            for variant, each in by_variant.items():
                self._keep(variant, each, timings[variant])

    def _keep(self, variant: str, rows: Sequence["_Row"], timings: VariantTimings) -> None:
        for row, taught in zip(rows, timings.errors.tolist(), strict=True):
            own = OwnError(row.errors, (taught[0], taught[1]), row.noise)
            self._own.setdefault(row.node.name, {})[variant] = own


@dataclass(frozen=True, slots=True)
class _Row:
    """A timing before it is known what others of the class have timed."""

    position: int
    node: NodeTimings
    errors: tuple[float, float]
    noise: float
    prior: float


def _row(position: int, node: NodeTimings, measured: MeasuredVariant) -> _Row | None:
    prediction = node.predictions.get(measured.variant)
    if prediction is None or measured.samples <= 0 or measured.latency_p95_seconds <= 0:
        return None
    if not (isfinite(prediction.latency_p95_s) and prediction.latency_p95_s > 0):
        return None
    p95 = log(measured.latency_p95_seconds / prediction.latency_p95_s)
    has_medians = measured.latency_p50_seconds > 0 and prediction.latency_p50_s > 0
    p50 = log(measured.latency_p50_seconds / prediction.latency_p50_s) if has_medians else p95
    noise = log_variance(measured, node.spread)
    if measured.reference_run and node.reference_run and measured.reference_run != node.reference_run:
        noise += _STALE_LOG_SD**2
    return _Row(position, node, (p95, p50), noise, claimed_variance(prediction))


def _timings(rows: Sequence[_Row]) -> VariantTimings:
    return VariantTimings(
        nodes=[row.position for row in rows],
        errors=np.array([row.errors for row in rows]),
        noise=np.array([row.noise for row in rows]),
        prior=float(np.mean([row.prior for row in rows])),
    )
