"""Errors of the predictor and of simpler ones on nodes and families that the fit has not seen."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from fleetfit_operator.predict.correction import correction_rows
from fleetfit_operator.predict.cost_terms import FloatArray, cost_matrix
from fleetfit_operator.predict.node_costs import NodeCosts
from fleetfit_operator.predict.predictor import ReferenceSet

from training.model_fit import NodeData, as_correction, fit_correction, fit_population, node_costs

Predict = Callable[[NodeData], tuple[FloatArray, FloatArray]]


@dataclass(slots=True)
class Errors:
    """Collected predictions of one method under one way of holding out."""

    log_ratios: list[float] = field(default_factory=list)
    mean_log_ratios: list[float] = field(default_factory=list)
    ranks: list[float] = field(default_factory=list)

    def add(self, node: NodeData, mean_s: FloatArray, p95_s: FloatArray) -> None:
        """Add the predictions for a node."""
        self.log_ratios.extend(np.log(p95_s / node.p95_s()))
        self.mean_log_ratios.extend(np.log(mean_s / node.mean_s()))
        self.ranks.append(rank_correlation(p95_s, node.p95_s()))

    def scores(self) -> dict[str, float]:
        """Return the figures: relative errors of mean and 95th percentile, and the rank correlation per node."""
        error = np.abs(np.expm1(self.log_ratios))
        mean_error = np.abs(np.expm1(self.mean_log_ratios))
        figures = {
            "mean_median_error": np.median(mean_error),
            "mean_within_20_percent": np.mean(mean_error <= 0.2),
            "p95_median_error": np.median(error),
            "p95_within_20_percent": np.mean(error <= 0.2),
            "p95_within_factor_2": np.mean(np.abs(self.log_ratios) <= np.log(2)),
            "p95_rank_correlation": np.mean(self.ranks),
        }
        return {name: round(float(figure), 4) for name, figure in figures.items()}


def evaluate(
    nodes: Sequence[NodeData], reference_set: ReferenceSet
) -> dict[str, dict[str, dict[str, float]]]:
    """Return scores by way of holding out and method."""
    results = {}
    for name, folds in (
        ("unseen_setting", leave_setting_out(nodes)),
        ("unseen_family", leave_family_out(nodes)),
        ("unseen_both", leave_both_out(nodes)),
    ):
        errors: dict[str, Errors] = {}
        for train, test in folds:
            for method, predict in _methods(train, reference_set).items():
                for node in test:
                    errors.setdefault(method, Errors()).add(node, *predict(node))
        results[name] = {method: collected.scores() for method, collected in errors.items()}
    return results


Fold = tuple[list[NodeData], list[NodeData]]


def leave_setting_out(nodes: Sequence[NodeData]) -> Iterator[Fold]:
    """Yield folds whose test node is in no way part of the training."""
    for test in nodes:
        yield [node for node in nodes if node is not test], [test]


def leave_family_out(nodes: Sequence[NodeData]) -> Iterator[Fold]:
    """Yield folds whose test graphs are of a family that is not part of the training."""
    families = frozenset(graph.family for node in nodes for graph in node.graphs)
    for family in sorted(families):
        yield (
            [node.of_families(families - {family}) for node in nodes],
            [node.of_families(frozenset({family})) for node in nodes],
        )


def leave_both_out(nodes: Sequence[NodeData]) -> Iterator[Fold]:
    """Yield folds with neither the node nor the family in the training."""
    for train, test in leave_family_out(nodes):
        for unseen in test:
            yield [node for node in train if node.name != unseen.name], [unseen]


def rank_correlation(left: FloatArray, right: FloatArray) -> float:
    """Return Spearman's rank correlation."""
    ranks = [np.argsort(np.argsort(values)) for values in (left, right)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _methods(train: Sequence[NodeData], reference_set: ReferenceSet) -> dict[str, Predict]:
    population = fit_population(train, reference_set)
    correction = as_correction(fit_correction(train, population, reference_set))

    def costs(node: NodeData) -> NodeCosts:
        return node_costs(node, population, reference_set)

    def macs(node: NodeData) -> tuple[FloatArray, FloatArray]:
        reference = reference_set.times(node.run)
        if reference is None:
            raise ValueError("a reference run of another set")
        work = np.array([graph.features.multiply_accumulates for graph in node.graphs], dtype=np.float64)
        per_mac = reference.mean_s[1:] / np.maximum(1.0, reference.terms[1:, 2:9].sum(axis=1))
        mean_s = work * np.median(per_mac)
        return mean_s, costs(node).tail.p95_s(mean_s)

    def baseline(node: NodeData) -> tuple[FloatArray, FloatArray]:
        mean_s = costs(node).mean_s(cost_matrix(node.pairs()))
        return mean_s, costs(node).tail.p95_s(mean_s)

    def corrected(node: NodeData) -> tuple[FloatArray, FloatArray]:
        terms = cost_matrix(node.pairs())
        mean_s = costs(node).mean_s(terms)
        rows = correction_rows(node.pairs(), terms, costs(node), mean_s)
        mean_s = mean_s * np.exp(correction.log_ratio(rows))
        return mean_s, costs(node).tail.p95_s(mean_s)

    return {"macs": macs, "baseline": baseline, "fleetfit": corrected}
