"""The training loop: AdamW over augmented images, a fixed number of epochs. Needs the extra `train`.

It sees the training digits only; nothing here measures, so no epoch is picked by the held-out ones.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.scipy.ndimage import map_coordinates

from examples.digits.heldout import Digits
from examples.digits.jax_operators import JaxOperators
from examples.digits.networks import CLASSES, IMAGE_EDGE, Network, forward
from examples.digits.weights import Weights

_WEIGHT_DECAY = 1e-4
_LABEL_SMOOTHING = 0.05
_WARM_UP_SHARE = 0.1
_LARGEST_SHIFT = 0.6
_LARGEST_ROTATION = 0.15
_LARGEST_STRETCH = 0.1
_CENTRE = (IMAGE_EDGE - 1) / 2

Progress = Callable[[int, int, float], None]
"""Called after every epoch with its number, the number of epochs and the mean loss."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train."""

    epochs: int
    learning_rate: float
    batch_size: int = 64
    seed: int = 0


def train(
    network: Network, weights: Weights, digits: Digits, schedule: Schedule, progress: Progress
) -> Weights:
    """Return weights trained on from the given ones."""
    steps_per_epoch = len(digits) // schedule.batch_size
    steps = steps_per_epoch * schedule.epochs
    rate = optax.warmup_cosine_decay_schedule(
        0.0, schedule.learning_rate, max(1, int(_WARM_UP_SHARE * steps)), steps
    )
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=_WEIGHT_DECAY))

    def loss(current: dict[str, jax.Array], images: jax.Array, labels: jax.Array) -> jax.Array:
        logits = forward(network, JaxOperators(current), images)
        targets = optax.smooth_labels(jax.nn.one_hot(labels, CLASSES), _LABEL_SMOOTHING)
        return jnp.mean(optax.softmax_cross_entropy(logits, targets))

    def step(
        current: dict[str, jax.Array], state: optax.OptState, images: jax.Array, labels: jax.Array
    ) -> tuple[dict[str, jax.Array], optax.OptState, jax.Array]:
        value, gradient = jax.value_and_grad(loss)(current, images, labels)
        updates, state = optimizer.update(gradient, state, current)
        return optax.apply_updates(current, updates), state, value

    fast_step = jax.jit(step)
    current = {name: jnp.asarray(value) for name, value in weights.items()}
    state = optimizer.init(current)
    generator = np.random.default_rng(schedule.seed)
    key = jax.random.key(schedule.seed)
    for epoch in range(schedule.epochs):
        key, augment_key = jax.random.split(key)
        images = augment(augment_key, jnp.asarray(digits.images))
        order = generator.permutation(len(digits))[: steps_per_epoch * schedule.batch_size]
        losses = []
        for batch in order.reshape(steps_per_epoch, schedule.batch_size):
            current, state, value = fast_step(
                current, state, images[batch], jnp.asarray(digits.labels[batch])
            )
            losses.append(float(value))
        progress(epoch + 1, schedule.epochs, float(np.mean(losses)))
    return {name: np.asarray(value, np.float32) for name, value in current.items()}


@jax.jit
def augment(key: jax.Array, images: jax.Array) -> jax.Array:
    """Shift, turn and stretch every image a little, as another writer might have written it."""
    count = images.shape[0]
    shift_key, angle_key, stretch_key = jax.random.split(key, 3)
    shifts = jax.random.uniform(shift_key, (count, 2), minval=-_LARGEST_SHIFT, maxval=_LARGEST_SHIFT)
    angles = jax.random.uniform(angle_key, (count,), minval=-_LARGEST_ROTATION, maxval=_LARGEST_ROTATION)
    stretches = 1 + jax.random.uniform(
        stretch_key, (count, 2), minval=-_LARGEST_STRETCH, maxval=_LARGEST_STRETCH
    )
    return jax.vmap(_warp)(images, shifts, angles, stretches)


def _warp(image: jax.Array, shift: jax.Array, angle: jax.Array, stretch: jax.Array) -> jax.Array:
    rows, columns = jnp.meshgrid(jnp.arange(IMAGE_EDGE), jnp.arange(IMAGE_EDGE), indexing="ij")
    down, right = (rows - _CENTRE) * stretch[0], (columns - _CENTRE) * stretch[1]
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    source = [
        cosine * down - sine * right + _CENTRE + shift[0],
        sine * down + cosine * right + _CENTRE + shift[1],
    ]
    warped: jax.Array = map_coordinates(image[0], source, order=1, mode="constant")
    return warped[None]
