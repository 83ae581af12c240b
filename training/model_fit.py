"""Fits the parts of the predictor to measurements: population prices, the assumed graph, the correction."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import lightgbm
import numpy as np
from fleetfit_api.node_inference import ReferenceRun
from fleetfit_operator.predict.correction import FEATURE_NAMES, Correction, correction_rows
from fleetfit_operator.predict.cost_terms import AssumedGraph, FloatArray, cost_matrix
from fleetfit_operator.predict.node_costs import NodeCosts, PopulationCosts, fit_node, learn_prices
from fleetfit_operator.predict.predictor import Graph, ReferenceSet

from training.dataset import MachineData, MeasuredGraph, Times

RIDGE: Final = 0.03
CORRECTION_LIMIT: Final = 1.0
_TREES = 200
_LIGHTGBM: Final[dict[str, Any]] = {
    "objective": "regression_l1",
    "num_leaves": 7,
    "learning_rate": 0.05,
    "min_data_in_leaf": 20,
    "lambda_l2": 5.0,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "seed": 1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}


@dataclass(frozen=True, slots=True)
class NodeData:
    """What was measured in one setting of one machine, which counts as a node.

    Attributes:
        name: Machine and setting.
        run: The node's reference run.
        graphs: The measured graphs.
        times: Their times, in the same order.
    """

    name: str
    run: ReferenceRun
    graphs: Sequence[MeasuredGraph]
    times: Sequence[Times]

    def of_families(self, families: frozenset[str]) -> "NodeData":
        """Return the same node with the graphs of these families only."""
        kept = [
            (graph, times)
            for graph, times in zip(self.graphs, self.times, strict=True)
            if graph.family in families
        ]
        return NodeData(self.name, self.run, [graph for graph, _ in kept], [times for _, times in kept])

    def pairs(self) -> list[Graph]:
        """Return the graphs as the predictor takes them."""
        return [(graph.features, graph.precision) for graph in self.graphs]

    def mean_s(self) -> FloatArray:
        """Return the measured means in seconds."""
        return np.array([times.mean_us for times in self.times]) * 1e-6

    def p95_s(self) -> FloatArray:
        """Return the measured 95th percentiles in seconds."""
        return np.array([times.p95_us for times in self.times]) * 1e-6


def nodes_of(machines: Sequence[MachineData]) -> list[NodeData]:
    """Return every setting of every machine as a node."""
    nodes = []
    for machine in machines:
        for setting, run in machine.reference_runs.items():
            names = [name for name in machine.graphs if (setting, name) in machine.times]
            nodes.append(
                NodeData(
                    f"{machine.machine}/{setting}",
                    run,
                    [machine.graphs[name] for name in names],
                    [machine.times[setting, name] for name in names],
                )
            )
    return nodes


def fit_population(nodes: Sequence[NodeData], reference_set: ReferenceSet) -> PopulationCosts:
    """Return the usual prices: the best fit to all graphs and reference networks, every node scaled to the usual."""
    terms: list[FloatArray] = []
    means: list[FloatArray] = []
    tails: list[float] = []
    for node in nodes:
        reference = reference_set.times(node.run)
        if reference is None:
            raise ValueError(f"the reference run of {node.name} is of another reference set; measure anew")
        terms.append(np.vstack([reference.terms, cost_matrix(node.pairs())]))
        means.append(np.concatenate([reference.mean_s, node.mean_s()]))
        tails.extend(node.p95_s() / node.mean_s())
    # A node's speed is the typical ratio of its reference times to those of the other nodes.
    networks = min(len(mean) for mean in means)
    speeds = np.exp([np.log(mean[:networks]).mean() for mean in means])
    speeds /= np.median(speeds)
    prices = learn_prices(
        np.vstack(terms), np.concatenate([mean / speed for mean, speed in zip(means, speeds, strict=True)])
    )
    return PopulationCosts(prices=tuple(prices), tail_ratio=float(np.median(tails)), ridge=RIDGE)


def node_costs(node: NodeData, population: PopulationCosts, reference_set: ReferenceSet) -> NodeCosts:
    """Return a node's costs from its reference run."""
    reference = reference_set.times(node.run)
    if reference is None:
        raise ValueError(f"the reference run of {node.name} is of another reference set; measure anew")
    return fit_node(reference, population)


def fit_correction(
    nodes: Sequence[NodeData], population: PopulationCosts, reference_set: ReferenceSet
) -> lightgbm.Booster:
    """Return LightGBM trained on the logarithm of measured over baseline means."""
    rows, targets = [], []
    for node in nodes:
        costs = node_costs(node, population, reference_set)
        terms = cost_matrix(node.pairs())
        baseline_s = costs.mean_s(terms)
        rows.append(correction_rows(node.pairs(), terms, costs, baseline_s))
        targets.append(np.log(node.mean_s() / baseline_s))
    data = lightgbm.Dataset(
        np.vstack(rows), np.clip(np.concatenate(targets), -1.5, 1.5), feature_name=list(FEATURE_NAMES)
    )
    return lightgbm.train(_LIGHTGBM, data, num_boost_round=_TREES)


def as_correction(booster: lightgbm.Booster) -> Correction:
    """Return the booster as the predictor uses it."""
    return Correction(booster, CORRECTION_LIMIT)


def fit_assumed_graph(graphs: Sequence[MeasuredGraph]) -> AssumedGraph:
    """Return the usual graph for a number of weights."""
    features = [graph.features for graph in graphs]
    return AssumedGraph(
        macs_per_parameter=median(f.multiply_accumulates / max(1, f.parameters) for f in features),
        activation_bytes_per_parameter=median(f.activation_bytes / max(1, f.parameters) for f in features),
        operator_count=round(median(f.operator_count for f in features)),
    )
