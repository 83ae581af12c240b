"""The reference networks as the predictor sees them, and a node's times of them as arrays."""

import json
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Final, Self

import numpy as np
from fleetfit_api.node_telemetry import ReferenceRun, ReferenceTime
from fleetfit_api.suite import GraphFeatures

from fleetfit_operator.predict.graph_table import GraphTable
from fleetfit_operator.predict.kernel_groups import FloatArray, IntArray

REFERENCE_SET_FILE: Final = "reference_set.json"
_FEWEST_NETWORKS: Final = 5
_SMALLEST_NOISE: Final = 0.02
_LARGEST_NOISE: Final = 0.5
# Spread of a run (of the middle half of rounds), and (network, median, mean, 95th percentile) per network.
Fingerprint = tuple[float, tuple[tuple[str, float, float, float], ...]]


@dataclass(frozen=True, slots=True)
class ReferenceTimes:
    """A reference run as arrays, one entry per network.

    Attributes:
        rows: Rows of the networks in the set's table.
        p50_s: Medians in seconds.
        mean_s: Means in seconds.
        p95_s: 95th percentiles in seconds.
        noise: Relative standard deviation of a time.
    """

    rows: IntArray
    p50_s: FloatArray
    mean_s: FloatArray
    p95_s: FloatArray
    noise: float


class ReferenceSet:
    """The reference networks of one version.

    Args:
        version: Version of the set.
        features: Features of the networks by name.
    """

    def __init__(self, version: str, features: dict[str, GraphFeatures]) -> None:
        self.version = version
        self.names = tuple(features)
        self.table = GraphTable.of(list(features.values()))

    @classmethod
    def load(cls, directory: Traversable) -> Self:
        """Load the features that were written together with the networks."""
        content = json.loads((directory / REFERENCE_SET_FILE).read_text())
        networks = content["networks"]
        return cls(
            content["setVersion"],
            {each["name"]: GraphFeatures.model_validate(each["features"]) for each in networks},
        )

    def fingerprint(self, run: ReferenceRun) -> Fingerprint | None:
        """Return what of the run counts, as one hashable value; None when it cannot be used."""
        known = tuple(
            (time.name, time.latency_p50_seconds, _mean_s(time), time.latency_p95_seconds)
            for time in run.times
            if time.name in self.names
        )
        usable = run.set_version == self.version and len(known) >= _FEWEST_NETWORKS
        return (run.spread, known) if usable else None

    def times(self, fingerprint: Fingerprint) -> ReferenceTimes:
        """Return a fingerprint as arrays."""
        spread, known = fingerprint
        figures = np.array([times for _, *times in known])
        return ReferenceTimes(
            rows=np.array([self.names.index(name) for name, *_ in known], dtype=np.int64),
            p50_s=figures[:, 0],
            mean_s=figures[:, 1],
            p95_s=figures[:, 2],
            noise=min(_LARGEST_NOISE, max(_SMALLEST_NOISE, spread)),
        )


def _mean_s(time: ReferenceTime) -> float:
    """Return the mean of a reference time; the median where the runtime did not report a mean."""
    return time.latency_mean_seconds or time.latency_p50_seconds
