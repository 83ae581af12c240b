"""The training loop learns, repeats itself, and leaves what it was given alone. Needs the extra `train`."""

import numpy as np

from examples.digits.heldout import load_split
from examples.digits.networks import IMAGE_EDGE, MLP
from examples.digits.training import Schedule, augment, train
from examples.digits.weights import Weights, initial_weights

SCHEDULE = Schedule(epochs=4, learning_rate=1e-2)


def trained(weights: Weights) -> tuple[Weights, list[float]]:
    losses: list[float] = []
    return train(MLP, weights, load_split().train, SCHEDULE, lambda _, __, loss: losses.append(loss)), losses


def test_training_learns_and_is_repeatable() -> None:
    initial = initial_weights(MLP, np.random.default_rng(0))
    kept = {name: value.copy() for name, value in initial.items()}
    weights, losses = trained(initial)
    again, _ = trained(initial)
    assert len(losses) == SCHEDULE.epochs
    assert losses[-1] < 0.7 * losses[0]
    assert weights.keys() == initial.keys()
    for name, value in weights.items():
        np.testing.assert_array_equal(value, again[name])
        np.testing.assert_array_equal(initial[name], kept[name])


def test_augmented_images_are_images_and_all_different() -> None:
    import jax

    images = np.repeat(load_split().train.images[:1], 16, axis=0)
    augmented = np.asarray(augment(jax.random.key(0), images))
    assert augmented.shape == (16, 1, IMAGE_EDGE, IMAGE_EDGE)
    assert augmented.min() >= 0
    assert augmented.max() <= 1
    assert len({image.tobytes() for image in augmented}) == 16
    assert abs(augmented.sum() / images.sum() - 1) < 0.2
