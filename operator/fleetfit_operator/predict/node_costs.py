"""What each cost term costs on one node, and how far its slow runs lie from its mean: both from its reference run."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from fleetfit_operator.predict.cost_terms import FloatArray

_STEPS = 25
_LARGEST_FACTOR = 12.0


class PopulationCosts(BaseModel):
    """Prices of the cost terms on the usual node, in seconds per unit, learnt in training.

    Attributes:
        prices: Seconds per unit of each term, in the order of TERM_NAMES; each above 0.
        tail_ratio: 95th percentile over mean on the usual node.
        ridge: How strongly a node's prices are held to the population's proportions.
    """

    model_config = ConfigDict(frozen=True)

    prices: tuple[float, ...]
    tail_ratio: float
    ridge: float


@dataclass(frozen=True, slots=True)
class ReferenceTimes:
    """A reference run as arrays, one entry per network.

    Attributes:
        terms: Cost terms of the networks, one row each.
        p50_s: Medians in seconds.
        mean_s: Means in seconds.
        p95_s: 95th percentiles in seconds.
        threads: Threads of one inference; 0 when ONNX Runtime decides.
    """

    terms: FloatArray
    p50_s: FloatArray
    mean_s: FloatArray
    p95_s: FloatArray
    threads: int


@dataclass(frozen=True, slots=True)
class TailCurve:
    """The 95th percentile as a function of the mean: rising, straight between points in logarithms.

    On a node with a CPU quota it has a step: work shorter than a pause is seldom stopped, longer work always is.
    Below the first point the ratio stays, beyond the last one the distance does: a pause is as long as before.
    """

    log_mean: FloatArray
    log_p95: FloatArray

    @classmethod
    def through(cls, mean_s: FloatArray, p95_s: FloatArray) -> Self:
        """Return the rising curve nearest to the points."""
        order = np.argsort(mean_s, kind="stable")
        return cls(np.log(mean_s[order]), _rising(np.log(p95_s[order])))

    def p95_s(self, mean_s: FloatArray) -> FloatArray:
        """Return the 95th percentiles that go with these means."""
        log_mean = np.log(mean_s)
        inside = np.exp(np.interp(log_mean, self.log_mean, self.log_p95))
        below = mean_s * np.exp(self.log_p95[0] - self.log_mean[0])
        beyond = mean_s + (np.exp(self.log_p95[-1]) - np.exp(self.log_mean[-1]))
        result = np.where(log_mean < self.log_mean[0], below, inside)
        # The curve may end below its mean (rare long pauses); it must not fall behind its last point.
        far = np.maximum(beyond, inside)
        return np.asarray(np.where(log_mean > self.log_mean[-1], far, result), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class NodeCosts:
    """Prices and tail of one node.

    Attributes:
        prices: Seconds per unit of each term.
        tail: From means to 95th percentiles.
        speed: Logarithm of the node's cost of the usual mix relative to the usual node.
        stop_ratio: Mean over median of the reference networks: 1 on a free node, 10 at a tenth of a core.
        threads: Threads of one inference.
    """

    prices: FloatArray
    tail: TailCurve
    speed: float
    stop_ratio: float
    threads: int

    def mean_s(self, terms: FloatArray) -> FloatArray:
        """Return the mean latency of each row of cost terms."""
        return np.asarray(terms @ self.prices, dtype=np.float64)

    def shares(self, terms: FloatArray) -> FloatArray:
        """Return which share of the mean each term has, row by row."""
        costs = terms * self.prices
        return np.asarray(costs / costs.sum(axis=1, keepdims=True), dtype=np.float64)


def usual_node(population: PopulationCosts) -> NodeCosts:
    """Return what is assumed of a node that has no reference run."""
    one = np.array([1.0])
    tail = TailCurve(np.log(one), np.log(one * population.tail_ratio))
    return NodeCosts(np.array(population.prices), tail, speed=0.0, stop_ratio=1.0, threads=1)


def fit_node(times: ReferenceTimes, population: PopulationCosts) -> NodeCosts:
    """Return the prices that are near to the node's reference times and, where those say little, to the usual."""
    usual_prices = np.array(population.prices)
    scale = float(np.exp(np.median(np.log(times.mean_s / (times.terms @ usual_prices)))))
    return NodeCosts(
        prices=fit_prices(times.terms, times.mean_s, scale * usual_prices, population.ridge),
        tail=TailCurve.through(times.mean_s, times.p95_s),
        speed=float(np.log(scale)),
        stop_ratio=float(np.median(times.mean_s / times.p50_s)),
        threads=times.threads,
    )


def fit_prices(terms: FloatArray, mean_s: FloatArray, usual_prices: FloatArray, ridge: float) -> FloatArray:
    """Return prices p > 0 with the smallest mean (log(terms p) - log mean_s)^2 + ridge |log p - log usual|^2.

    In logarithms a price ten times too high and one ten times too low are equally far, so a node that is unlike all
    others in one term can still be told (a node without int8 instructions, say). By damped Gauss-Newton steps.
    """
    factors = np.zeros(len(usual_prices))
    measured = np.log(mean_s)
    for _ in range(_STEPS):
        costs = terms * (usual_prices * np.exp(factors))
        sums = costs.sum(axis=1)
        slopes = costs / sums[:, None]
        gradient = slopes.T @ (measured - np.log(sums)) / len(mean_s) - ridge * factors
        curvature = slopes.T @ slopes / len(mean_s) + ridge * np.eye(len(factors))
        step = np.linalg.solve(curvature, gradient)
        factors = np.clip(factors + np.clip(step, -1.0, 1.0), -_LARGEST_FACTOR, _LARGEST_FACTOR)
    return np.asarray(usual_prices * np.exp(factors), dtype=np.float64)


def learn_prices(terms: FloatArray, mean_s: FloatArray) -> FloatArray:
    """Return the prices that fit all the work best; a term that no work needs costs 0."""
    shares = (terms / mean_s[:, None]).mean(axis=0)
    needed = shares > 0
    start = 1.0 / (np.count_nonzero(needed) * shares[needed])
    prices = np.zeros(terms.shape[1])
    prices[needed] = fit_prices(terms[:, needed], mean_s, start, ridge=1e-4)
    return prices


def _rising(values: FloatArray) -> FloatArray:
    """Return the nearest rising sequence (pool adjacent violators)."""
    pools: list[tuple[float, int]] = []
    for value in values:
        pools.append((float(value), 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (last, last_count), (before, before_count) = pools.pop(), pools.pop()
            count = last_count + before_count
            pools.append(((last * last_count + before * before_count) / count, count))
    return np.array([value for value, count in pools for _ in range(count)])
