"""Trained numbers of a network by name, how they begin, and structured pruning of them. Knows numpy only."""

from dataclasses import replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from examples.digits.networks import Layer, Network, Residual, weight_shapes

Weights = dict[str, NDArray[np.float32]]
"""`<name>` is a kernel [outputs, inputs, height, width] or matrix [inputs, outputs]; `<name>.bias` its bias."""


def initial_weights(network: Network, generator: np.random.Generator) -> Weights:
    """Return He-normal weights; the second convolution of a residual block begins small.

    Without normalisation layers the sum of many branches would otherwise grow with the depth.
    """
    weights: Weights = {}
    for name, shape in weight_shapes(network):
        is_matrix = len(shape) == 2
        fan_in = shape[0] if is_matrix else prod(shape[1:])
        gain = 0.2 if name.endswith(".second") else 1.0
        deviation = gain * np.sqrt(2.0 / fan_in)
        weights[name] = (deviation * generator.standard_normal(shape)).astype(np.float32)
        weights[f"{name}.bias"] = np.zeros(shape[1] if is_matrix else shape[0], np.float32)
    return weights


def prune_channels(network: Network, weights: Weights, kept_share: float) -> tuple[Network, Weights]:
    """Return a network whose residual blocks keep only their most important inner channels, and its weights.

    A channel's importance is the product of the norms of the kernels that write and that read it: both have to
    be large for the channel to matter. The result is smaller dense arithmetic, not zeros in the old one.
    """
    if not 0 < kept_share <= 1:
        raise ValueError(f"kept_share must be above 0 and at most 1, not {kept_share}")
    pruned = dict(weights)
    layers: list[Layer] = []
    for layer in network:
        if not isinstance(layer, Residual):
            layers.append(layer)
            continue
        first, second = f"{layer.name}.first", f"{layer.name}.second"
        written = np.linalg.norm(weights[first].reshape(layer.inner, -1), axis=1)
        read = np.linalg.norm(weights[second].transpose(1, 0, 2, 3).reshape(layer.inner, -1), axis=1)
        count = max(1, round(kept_share * layer.inner))
        kept = np.sort(np.argsort(-(written * read), kind="stable")[:count])
        pruned[first] = weights[first][kept]
        pruned[f"{first}.bias"] = weights[f"{first}.bias"][kept]
        pruned[second] = weights[second][:, kept]
        layers.append(replace(layer, inner=count))
    return tuple(layers), pruned
