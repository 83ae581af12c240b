"""Predicts what a variant costs on a node that may never have run it.

1. Known devices say what a graph takes on them (`kernel_costs`), physics what it has to do (`physical_terms`).
2. The node's reference run tells how it is mixed of them (`device_model`), so a mean and a spread.
3. The node's own curves from means to percentiles, also from its reference run, give median and 95th percentile.

Loaded from the files in `model/`, which `fleetfit train` writes. Deterministic, no state but a cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, Self

import numpy as np
from fleetfit_api.node_telemetry import ReferenceRun
from fleetfit_api.prediction import Contribution, Evidence
from fleetfit_api.suite import Variant

from fleetfit_operator.fleet.choice import LatencyPrediction
from fleetfit_operator.predict.device_model import DeviceModel
from fleetfit_operator.predict.graph_table import GraphTable
from fleetfit_operator.predict.kernel_costs import FEATURE_NAMES
from fleetfit_operator.predict.kernel_groups import FloatArray
from fleetfit_operator.predict.known_devices import KnownDevices
from fleetfit_operator.predict.mixture import Columns, Ridge
from fleetfit_operator.predict.model_metadata import ModelMetadata
from fleetfit_operator.predict.reference_set import Fingerprint, ReferenceSet
from fleetfit_operator.predict.tail_curve import TailCurve

RUN_RIDGES: Final = tuple(
    Ridge(strength, factor) for strength in (0.0003, 0.003, 0.03) for factor in (0.3, 10.0, 100.0)
)
"""Strengths for devices that run only what the output needs, as ONNX Runtime does."""
_SMALLEST_S, _LARGEST_S = 1e-7, 1e5
_USUAL_LOG_SIGMA: Final = 0.8
"""Standard deviation of the logarithm of latency where nothing is known of a node."""
_ASSUMED_LOG_SIGMA: Final = 0.4
"""Further standard deviation where the graph was assumed."""
_NAMED_CONTRIBUTIONS: Final = 5
_SMALLEST_CONTRIBUTION: Final = 0.01


@dataclass(frozen=True, slots=True)
class NodeModel:
    """What the reference run tells of a node.

    Attributes:
        device: How it is mixed.
        median: From means to medians.
        p95: From means to 95th percentiles.
    """

    device: DeviceModel
    median: TailCurve
    p95: TailCurve


@dataclass(frozen=True, slots=True)
class _Graphs:
    """The variants of a suite as the predictor sees them."""

    caveats: tuple[str, ...]
    columns: Columns
    contributions: FloatArray
    memory_bytes: FloatArray


class LatencyPredictor:
    """Predicts latencies and memory.

    Args:
        metadata: What the model rests on.
        known: The known devices.
        reference_set: The networks of the reference runs.
    """

    def __init__(self, metadata: ModelMetadata, known: KnownDevices, reference_set: ReferenceSet) -> None:
        self.metadata = metadata
        self.known = known
        self.reference_set = reference_set
        self._reference_columns = known.columns(reference_set.table)
        self._fit = lru_cache(maxsize=8192)(self._fit_fingerprint)
        self._graphs = lru_cache(maxsize=64)(self._describe)

    @classmethod
    def load(cls, directory: Traversable | None = None) -> Self:
        """Load the shipped model, or one from another directory."""
        model = directory or files("fleetfit_operator.predict") / "model"
        metadata = ModelMetadata.model_validate_json((model / "metadata.json").read_text())
        return cls(metadata, KnownDevices.load(model), ReferenceSet.load(model))

    def predict(self, run: ReferenceRun | None, variants: Sequence[Variant]) -> dict[str, LatencyPrediction]:
        """Return what is expected of every variant, by name, on the node that reported the run.

        Without a usable run the usual device is assumed, and the evidence says so.
        """
        if not variants:
            return {}
        graphs = self._graphs(_AsKey(tuple(variants)))
        node = self.node_model(run)
        expected, log_sigma = self._expected(node, graphs)
        mean_s = np.clip(np.exp(expected), _SMALLEST_S, _LARGEST_S)
        median = node.median if node else TailCurve.of_ratio(1.0)
        p95 = node.p95 if node else TailCurve.of_ratio(self.metadata.tail_ratio)
        p95_s = np.clip(p95.percentile_s(mean_s), _SMALLEST_S, _LARGEST_S)
        p50_s = np.minimum(np.clip(median.percentile_s(mean_s), _SMALLEST_S, _LARGEST_S), p95_s)
        evidence = Evidence.REFERENCE_RUN if node else Evidence.FEATURES_ONLY
        return {
            variant.name: LatencyPrediction(
                latency_p95_s=float(p95_s[row]),
                evidence=evidence,
                latency_p50_s=float(p50_s[row]),
                log_sigma=float(log_sigma[row]),
                memory_bytes=int(graphs.memory_bytes[row]),
                contributions=_contributions(graphs.contributions[row]),
                caveat=graphs.caveats[row],
            )
            for row, variant in enumerate(variants)
        }

    def node_model(self, run: ReferenceRun | None) -> NodeModel | None:
        """Return what the run says of the node; None when it says nothing usable."""
        fingerprint = self.reference_set.fingerprint(run) if run else None
        return self._fit(fingerprint) if fingerprint else None

    def usual_log_latency(self, columns: Columns) -> FloatArray:
        """Return the logarithm of seconds on the usual device: the middle of those that ran every kind of graph."""
        return np.asarray(np.log(columns.devices[:, columns.leaders]).mean(axis=1))

    def _expected(self, node: NodeModel | None, graphs: _Graphs) -> tuple[FloatArray, FloatArray]:
        if node is None:
            expected = self.usual_log_latency(graphs.columns)
            log_sigma = np.full(len(expected), _USUAL_LOG_SIGMA)
        else:
            expected, spread = node.device.log_latency_and_spread(graphs.columns)
            log_sigma = self.metadata.calibrated(spread, node.device.readings)
        assumed = np.array([_ASSUMED_LOG_SIGMA if caveat else 0.0 for caveat in graphs.caveats])
        return expected, np.hypot(log_sigma, assumed)

    def _fit_fingerprint(self, fingerprint: Fingerprint) -> NodeModel:
        times = self.reference_set.times(fingerprint)
        columns = self._reference_columns.rows(times.rows)
        noise = np.full(len(times.rows), times.noise**2)
        return NodeModel(
            device=DeviceModel.fit(columns, times.mean_s, RUN_RIDGES, noise),
            median=TailCurve.through(times.mean_s, times.p50_s),
            p95=TailCurve.through(times.mean_s, times.p95_s),
        )

    def _describe(self, key: "_AsKey") -> _Graphs:
        completed = [self.metadata.assumed_graph.completed(variant) for variant in key.variants]
        table = GraphTable.of([features for features, _ in completed])
        leaders = [costs for costs, leads in zip(self.known.costs, self.known.leaders, strict=True) if leads]
        return _Graphs(
            caveats=tuple(caveat for _, caveat in completed),
            columns=self.known.columns(table),
            contributions=np.mean([each.contributions(table) for each in leaders], axis=0),
            memory_bytes=self.metadata.memory.bytes_of(table),
        )


@dataclass(frozen=True, eq=False, slots=True)
class _AsKey:
    """Variants as a key of a cache: the same if all that a prediction rests on is the same."""

    variants: tuple[Variant, ...]

    def __eq__(self, other: object) -> bool:
        """Return whether the other holds equal variants."""
        return isinstance(other, _AsKey) and self.variants == other.variants

    def __hash__(self) -> int:
        """Return a hash of the files; equal variants have equal files."""
        return hash(tuple((variant.name, variant.sha256) for variant in self.variants))


def _contributions(parts: FloatArray) -> tuple[Contribution, ...]:
    """Return the features that changed a prediction the most, largest first."""
    order = np.argsort(-np.abs(parts))[:_NAMED_CONTRIBUTIONS]
    return tuple(
        Contribution(feature=FEATURE_NAMES[index], factor=float(np.exp(parts[index])))
        for index in order
        if abs(parts[index]) >= _SMALLEST_CONTRIBUTION
    )
