"""The smooth guess of kernels' factors finds a smooth truth from sums alone."""

import json

import numpy as np
from fleetfit_operator.predict.kernel_costs import FEATURE_NAMES
from fleetfit_operator.predict.kernel_groups import FloatArray
from fleetfit_operator.predict.kernel_process import VARIANCE, KernelProcess, Scaling, covariance
from fleetfit_training.kernel_process_fit import PricedKernels, fit_process

_GRAPHS, _KERNELS, _SIZE = 60, 5, 3


def some_kernels(rng: np.random.Generator, count: int) -> FloatArray:
    """Two kinds; besides only the first number, a size, differs."""
    features = np.zeros((count, len(FEATURE_NAMES)))
    features[:, 0] = rng.integers(0, 2, count)
    features[:, _SIZE] = rng.uniform(0, 10, count)
    return features


def truth(features: FloatArray) -> FloatArray:
    return np.asarray(np.where(features[:, 0] == 0, 0.3, -0.3) + 0.2 * np.sin(features[:, _SIZE] / 3))


def fitted() -> KernelProcess:
    features = some_kernels(np.random.default_rng(1), _GRAPHS * _KERNELS)
    graph, base_s = np.repeat(np.arange(_GRAPHS), _KERNELS), np.full(_GRAPHS * _KERNELS, 1e-4)
    latency_s = 1e-5 + np.bincount(graph, base_s * np.exp(truth(features)))
    return fit_process(PricedKernels(graph, features, base_s, 1e-5), latency_s)


def test_factors_are_found_from_whole_graphs() -> None:
    others = some_kernels(np.random.default_rng(2), 50)

    assert np.abs(fitted().log_factors(others) - truth(others)).max() < 0.1


def test_a_written_process_is_the_same() -> None:
    process = fitted()
    others = some_kernels(np.random.default_rng(3), 50)

    again = KernelProcess.from_json(json.loads(json.dumps(process.to_json())))

    np.testing.assert_allclose(again.log_factors(others), process.log_factors(others), atol=0.01)


def test_what_is_far_from_all_that_is_known_has_no_factor_of_its_own() -> None:
    far = some_kernels(np.random.default_rng(4), 1)
    far[0, 0], far[0, _SIZE] = 9, 1e6

    assert abs(fitted().log_factors(far)[0]) < 1e-6


def test_kernels_of_one_kind_are_more_alike() -> None:
    features = some_kernels(np.random.default_rng(5), 20)
    features[:2, _SIZE] = 4.0
    features[:3, 0] = 0, 1, 0
    points = Scaling.of(features).points(features)

    alike = covariance(points, points)

    np.testing.assert_allclose(np.diag(alike), VARIANCE)
    assert alike[0, 1] < alike[0, 2] < VARIANCE
    assert np.linalg.eigvalsh(alike).min() > -1e-9
