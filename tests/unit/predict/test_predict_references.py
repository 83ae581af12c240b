"""Which graphs are read: those that tell the most about the others, and what surrogates make of few times."""

import numpy as np
from fleetfit_operator.predict.kernel_groups import FloatArray
from fleetfit_training.reference_choice import choose_references
from fleetfit_training.surrogate import Surrogate
from hypothesis import given, settings
from hypothesis import strategies as st


def fleet(seed: int, graphs: int = 80) -> tuple[FloatArray, FloatArray]:
    """Logarithms of seconds on four devices, and the three kinds of work that they are made of."""
    rng = np.random.default_rng(seed)
    terms = rng.lognormal(0.0, 1.0, (graphs, 3))
    return np.log(terms @ rng.lognormal(-6.0, 0.7, (3, 4))), terms


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 8))
def test_the_first_of_many_are_the_few(seed: int, count: int) -> None:
    log_devices, terms = fleet(seed)

    chosen = choose_references(log_devices, terms, 8)

    assert len(set(chosen.tolist())) == 8
    assert choose_references(log_devices, terms, count).tolist() == chosen[:count].tolist()


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_slow_devices_are_told_by_the_same_graphs(seed: int) -> None:
    log_devices, terms = fleet(seed)

    assert (
        choose_references(log_devices + np.log([3.0, 1.0, 20.0, 0.5]), terms, 6).tolist()
        == choose_references(log_devices + np.log([3.0, 1.0, 20.0, 0.5]).mean(), terms, 6).tolist()
    )


def test_a_kind_of_work_that_only_one_graph_does_much_of_is_read() -> None:
    log_devices, terms = fleet(3)
    rare = np.full((len(terms), 1), 0.01)
    rare[7] = 30.0
    log_devices = np.log(np.exp(log_devices) + 0.01 * rare)

    assert 7 in choose_references(log_devices, np.hstack([terms, rare]), 6)


def test_a_surrogate_learns_a_device_and_keeps_next_to_nothing_within_its_range() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.lognormal(0.0, 1.0, (400, 3))
    latency_s = vectors @ np.array([0.001, 0.003, 0.0005])
    latency_s[:3] = 1e-9

    predicted = Surrogate.fit(vectors[:300], latency_s[:300], 1).log_latency(vectors[300:])

    assert np.median(np.abs(predicted - np.log(latency_s[300:]))) < 0.08
