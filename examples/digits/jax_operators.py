"""The operators of a network in JAX, for training. Needs the extra `train`."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import lax

_LAYOUT = ("NCHW", "OIHW", "NCHW")


class JaxOperators:
    """Computes with the given weights; batch first, then channels."""

    def __init__(self, weights: Mapping[str, jax.Array]) -> None:
        self._weights = weights

    def resize(self, data: jax.Array, factor: int) -> jax.Array:
        """Enlarge bilinearly with half-pixel centres."""
        batch, channels, height, width = data.shape
        shape = (batch, channels, height * factor, width * factor)
        enlarged: jax.Array = jax.image.resize(data, shape, "linear")
        return enlarged

    def conv(self, data: jax.Array, name: str, stride: int, groups: int) -> jax.Array:
        """Convolve, padded by half the kernel on every side."""
        kernel = self._weights[name]
        padding = [(kernel.shape[-1] // 2,) * 2] * 2
        product = lax.conv_general_dilated(
            data, kernel, (stride, stride), padding, dimension_numbers=_LAYOUT, feature_group_count=groups
        )
        return product + self._weights[f"{name}.bias"][:, None, None]

    def relu(self, data: jax.Array) -> jax.Array:
        """Cut off below zero."""
        return jax.nn.relu(data)

    def add(self, left: jax.Array, right: jax.Array) -> jax.Array:
        """Add elementwise."""
        return left + right

    def global_pool(self, data: jax.Array) -> jax.Array:
        """Average over all pixels."""
        return jnp.mean(data, axis=(2, 3))

    def average_pool(self, data: jax.Array, size: int) -> jax.Array:
        """Average over windows."""
        batch, channels, height, width = data.shape
        cells = data.reshape(batch, channels, height // size, size, width // size, size)
        return jnp.mean(cells, axis=(3, 5))

    def flatten(self, data: jax.Array) -> jax.Array:
        """Make one row per image."""
        return data.reshape(data.shape[0], -1)

    def dense(self, data: jax.Array, name: str) -> jax.Array:
        """Multiply by the matrix and add the bias."""
        return data @ self._weights[name] + self._weights[f"{name}.bias"]
