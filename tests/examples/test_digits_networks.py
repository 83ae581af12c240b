"""The split, the pruning, and that what is trained is what is exported."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.digits.export import float16_model, float32_model
from examples.digits.heldout import HELD_OUT_COUNT, load_split
from examples.digits.networks import (
    CLASSES,
    CNN_SMALL,
    DEPTHWISE,
    INPUT_NAME,
    MLP,
    OUTPUT_NAME,
    RESIDUAL_COMPACT,
    RESIDUAL_WIDE,
    Network,
    Residual,
    forward,
    halved,
    weight_shapes,
)
from examples.digits.weights import Weights, initial_weights, prune_channels

NETWORKS = {
    "compact": RESIDUAL_COMPACT,
    "small": CNN_SMALL,
    "depthwise": DEPTHWISE,
    "mlp": MLP,
    "wide": halved(RESIDUAL_WIDE),
}


def some_weights(network: Network) -> Weights:
    return initial_weights(network, np.random.default_rng(1))


def run(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run([OUTPUT_NAME], {INPUT_NAME: images})[0])


def test_split_is_the_same_every_time_stratified_and_disjoint() -> None:
    first, second = load_split(), load_split()
    np.testing.assert_array_equal(first.held_out.images, second.held_out.images)
    assert len(first.held_out) == HELD_OUT_COUNT >= 500
    assert first.held_out.images.shape == (HELD_OUT_COUNT, 1, 8, 8)
    assert first.held_out.images.dtype == np.float32
    assert (first.held_out.images.min(), first.held_out.images.max()) == (0, 1)
    counts = np.bincount(first.held_out.labels, minlength=CLASSES)
    assert counts.min() >= 0.9 * HELD_OUT_COUNT / CLASSES
    trained = {image.tobytes() for image in first.train.images}
    assert not any(image.tobytes() in trained for image in first.held_out.images)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
def test_exported_file_computes_what_was_trained(network: Network) -> None:
    import jax

    from examples.digits.jax_operators import JaxOperators

    weights, images = some_weights(network), load_split().held_out.images[:4]
    trained = np.asarray(jax.jit(lambda data: forward(network, JaxOperators(weights), data))(images))
    np.testing.assert_allclose(run(float32_model(network, weights), images), trained, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", [RESIDUAL_COMPACT, MLP], ids=["with resize", "without resize"])
def test_half_precision_file_stores_halves_and_agrees(network: Network) -> None:
    weights, images = some_weights(network), load_split().held_out.images[:4]
    half = float16_model(network, weights)
    stored = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    names = [name for name, _ in weight_shapes(network)]
    assert {stored[name] for name in names} == {onnx.TensorProto.FLOAT16}
    full = run(float32_model(network, weights), images)
    np.testing.assert_allclose(run(half, images), full, atol=0.02 * np.abs(full).max())


@given(kept_share=st.floats(min_value=0.01, max_value=1.0))
def test_pruned_weights_fit_the_pruned_network(kept_share: float) -> None:
    network, weights = prune_channels(RESIDUAL_COMPACT, some_weights(RESIDUAL_COMPACT), kept_share)
    for name, shape in weight_shapes(network):
        assert weights[name].shape == shape
    for before, after in zip(RESIDUAL_COMPACT, network, strict=True):
        if isinstance(before, Residual) and isinstance(after, Residual):
            assert 1 <= after.inner == max(1, round(kept_share * before.inner))
            assert replace(after, inner=before.inner) == before


def test_pruning_takes_away_channels_that_do_nothing() -> None:
    weights = some_weights(RESIDUAL_COMPACT)
    for layer in RESIDUAL_COMPACT:
        if isinstance(layer, Residual):
            weights[f"{layer.name}.second"][:, ::2] = 0
    images = load_split().held_out.images[:4]
    before = run(float32_model(RESIDUAL_COMPACT, weights), images)
    after = run(float32_model(*prune_channels(RESIDUAL_COMPACT, weights, 0.5)), images)
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kept_share", [0.0, -1.0, 1.5])
def test_pruning_refuses_a_share_that_makes_no_sense(kept_share: float) -> None:
    with pytest.raises(ValueError, match="kept_share"):
        prune_channels(RESIDUAL_COMPACT, some_weights(RESIDUAL_COMPACT), kept_share)


def test_the_same_weights_fit_half_the_resolution() -> None:
    smaller = halved(RESIDUAL_WIDE)
    assert list(weight_shapes(smaller)) == list(weight_shapes(RESIDUAL_WIDE))
    assert run(float32_model(smaller, some_weights(smaller)), load_split().held_out.images[:2]).shape == (
        2,
        10,
    )
