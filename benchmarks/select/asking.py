"""Few questions: the true mean QoE when at most 5 % of replies ask for a rating, against a rating of every reply.

In both runs nodes serve the same number of requests, and the mean counts from the first to the last. Whom to ask is the
project's rule: the share of a node is larger the less sure its choice is.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.select.devices import Devices
from benchmarks.select.rated_fleet import RatedFleet
from benchmarks.select.regret import taste_of

ASKED: Final = 0.05
PASSES: Final = 50
REQUESTS: Final = 50
"""Requests of each node between passes."""
_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Asking:
    """What came of asking.

    Attributes:
        qoe_asked: True mean QoE with 5 % asked.
        qoe_all: The same with all.
        qoe_none: The same without ratings.
        qoe_oracle: That of the best variants.
        share: Share of replies that were in fact rated with 5 % allowed.
    """

    qoe_asked: float
    qoe_all: float
    qoe_none: float
    qoe_oracle: float
    share: float

    @property
    def ratio(self) -> float:
        """QoE with few questions over QoE with all."""
        return self.qoe_asked / self.qoe_all


def measure_asking(devices: Devices, seed: int, passes: int = PASSES) -> Asking:
    """Return what comes of asking on one seed."""
    asked, share, oracle = _run(devices, seed, ASKED, passes)
    everybody, _, _ = _run(devices, seed, 1.0, passes)
    nobody, _, _ = _run(devices, seed, None, 1)
    return Asking(asked, everybody, nobody, oracle, share)


def _run(devices: Devices, seed: int, ask_share: float | None, passes: int) -> tuple[float, float, float]:
    """Return the mean QoE, the share of replies that were rated, and the oracle's QoE."""
    rated = RatedFleet(devices, taste_of(seed), seed, ask_share)
    asked = np.random.default_rng([seed, 3])
    qoe = 0.0
    for _ in range(passes):
        qoe += rated.mean_qoe()
        shares = rated.fleet.ask_shares() if ask_share != 1.0 else np.ones(rated.nodes)
        for node, count in enumerate(asked.binomial(REQUESTS, shares)):
            for _ in range(count):
                rated.rate(node, seconds=0.0)
        rated.now_s += _SECONDS
        if ask_share is not None:
            rated.run_pass()
    best = rated.users.mean_qoe.max(axis=1)
    return qoe / passes, rated.ratings / (passes * REQUESTS * rated.nodes), float(best.mean())
