"""Predictions that are asked for again and again: remembered from one pass to the next. Pure but for that memory."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from fleetfit_api import ModelSuite
from fleetfit_api.names import NodeName
from fleetfit_api.node_inference import ReferenceRun
from fleetfit_api.suite import Variant

from fleetfit_operator.fleet.choice import LatencyPrediction
from fleetfit_operator.fleet.measurements import known_measurements
from fleetfit_operator.fleet.snapshot import DeploymentKey, FleetNode
from fleetfit_operator.predict.calibration import calibrate


class Predictor(Protocol):
    """What is needed of `predict`."""

    def predict(
        self, run: ReferenceRun | None, variants: Sequence[Variant]
    ) -> Mapping[str, LatencyPrediction]:
        """Return the expected latency of every variant, by name, on the node that reported the run."""
        ...


Predictions = Mapping[str, LatencyPrediction]
_Known = tuple[ModelSuite, ReferenceRun | None, Predictions]


class FleetPredictions:
    """Predictions for a pass; what the last pass knew is not computed again.

    Args:
        predictor: Computes predictions.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._known: dict[tuple[str, str, NodeName], _Known] = {}
        self._used: dict[tuple[str, str, NodeName], _Known] = {}

    def begin_pass(self) -> None:
        """Forget what the last pass did not use: suites and nodes that are gone."""
        self._known, self._used = self._used, {}

    def of(self, node: FleetNode, suite: ModelSuite, key: DeploymentKey) -> Predictions:
        """Return the expected latencies of a suite's variants on a node, with what it measured taken into account."""
        run = node.reference_run()
        place = (suite.metadata.namespace, suite.metadata.name, node.name)
        known = self._used.get(place) or self._known.get(place)
        if known is None or known[0].spec != suite.spec or known[1] != run:
            known = (suite, run, self._predictor.predict(run, suite.spec.variants))
        self._used[place] = known
        return calibrate(known[2], known_measurements(node, key, suite.spec.variants))
