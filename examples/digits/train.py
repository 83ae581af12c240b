"""`python -m examples.digits.train`: train every network, export every variant, write suite.yaml.

Needs the extra `train`; some minutes on one core. Seeds are fixed, yet another machine or version of JAX adds up in
another order, so the files are alike, not the same: digests and the last digit of an accuracy may differ.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import numpy as np
import onnx
from fleetfit_api.suite import Precision

from examples.digits.catalogue import DIRECTORY, RECIPES, Recipe
from examples.digits.export import float16_model, float32_model, write_int8
from examples.digits.heldout import Digits, load_split
from examples.digits.networks import (
    CNN_SMALL,
    DEPTHWISE,
    MLP,
    RESIDUAL_COMPACT,
    RESIDUAL_WIDE,
    Network,
    halved,
)
from examples.digits.suite import write_suite
from examples.digits.training import Progress, Schedule, train
from examples.digits.weights import Weights, initial_weights, prune_channels

_KEPT_SHARE = 0.5
_SINGLE_STAGE: dict[str, tuple[Network, Schedule]] = {
    "residual-compact": (RESIDUAL_COMPACT, Schedule(epochs=30, learning_rate=3e-3)),
    "depthwise": (DEPTHWISE, Schedule(epochs=60, learning_rate=1e-2)),
    "cnn-small": (CNN_SMALL, Schedule(epochs=40, learning_rate=5e-3)),
    "mlp": (MLP, Schedule(epochs=60, learning_rate=5e-3)),
}

Trained = tuple[Network, Weights]


def main() -> None:
    """Train, export and describe all variants, or only those of some networks."""
    parser = argparse.ArgumentParser(prog="python -m examples.digits.train", description=__doc__)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[*_SINGLE_STAGE, "residual-wide"],
        default=[*_SINGLE_STAGE, "residual-wide"],
        help="networks to train; residual-pruned comes with residual-wide",
    )
    chosen: list[str] = parser.parse_args().only
    begin_s = monotonic()
    split = load_split()
    trained = _train(chosen, split.train, begin_s)
    DIRECTORY.mkdir(exist_ok=True)
    for recipe in RECIPES:
        if recipe.network in trained:
            _export(recipe, *trained[recipe.network], split.train)
    for line in write_suite(split.held_out):
        print(line)
    print(f"done in {monotonic() - begin_s:.0f} s")


def _train(chosen: list[str], digits: Digits, begin_s: float) -> dict[str, Trained]:
    trained = {
        name: _from_scratch(name, *plan, digits, begin_s)
        for name, plan in _SINGLE_STAGE.items()
        if name in chosen
    }
    if "residual-wide" in chosen:
        trained |= _train_wide(digits, begin_s)
    return trained


def _train_wide(digits: Digits, begin_s: float) -> dict[str, Trained]:
    # Convolutions fit every resolution: most is learnt on small images, at a quarter of the cost.
    small = halved(RESIDUAL_WIDE)
    _, weights = _from_scratch("residual-wide, 16 pixels", small, Schedule(16, 3e-3), digits, begin_s)
    weights = train(
        RESIDUAL_WIDE, weights, digits, Schedule(6, 2e-3, seed=1), _report("residual-wide", begin_s)
    )
    pruned, kept = prune_channels(RESIDUAL_WIDE, weights, _KEPT_SHARE)
    kept = train(pruned, kept, digits, Schedule(3, 1.5e-3, seed=2), _report("residual-pruned", begin_s))
    return {"residual-wide": (RESIDUAL_WIDE, weights), "residual-pruned": (pruned, kept)}


def _from_scratch(name: str, network: Network, schedule: Schedule, digits: Digits, begin_s: float) -> Trained:
    weights = initial_weights(network, np.random.default_rng(schedule.seed))
    return network, train(network, weights, digits, schedule, _report(name, begin_s))


def _report(name: str, begin_s: float) -> Progress:
    def report(epoch: int, epochs: int, loss: float) -> None:
        print(f"{monotonic() - begin_s:6.1f} s  {name}: epoch {epoch}/{epochs}, loss {loss:.4f}", flush=True)

    return report


def _export(recipe: Recipe, network: Network, weights: Weights, digits: Digits) -> None:
    match recipe.precision:
        case Precision.FP16:
            onnx.save(float16_model(network, weights), recipe.path)
        case Precision.INT8:
            with TemporaryDirectory() as directory:
                source = Path(directory) / "float32.onnx"
                onnx.save(float32_model(network, weights), source)
                write_int8(source, recipe.path, digits.images)
        case _:
            onnx.save(float32_model(network, weights), recipe.path)


if __name__ == "__main__":
    main()
