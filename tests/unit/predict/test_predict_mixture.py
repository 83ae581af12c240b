"""The parts of the prediction for a new device: mix, factor process, their stack, tails."""

import numpy as np
import pytest
from fleetfit_operator.predict.device_model import DeviceModel, resolution_noise
from fleetfit_operator.predict.factor_process import FactorProcess
from fleetfit_operator.predict.mixture import Columns, Ridge, fit_mixes
from fleetfit_operator.predict.tail_curve import TailCurve
from fleetfit_training.gaussian_process import GaussianProcess
from hypothesis import given
from hypothesis import strategies as st

FloatArray = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def population(graphs: int = 60, seed: int = 3) -> Columns:
    """Four known devices, each a mix of three kinds of work, which are the terms."""
    rng = np.random.default_rng(seed)
    terms = np.hstack([rng.lognormal(0.0, 1.0, (graphs, 3)), np.ones((graphs, 1))])
    prices = rng.lognormal(-6.0, 0.7, (4, 4))
    return Columns(terms @ prices.T, terms, np.zeros(4, dtype=bool), np.ones(4, dtype=bool))


def part(columns: Columns, rows: slice) -> Columns:
    return Columns(columns.devices[rows], columns.terms[rows], columns.optional, columns.leaders)


def test_a_mix_of_known_devices_is_found_from_ten_readings() -> None:
    columns = population()
    latency_s = 0.7 * columns.devices[:, 0] + 0.5 * columns.devices[:, 2]

    model = DeviceModel.fit(part(columns, slice(10)), latency_s[:10], noise=np.zeros(10))

    predicted = np.exp(model.log_latency(part(columns, slice(10, None))))
    assert np.abs(predicted / latency_s[10:] - 1).mean() < 0.03


def test_a_device_unlike_all_others_is_carried_by_the_terms() -> None:
    columns = population()
    latency_s = columns.terms @ np.array([0.05, 0.0001, 0.0001, 0.001])

    model = DeviceModel.fit(part(columns, slice(10)), latency_s[:10], noise=np.zeros(10))

    predicted = np.exp(model.log_latency(part(columns, slice(10, None))))
    assert np.abs(predicted / latency_s[10:] - 1).mean() < 0.1


def test_left_out_errors_are_those_of_leaving_readings_out() -> None:
    columns, ridge = population(), Ridge(strength=0.03, terms_factor=0.3)
    latency_s = np.exp(np.random.default_rng(5).normal(0, 0.1, 60)) * columns.devices[:, 1]
    (whole,) = fit_mixes(part(columns, slice(10)), latency_s[:10], np.ones(10), [ridge])

    for row in range(10):
        others = [index for index in range(10) if index != row]
        readings = Columns(columns.devices[others], columns.terms[others], columns.optional, columns.leaders)
        (mix,) = fit_mixes(readings, latency_s[others], np.ones(9), [ridge])
        error = np.log(columns.design[row] @ mix.weights / latency_s[row])
        assert whole.left_out[row] == pytest.approx(error, abs=0.05)


@given(st.floats(0.01, 100.0))
def test_a_device_k_times_as_slow_is_predicted_k_times_as_slow(factor: float) -> None:
    columns = population()
    latency_s = columns.devices[:10, 3]

    once = DeviceModel.fit(part(columns, slice(10)), latency_s, noise=np.zeros(10))
    slower = DeviceModel.fit(part(columns, slice(10)), factor * latency_s, noise=np.zeros(10))

    rest = part(columns, slice(10, None))
    assert slower.log_latency(rest) == pytest.approx(once.log_latency(rest) + np.log(factor), abs=1e-3)


def test_half_of_the_readings_lie_above_the_model_however_badly_it_fits() -> None:
    columns = population()
    noise = np.random.default_rng(4).normal(0, 0.5, 10)
    latency_s = columns.devices[:10, 1] * np.exp(noise)

    readings = part(columns, slice(10))
    errors = DeviceModel.fit(readings, latency_s, noise=np.full(10, 0.01)).log_latency(readings) - np.log(
        latency_s
    )

    assert np.median(errors) == pytest.approx(0.0, abs=1e-9)


def test_the_order_of_readings_does_not_matter() -> None:
    columns = population()
    latency_s = columns.devices[:10, 0] * 1.3
    order = np.random.default_rng(1).permutation(10)
    shuffled = Columns(columns.devices[order], columns.terms[order], columns.optional, columns.leaders)

    rest = part(columns, slice(10, None))
    expected = DeviceModel.fit(part(columns, slice(10)), latency_s, noise=np.zeros(10)).log_latency(rest)
    assert DeviceModel.fit(shuffled, latency_s[order], noise=np.zeros(10)).log_latency(rest) == pytest.approx(
        expected, abs=1e-6
    )


def test_whole_milliseconds_are_known_to_be_rounded() -> None:
    assert resolution_noise(np.array([0.009, 0.016, 0.029])) == pytest.approx(
        [1 / 9**2 / 12, 1 / 16**2 / 12, 1 / 29**2 / 12]
    )
    assert resolution_noise(np.array([0.0091, 0.01603, 0.029])).tolist() == [0, 0, 0]


def test_the_factor_process_passes_near_its_readings() -> None:
    columns = population()
    log_devices = np.log(columns.devices)
    log_latency = log_devices[:10, 1] + 0.5

    process = FactorProcess.fit(log_devices[:10], log_latency, np.full(10, 1e-4))

    assert process.log_latency(log_devices[:10]) == pytest.approx(log_latency, abs=0.05)
    assert process.log_latency(log_devices[10:]) == pytest.approx(log_devices[10:, 1] + 0.5, abs=0.15)


def test_a_gaussian_process_finds_a_smooth_function_and_ignores_constants() -> None:
    rng = np.random.default_rng(2)
    features = np.hstack([rng.uniform(-1, 1, (200, 2)), np.full((200, 1), 7.0)])
    targets = np.sin(2 * features[:, 0]) + features[:, 1]

    process = GaussianProcess.fit(features[:150], targets[:150])

    assert process.predict(features[150:]) == pytest.approx(targets[150:], abs=0.1)


@given(st.lists(st.tuples(st.floats(1e-6, 10.0), st.floats(1e-6, 10.0)), min_size=1, max_size=12))
def test_a_tail_never_falls(points: list[tuple[float, float]]) -> None:
    mean_s, p95_s = np.array(points).T
    curve = TailCurve.through(mean_s, p95_s)

    asked = np.geomspace(1e-7, 100, 200)
    assert np.all(np.diff(curve.percentile_s(asked)) >= -1e-9 * curve.percentile_s(asked)[1:])


def test_a_tail_keeps_its_ratio_below_and_its_distance_beyond() -> None:
    curve = TailCurve.through(np.array([0.001, 0.01]), np.array([0.002, 0.05]))

    assert curve.percentile_s(np.array([0.0005, 0.1])) == pytest.approx([0.001, 0.14])
    assert TailCurve.of_ratio(1.5).percentile_s(np.array([2.0])) == pytest.approx([3.0])
