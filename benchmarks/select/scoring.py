"""The cost of scoring a large fleet at once: 10,000 nodes x 20 variants on one thread.

Timed is everything between what is known of the nodes and the best variant of each, with the project's array
functions: latencies as a mix of known devices (10,000 x 30 by 30 x 20), the expected QoE over their spread, what
ratings have taught (weights and trees), limits, and the best feasible variant.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import lightgbm
import numpy as np
from fleetfit_operator.fleet.choice import QoeFacts
from fleetfit_operator.predict.misfit import GROUPS, GroupRatings, train_group
from fleetfit_operator.predict.preference import Weights
from fleetfit_operator.predict.qoe_model import FactColumns, LearntOpinion, Rated, learn_opinion
from fleetfit_operator.select.qoe import QoeTerms, expected_qoe

from benchmarks.select.devices import FloatArray

NODES: Final = 10_000
VARIANTS: Final = 20
KNOWN_DEVICES: Final = 30
KINDS: Final = 200
"""Kinds of node for the comparison in which identical nodes are scored once."""
RUNS: Final = 15
_TERMS: Final = QoeTerms(
    accuracy_weight=3.0,
    latency_weight=1.0,
    energy_weight=0.0,
    memory_weight=0.0,
    latency_target_s=0.02,
    energy_target_j=None,
    memory_target_bytes=None,
    best_accuracy=0.9,
)
_PRIOR_STRENGTH = 12.0
_BAD_END = 1.645
_LIMIT_S = 0.2


@dataclass(frozen=True, slots=True)
class Workload:
    """What is known of the nodes and variants.

    Attributes:
        mix: Non-negative mix of known devices per node (nodes x devices).
        table_s: Latency of the variants on known devices in seconds (devices x variants).
        log_sigma: Spread of each node's predictions (nodes x 1).
        memory_bytes: Memory of each node (nodes x 1).
        accuracy: Accuracy of each variant.
        size_bytes: Memory that each variant takes.
        opinion: What was learnt from ratings.
    """

    mix: FloatArray
    table_s: FloatArray
    log_sigma: FloatArray
    memory_bytes: FloatArray
    accuracy: FloatArray
    size_bytes: FloatArray
    opinion: LearntOpinion


def best_variants(work: Workload) -> FloatArray:
    """Return the best feasible variant of every node, -1 where none is feasible."""
    latency_s = work.mix @ work.table_s
    prior = expected_qoe(_TERMS, latency_s, work.log_sigma, work.accuracy).mean
    qoe = work.opinion.means(_columns(work, latency_s, prior))
    feasible = (latency_s * np.exp(_BAD_END * work.log_sigma) <= _LIMIT_S) & (
        work.size_bytes <= work.memory_bytes
    )
    scored = np.where(feasible, qoe, -1.0)
    best = scored.argmax(axis=1)
    return np.where(scored[np.arange(len(best)), best] >= 0.0, best, -1)


def _columns(work: Workload, latency_s: FloatArray, prior: FloatArray) -> FactColumns:
    ones = np.ones(())
    share = np.minimum(work.accuracy / _TERMS.best_accuracy, 1.0)
    return FactColumns(share, latency_s / _TERMS.latency_target_s, ones, ones, prior)


def make_workload(seed: int, kinds: int | None = None) -> Workload:
    """Return a fleet; with `kinds` its nodes are so many different ones, repeated."""
    rng = np.random.default_rng(seed)
    count = kinds or NODES
    mix = rng.dirichlet(np.full(KNOWN_DEVICES, 0.2), count) * rng.lognormal(0.0, 0.7, (count, 1))
    table_s = rng.lognormal(-4.0, 0.5, (KNOWN_DEVICES, 1)) * np.geomspace(0.4, 3.0, VARIANTS)
    return Workload(
        mix=mix,
        table_s=table_s,
        log_sigma=rng.uniform(0.02, 0.2, (count, 1)),
        memory_bytes=rng.choice([5e8, 1e9, 4e9], (count, 1)),
        accuracy=np.linspace(0.6, 0.9, VARIANTS),
        size_bytes=np.geomspace(1e8, 8e8, VARIANTS),
        opinion=_opinion(rng),
    )


def measure_scoring() -> tuple[float, dict[str, float]]:
    """Return the median time of a batch in milliseconds, and the baselines', on one processor."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        return _measured()
    finally:
        os.sched_setaffinity(0, allowed)


def _measured() -> tuple[float, dict[str, float]]:
    work = make_workload(0)
    value_ms = _median_ms(lambda: best_variants(work))
    kinds = make_workload(0, KINDS)
    latency_s = work.mix @ work.table_s
    columns = _columns(work, latency_s, latency_s)
    rows = np.stack(
        [each.ravel() for each in np.broadcast_arrays(latency_s, *columns.features())[1:]], axis=1
    )
    rng = np.random.default_rng(1)
    boosters = [train_group(_group(rng), _PRIOR_STRENGTH) for _ in range(GROUPS)]
    large, large_rows = _large_model(rng)
    return value_ms, {
        "learnt_part_alone": _median_ms(lambda: work.opinion.means(columns)),
        "trees_by_table": _median_ms(lambda: work.opinion.misfit.correction(columns.features())),
        "trees_by_booster": _median_ms(lambda: [each.predict(rows, num_threads=1) for each in boosters]),
        "lightgbm_100_trees_31_leaves_40_features": _median_ms(
            lambda: large.predict(large_rows, num_threads=1), runs=3
        ),
        f"identical_nodes_once_{KINDS}_kinds": _median_ms(lambda: best_variants(kinds)),
    }


def _opinion(rng: np.random.Generator) -> LearntOpinion:
    rated = []
    for node in range(300):
        for variant in rng.choice(VARIANTS, 2, replace=False):
            accuracy = float(np.linspace(0.6, 0.9, VARIANTS)[variant])
            latency_s = float(rng.lognormal(-4.0, 0.7))
            prior = (accuracy / 0.9) ** 3 * min(1.0, _TERMS.latency_target_s / latency_s)
            facts = QoeFacts(accuracy, 0.9, latency_s, _TERMS.latency_target_s, 1.0, 1.0, prior)
            score = float(np.clip(prior**0.7 + rng.normal(0.0, 0.1), 0.0, 1.0))
            rated.append(Rated(f"node-{node}", facts, score, 8.0))
    opinion = learn_opinion(rated, Weights(3.0, 1.0, 0.0, 0.0), _PRIOR_STRENGTH)
    if opinion is None:
        raise ValueError("there are ratings")
    return opinion


def _group(rng: np.random.Generator) -> GroupRatings:
    features = np.column_stack([rng.uniform(0.6, 1.0, 200), rng.lognormal(0.0, 0.7, 200), np.ones((200, 2))])
    expected = features[:, 0] * np.minimum(1.0, 1.0 / features[:, 1])
    return GroupRatings(features, expected, expected**0.7, np.full(200, 8.0))


def _large_model(rng: np.random.Generator) -> tuple[lightgbm.Booster, FloatArray]:
    """Return a model of usual size and as many rows as the fleet has."""
    rows = rng.random((NODES * VARIANTS, 40))
    label = rows[:4000] @ rng.normal(size=40) + np.sin(7 * rows[:4000, 0])
    parameters = {"num_leaves": 31, "verbosity": -1, "num_threads": 1, "seed": 0}
    return lightgbm.train(parameters, lightgbm.Dataset(rows[:4000], label), num_boost_round=100), rows


def _median_ms(run: Callable[[], object], runs: int = RUNS) -> float:
    run()
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return float(np.median(times)) * 1000.0
