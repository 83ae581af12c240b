"""Cumulative regret with ratings, against other ways to choose.

One step is one rating: a device is drawn, its variant is rated by one of its users. The regret of a step is the true
mean QoE of the device's best variant minus that of the one it runs, trials of variants included.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.select.devices import Devices, FloatArray
from benchmarks.select.fleet import PREDICTION_SIGMA
from benchmarks.select.rated_fleet import RatedFleet
from benchmarks.select.rivals import EpsilonGreedy, Fixed, LinUcb, Rival, best_single, nearest_device
from benchmarks.select.users import Taste, draw_users

T: Final = 1000
"""Ratings until the first reading of the regret; the second is at 2 T. With 27 devices 37 ratings each."""
RATINGS_PER_PASS: Final = 20
OWN: Final = "fleetfit"


@dataclass(frozen=True, slots=True)
class Regret:
    """What came of one seed.

    Attributes:
        curves: Cumulative regret by step, by way to choose.
        last_qoe: True mean QoE of each device's choice at the end, for those that end, and the oracle's.
    """

    curves: dict[str, FloatArray]
    last_qoe: dict[str, FloatArray]

    def growth(self, name: str, steps: int = T) -> float:
        """Return regret(2 T) / regret(T)."""
        curve = self.curves[name]
        return float(curve[2 * steps - 1] / curve[steps - 1])


def taste_of(seed: int) -> Taste:
    """Return the taste of a seed's users: both come up equally often."""
    return Taste.PATIENT if seed % 2 == 0 else Taste.HURRIED


def measure_regret(devices: Devices, seed: int, steps: int = T) -> Regret:
    """Return the regret of all ways to choose on one seed."""
    rated = RatedFleet(devices, taste_of(seed), seed)
    prior_choice = rated.fleet.chosen()
    curves = {OWN: _own_regret(rated, 2 * steps)}
    for name, rival in _rivals(devices, seed, prior_choice).items():
        curves[name] = _rival_regret(devices, seed, rival, 2 * steps)
    true = rated.users.mean_qoe
    every = np.arange(len(true))
    last_qoe = {
        "oracle": true.max(axis=1),
        OWN: true[every, rated.fleet.chosen()],
        "prior_only": true[every, prior_choice],
        "best_single": true[:, int(true.mean(axis=0).argmax())],
    }
    return Regret(curves, last_qoe)


def _own_regret(rated: RatedFleet, steps: int) -> FloatArray:
    regret = np.empty(steps)
    losses = rated.losses()
    for step in range(steps):
        node = int(rated.rng.integers(rated.nodes))
        regret[step] = losses[node]
        rated.rate(node)
        if (step + 1) % RATINGS_PER_PASS == 0:
            rated.run_pass()
            losses = rated.losses()
    return np.cumsum(regret)


def _rivals(devices: Devices, seed: int, prior_choice: list[int]) -> dict[str, Callable[[FloatArray], Rival]]:
    rng = np.random.default_rng([seed, 1])
    expected_s = devices.latency_s * np.exp(rng.normal(0.0, PREDICTION_SIGMA, devices.shape))
    return {
        "linucb": lambda _: LinUcb(devices, expected_s),
        "epsilon_greedy": lambda _: EpsilonGreedy(devices, expected_s, np.random.default_rng([seed, 2])),
        "nearest_device": lambda true: nearest_device(devices, true),
        "best_single": best_single,
        "prior_only": lambda _: Fixed(prior_choice),
    }


def _rival_regret(devices: Devices, seed: int, make: Callable[[FloatArray], Rival], steps: int) -> FloatArray:
    users_rng, _, rng = (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(3))
    users = draw_users(devices, taste_of(seed), users_rng)
    true = users.mean_qoe
    rival = make(true)
    regret = np.empty(steps)
    for step in range(steps):
        device = int(rng.integers(len(true)))
        variant = rival.choose(device)
        regret[step] = true[device].max() - true[device, variant]
        user = int(rng.integers(users.bias.shape[1]))
        rival.hear(device, variant, users.rating(device, user, variant, rng))
    return np.cumsum(regret)
