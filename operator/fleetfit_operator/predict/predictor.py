"""Predicts the latency of any variant on any node: a physical baseline, corrected by what was learnt.

1. The node's reference run gives it prices for the physical cost terms of a graph, so a mean (`node_costs`).
2. LightGBM corrects the mean by what it learnt from measured graphs (`correction`).
3. The node's own curve from means to 95th percentiles, also from its reference run, gives the figure.

Loaded from the files in `model/`, which `python -m training.train` writes. Deterministic, no state but a cache.
"""

import json
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Self

import lightgbm
import numpy as np
from fleetfit_api.node_inference import Evidence, ReferenceRun, ReferenceTime
from fleetfit_api.suite import GraphFeatures, Precision, Variant
from pydantic import BaseModel, ConfigDict

from fleetfit_operator.fleet.choice import LatencyPrediction
from fleetfit_operator.predict.correction import Correction, correction_rows
from fleetfit_operator.predict.cost_terms import AssumedGraph, FloatArray, cost_matrix, cost_terms
from fleetfit_operator.predict.node_costs import (
    NodeCosts,
    PopulationCosts,
    ReferenceTimes,
    fit_node,
    usual_node,
)

Graph = tuple[GraphFeatures, Precision]
_FEWEST_NETWORKS = 5
_SMALLEST_S, _LARGEST_S = 1e-7, 1e5
# A node as the cache's key: threads, and (network, p50, mean, p95) per network.
_Fingerprint = tuple[int, tuple[tuple[str, float, float, float], ...]]


class ModelMetadata(BaseModel):
    """What the shipped model is and rests on.

    Attributes:
        data_digest: SHA-256 digest of the data that it was trained on.
        trained_on: Day of the training.
        set_version: Version of the reference set that the data was measured with.
        feature_names: Features of the correction, in order.
        population: Prices on the usual node.
        assumed_graph: What is assumed of a variant without features.
        correction_limit: Largest absolute logarithm of a correction.
        scores: Errors on nodes and families that were held out.
    """

    model_config = ConfigDict(frozen=True)

    data_digest: str
    trained_on: date
    set_version: str
    feature_names: tuple[str, ...]
    population: PopulationCosts
    assumed_graph: AssumedGraph
    correction_limit: float
    scores: dict[str, dict[str, float]]


class ReferenceSet:
    """The cost terms of the reference networks of one version.

    Args:
        version: Version of the set.
        terms: Cost terms by network.
    """

    def __init__(self, version: str, terms: dict[str, FloatArray]) -> None:
        self.version = version
        self.terms = terms

    @classmethod
    def load(cls, directory: Traversable | None = None) -> Self:
        """Load the features that were written together with the networks."""
        content = json.loads((_model_directory(directory) / "reference_set.json").read_text())
        terms = {
            network["name"]: cost_terms(
                GraphFeatures.model_validate(network["features"]), Precision(network["precision"])
            )
            for network in content["networks"]
        }
        return cls(content["setVersion"], terms)

    def times(self, run: ReferenceRun) -> ReferenceTimes | None:
        """Return the run as arrays; None when it is of another set or too few networks ran."""
        fingerprint = self.fingerprint(run)
        return self.fingerprint_times(fingerprint) if fingerprint else None

    def fingerprint(self, run: ReferenceRun) -> _Fingerprint | None:
        """Return what of the run counts, as one hashable value; None when it cannot be used."""
        known = tuple(
            (time.name, time.latency_p50_seconds, _mean_s(time), time.latency_p95_seconds)
            for time in run.times
            if time.name in self.terms
        )
        usable = run.set_version == self.version and len(known) >= _FEWEST_NETWORKS
        return (run.intra_op_threads, known) if usable else None

    def fingerprint_times(self, fingerprint: _Fingerprint) -> ReferenceTimes:
        """Return a fingerprint as arrays."""
        threads, known = fingerprint
        figures = np.array([times for _, *times in known])
        terms = np.array([self.terms[name] for name, *_ in known])
        return ReferenceTimes(terms, figures[:, 0], figures[:, 1], figures[:, 2], threads)


class LatencyPredictor:
    """Predicts p95 latencies.

    Args:
        metadata: What the model rests on.
        reference_set: The networks of the reference runs.
        correction: The learnt part; None leaves the physical baseline as it is.
    """

    def __init__(
        self, metadata: ModelMetadata, reference_set: ReferenceSet, correction: Correction | None
    ) -> None:
        self.metadata = metadata
        self._reference_set = reference_set
        self._correction = correction
        self._usual = usual_node(metadata.population)
        self._fit = lru_cache(maxsize=8192)(self._fit_fingerprint)

    @classmethod
    def load(cls, directory: Traversable | None = None) -> Self:
        """Load the shipped model, or one from another directory."""
        model = _model_directory(directory)
        metadata = ModelMetadata.model_validate_json((model / "metadata.json").read_text())
        booster = lightgbm.Booster(model_str=(model / "latency.txt").read_text())
        return cls(metadata, ReferenceSet.load(model), Correction(booster, metadata.correction_limit))

    def predict(self, run: ReferenceRun | None, variants: Sequence[Variant]) -> dict[str, LatencyPrediction]:
        """Return the expected p95 latency of every variant, by name, on the node that reported the run.

        Without a usable run the usual node is assumed, and the evidence says so.
        """
        if not variants:
            return {}
        node = self.node_costs(run)
        evidence = Evidence.REFERENCE_RUN if node is not self._usual else Evidence.FEATURES_ONLY
        graphs = [self._graph(variant) for variant in variants]
        p95_s = self.latency_p95_s(node, graphs)
        return {
            variant.name: LatencyPrediction(float(latency_s), evidence)
            for variant, latency_s in zip(variants, p95_s, strict=True)
        }

    def node_costs(self, run: ReferenceRun | None) -> NodeCosts:
        """Return what the run says of the node; the usual node's costs when it says nothing usable."""
        fingerprint = self._reference_set.fingerprint(run) if run else None
        return self._fit(fingerprint) if fingerprint else self._usual

    def latency_p95_s(self, node: NodeCosts, graphs: Sequence[Graph]) -> FloatArray:
        """Return the expected p95 latencies of graphs on a node."""
        terms = cost_matrix(graphs)
        mean_s = np.clip(node.mean_s(terms), _SMALLEST_S, _LARGEST_S)
        if self._correction is not None:
            rows = correction_rows(graphs, terms, node, mean_s)
            mean_s = mean_s * np.exp(self._correction.log_ratio(rows))
        return np.clip(node.tail.p95_s(mean_s), _SMALLEST_S, _LARGEST_S)

    def _fit_fingerprint(self, fingerprint: _Fingerprint) -> NodeCosts:
        return fit_node(self._reference_set.fingerprint_times(fingerprint), self.metadata.population)

    def _graph(self, variant: Variant) -> Graph:
        features = variant.features or self.metadata.assumed_graph.features(
            variant.size_bytes, variant.precision
        )
        return features, variant.precision


def _mean_s(time: ReferenceTime) -> float:
    """Return the mean of a reference time; the median where the runtime did not report a mean."""
    return time.latency_mean_seconds or time.latency_p50_seconds


def _model_directory(directory: Traversable | None) -> Traversable:
    return directory or files("fleetfit_operator.predict") / "model"
