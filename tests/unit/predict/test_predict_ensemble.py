"""A compact evaluator must answer exactly as LightGBM does."""

import lightgbm
import numpy as np
import pytest
from fleetfit_operator.predict.ensemble import Ensemble, Lattice
from hypothesis import given, settings
from hypothesis import strategies as st


def booster(seed: int, trees: int, leaves: int, rows: int = 120) -> lightgbm.Booster:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, 3)).round(1)  # so that rows meet thresholds
    label = np.sin(3 * features[:, 0]) + features[:, 1] * (features[:, 2] > 0)
    parameters = {
        "num_leaves": leaves,
        "min_data_in_leaf": 1,
        "min_data_in_bin": 1,
        "verbosity": -1,
        "num_threads": 1,
        "monotone_constraints": [0, 1, 0],
    }
    data = lightgbm.Dataset(features, label, weight=rng.uniform(0.1, 3.0, rows), params=parameters)
    return lightgbm.train(parameters, data, num_boost_round=trees)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), trees=st.integers(1, 20), leaves=st.integers(2, 16))
def test_values_and_the_table_equal_lightgbm(seed: int, trees: int, leaves: int) -> None:
    model = booster(seed, trees, leaves)
    ensemble = Ensemble(model)
    lattice = Lattice.of([ensemble])
    rng = np.random.default_rng(seed + 1)
    on_thresholds = np.column_stack([rng.choice(np.append(each, 0.3), 40) for each in lattice.thresholds])
    rows = np.vstack([rng.normal(size=(60, 3)), on_thresholds])
    rows[np.abs(rows) < 1e-30] = 0.0  # LightGBM itself reads what is as near to 0 as that as 0

    expected = model.predict(rows)
    np.testing.assert_allclose(ensemble.values(rows), expected, rtol=0, atol=1e-12)
    table = ensemble.values(lattice.representatives())
    np.testing.assert_allclose(table[lattice.cell(list(rows.T))], expected, rtol=0, atol=1e-12)


def test_columns_broadcast() -> None:
    ensemble = Ensemble(booster(0, 8, 6))
    lattice = Lattice.of([ensemble])
    table = ensemble.values(lattice.representatives())
    rng = np.random.default_rng(2)
    per_pair, per_variant, one = rng.normal(size=(7, 5)), rng.normal(size=5), np.zeros(())
    got = table[lattice.cell([per_pair, per_variant, one])]
    rows = np.stack([each.ravel() for each in np.broadcast_arrays(per_pair, per_variant, one)], axis=1)
    np.testing.assert_array_equal(got, ensemble.values(rows).reshape(7, 5))


def test_a_lattice_of_several_holds_all_of_them() -> None:
    ensembles = [Ensemble(booster(seed, 5, 5)) for seed in range(3)]
    lattice = Lattice.of(ensembles)
    rows = np.random.default_rng(3).normal(size=(50, 3))
    cells = lattice.cell(list(rows.T))
    for ensemble in ensembles:
        table = ensemble.values(lattice.representatives())
        np.testing.assert_array_equal(table[cells], ensemble.values(rows))


def test_weights_are_those_of_the_training_rows_in_the_leaf() -> None:
    rows = np.array([[0.0], [0.0], [1.0]])
    parameters = {"num_leaves": 2, "min_data_in_leaf": 1, "min_data_in_bin": 1, "verbosity": -1}
    data = lightgbm.Dataset(
        rows, np.array([0.0, 0.0, 1.0]), weight=np.array([1.0, 2.0, 5.0]), params=parameters
    )
    ensemble = Ensemble(
        lightgbm.train({**parameters, "min_sum_hessian_in_leaf": 0.1}, data, num_boost_round=1)
    )
    np.testing.assert_allclose(ensemble.weights(np.array([[-1.0], [2.0]])), [3.0, 5.0], rtol=1e-6)


def test_a_model_that_never_splits_is_one_cell() -> None:
    rows = np.zeros((4, 2))
    model = lightgbm.train({"verbosity": -1}, lightgbm.Dataset(rows, np.ones(4)), num_boost_round=2)
    ensemble = Ensemble(model)
    lattice = Lattice.of([ensemble])
    assert lattice.cells == 1
    np.testing.assert_allclose(ensemble.values(np.ones((3, 2))), model.predict(np.ones((3, 2))), atol=1e-12)


def test_splits_by_category_are_refused() -> None:
    rows = np.arange(200.0).reshape(-1, 1) % 4
    data = lightgbm.Dataset(rows, (rows[:, 0] % 2), categorical_feature=[0])
    model = lightgbm.train({"verbosity": -1, "min_data_in_leaf": 5, "min_data_per_group": 1}, data, 2)
    with pytest.raises(ValueError, match="numeric"):
        Ensemble(model)
