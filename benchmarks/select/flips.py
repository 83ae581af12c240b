"""How many ratings it takes until a flipped taste changes what nodes run.

A fleet settles with users of one taste. Then the taste of all users flips. Counted are the ratings of a node after the
flip until it runs a variant, not as a trial, that its users like better than the one it ran, for every node whose
choice the flip has made worse by `LEAST_LOSS` at least. The figure is for accuracy lovers who become speed lovers; the
other way round is slower, since nobody rates the accurate variants that no node serves. The third count is for
deployments of a single node, which has nobody to learn from but its own users.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from benchmarks.select.devices import Devices
from benchmarks.select.rated_fleet import RatedFleet
from benchmarks.select.users import Taste

SETTLING: Final = 40
"""Ratings of each node before the flip."""
MOST: Final = 60
"""Ratings of each node after it; a node that has not changed by then counts with that many."""
LEAST_LOSS: Final = 0.1
LONE_DEVICES: Final = ("1080ti_1", "samsung_a50", "titan_rtx_32")
_LONE_PAUSE_S: Final = 310.0


@dataclass(frozen=True, slots=True)
class Flips:
    """Ratings of a node until it changed.

    Attributes:
        to_speed: In fleets whose accuracy lovers become speed lovers.
        to_accuracy: In fleets whose speed lovers become accuracy lovers.
        alone: In deployments of a single node, from accuracy to speed.
    """

    to_speed: list[int]
    to_accuracy: list[int]
    alone: list[int]


def measure_flips(devices: Devices, seed: int) -> Flips:
    """Return the ratings on one seed."""
    alone: list[int] = []
    for name in LONE_DEVICES:
        index = devices.names.index(name)
        lone = replace(devices, names=(name,), latency_s=devices.latency_s[index : index + 1])
        alone += _ratings_until_changed(lone, Taste.PATIENT, seed)
    return Flips(
        to_speed=_ratings_until_changed(devices, Taste.PATIENT, seed),
        to_accuracy=_ratings_until_changed(devices, Taste.HURRIED, seed),
        alone=alone,
    )


def _ratings_until_changed(devices: Devices, taste: Taste, seed: int) -> list[int]:
    rated = RatedFleet(devices, taste, seed)
    for _ in range(SETTLING):
        _round(rated)
    rated.change_taste(taste.other)
    before, losses = rated.fleet.chosen(), rated.losses()
    true = rated.users.mean_qoe
    waiting = {node for node in range(rated.nodes) if losses[node] >= LEAST_LOSS}
    counts = dict.fromkeys(waiting, MOST)
    for count in range(1, MOST + 1):
        if not waiting:
            break
        _round(rated)
        for node, now in enumerate(rated.fleet.chosen()):
            if (
                node in waiting
                and true[node, now] > true[node, before[node]]
                and not rated.fleet.is_trying(node)
            ):
                counts[node] = count
                waiting.discard(node)
    return [counts[node] for node in sorted(counts)]


def _round(rated: RatedFleet) -> None:
    """Let a user of every node speak, and the operator decide once the minimum dwell may be over."""
    for node in range(rated.nodes):
        rated.rate(node)
    rated.now_s += _LONE_PAUSE_S
    rated.run_pass()


def spread(counts: list[int]) -> dict[str, float]:
    """Return median, 90th percentile and largest count, and the number of nodes that had not changed."""
    if not counts:
        return {"nodes": 0.0}
    values = np.array(counts)
    return {
        "nodes": float(len(values)),
        "median": float(np.median(values)),
        "p90": float(np.percentile(values, 90)),
        "max": float(values.max()),
        "not_changed": float((values >= MOST).sum()),
    }
