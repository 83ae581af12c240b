"""Learns what kernels cost on a device from the times of whole graphs.

LightGBM is trained on kernels although only sums over kernels were timed: its objective is half the squared logarithm
of predicted over measured graph latency, so the gradient at a kernel is its share in the graph's latency times that
logarithm.
"""

from typing import Any, Final

import lightgbm
import numpy as np
from fleetfit_operator.predict.graph_table import GraphTable
from fleetfit_operator.predict.kernel_costs import (
    FEATURE_NAMES,
    LARGER_IS_SLOWER,
    SMALLEST_PRICE_S,
    Counting,
    KernelCosts,
    KernelRows,
    kernel_terms,
)
from fleetfit_operator.predict.kernel_groups import FloatArray
from fleetfit_operator.predict.physical_terms import run_terms
from scipy.optimize import nnls

from fleetfit_training.kernel_process_fit import PricedKernels, fit_process

TREES: Final = 500
_PARAMETERS: Final[dict[str, Any]] = {
    "num_leaves": 12,
    "learning_rate": 0.05,
    "min_data_in_leaf": 10,
    "min_sum_hessian_in_leaf": 0.01,
    "lambda_l2": 1.0,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "monotone_constraints": [int(name in LARGER_IS_SLOWER) for name in FEATURE_NAMES],
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
_PRICE_RIDGE: Final = 1e-3
_SMALLEST_CALL_S: Final = 2e-6
_LARGEST_RESIDUAL: Final = 0.4
_HESSIAN_FLOOR: Final = 0.02


def fit_kernel_costs(
    table: GraphTable,
    latency_s: FloatArray,
    counting: Counting = Counting.RUN,
    seed: int = 1,
    parameters: dict[str, Any] | None = None,
) -> KernelCosts:
    """Return what kernels cost on the device that took `latency_s` for the graphs of the table."""
    call_s, prices = fit_prices(table, latency_s, counting)
    rows = KernelRows.of(table, counting)
    base = rows.count * (kernel_terms(table.kernels) @ prices + SMALLEST_PRICE_S)[rows.kernel]
    log_latency = np.log(latency_s)

    def objective(factors: FloatArray, _: lightgbm.Dataset) -> tuple[FloatArray, FloatArray]:
        costs = base * np.exp(factors)
        totals = call_s + np.bincount(rows.graph, costs, minlength=len(table))
        shares = costs / totals[rows.graph]
        # Held within bounds, so that a graph of an odd kind does not pull everything to it at once.
        residuals = np.clip(np.log(totals) - log_latency, -_LARGEST_RESIDUAL, _LARGEST_RESIDUAL)
        return residuals[rows.graph] * shares, shares**2 + _HESSIAN_FLOOR * shares + 1e-9

    data = lightgbm.Dataset(rows.features, np.zeros(len(rows.graph)), feature_name=_plain_names())
    settings = {**_PARAMETERS, **(parameters or {}), "objective": objective, "seed": seed}
    process = fit_process(PricedKernels(rows.graph, rows.features, base, call_s), latency_s)
    return KernelCosts(call_s, prices, lightgbm.train(settings, data, TREES), counting, process)


def usual_term_prices(table: GraphTable, latency_s: FloatArray) -> FloatArray:
    """Return the price of each physical term of whole graphs, with the smallest squared relative error."""
    return _nonnegative(run_terms(table), latency_s)


def fit_prices(
    table: GraphTable, latency_s: FloatArray, counting: Counting = Counting.RUN
) -> tuple[float, FloatArray]:
    """Return the seconds of a call and the price of each physical term with the smallest squared relative error."""
    terms = np.hstack([np.ones((len(table), 1)), counting.of(table) @ kernel_terms(table.kernels)])
    prices = _nonnegative(terms, latency_s)
    return max(float(prices[0]), _SMALLEST_CALL_S), prices[1:]


def _nonnegative(terms: FloatArray, latency_s: FloatArray) -> FloatArray:
    """Return non-negative prices, drawn a little to equal shares; a term that no graph has costs nothing."""
    design = terms / latency_s[:, None]
    means = design.mean(axis=0)
    present = means > 0
    scaled = design[:, present] / means[present]
    ridge = np.sqrt(_PRICE_RIDGE * len(terms))
    equal = 1.0 / np.count_nonzero(present)
    stacked = np.vstack([scaled, ridge * np.eye(scaled.shape[1])])
    target = np.concatenate([np.ones(len(terms)), np.full(scaled.shape[1], ridge * equal)])
    solution, _ = nnls(stacked, target, maxiter=5000)
    prices = np.zeros(len(means))
    prices[present] = solution / means[present]
    return prices


def _plain_names() -> list[str]:
    return [name.replace(" ", "_").replace("-", "_") for name in FEATURE_NAMES]
