"""Predictions for a pass over the fleet, corrected by what nodes timed. Pure but for its memory of the last pass.

Nodes that look the same to the predictor (suite, reference run, providers) are scored once and share the answer; what
each node and its class timed comes in after that, per node (`predict.calibration`). The memory saves work and changes
no answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from math import hypot
from typing import Final, Protocol

from fleetfit_api import ModelSuite
from fleetfit_api.names import NodeName
from fleetfit_api.node_inference import MeasuredVariant
from fleetfit_api.node_telemetry import ReferenceRun
from fleetfit_api.prediction import Evidence
from fleetfit_api.suite import ModelSuiteSpec, Variant

from fleetfit_operator.control.opinions import FleetOpinions
from fleetfit_operator.fleet.alike import AlikeRuns
from fleetfit_operator.fleet.choice import LatencyPrediction
from fleetfit_operator.fleet.measurements import known_measurements, reference_run_digest
from fleetfit_operator.fleet.prediction_errors import VariantError
from fleetfit_operator.fleet.snapshot import DeploymentKey, FleetNode
from fleetfit_operator.predict.calibration import Calibration, NodeTimings
from fleetfit_operator.predict.class_errors import ClassErrors
from fleetfit_operator.predict.energy import with_energy
from fleetfit_operator.predict.error_summary import variant_errors

Predictions = Mapping[str, LatencyPrediction]
# What one node lends another is taken to be off by at least this: boards of one kind differ by cooling and load.
_BORROWED_LOG_SD: Final = 0.1


class Predictor(Protocol):
    """What is needed of `predict`."""

    def predict(self, run: ReferenceRun | None, variants: Sequence[Variant]) -> Predictions:
        """Return the expected latency of every variant, by name, on the node that reported the run."""
        ...


@dataclass(frozen=True, slots=True)
class FleetPrediction:
    """What is expected of the variants of one deployment.

    Attributes:
        by_node: Corrected predictions by name of node, then of variant.
        errors: How far the predictor was from what was timed, by class and variant.
    """

    by_node: Mapping[NodeName, Predictions]
    errors: Sequence[VariantError]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A suite as it is now; another version is another content."""

    place: tuple[str, str]
    suite: ModelSuiteSpec
    version: int


@dataclass(frozen=True, slots=True)
class _Scored:
    """All that is seen of a suite and a node: equal for nodes that cannot be told apart."""

    suite_place: tuple[str, str]
    suite_version: int
    reference_run: str
    borrowed_log_sigma: float | None
    providers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Corrected:
    """The answer for a node with everything that it rests on."""

    predictions: Predictions
    learnt: ClassErrors | None
    measured: tuple[MeasuredVariant, ...]
    reference_run: str
    answer: Predictions

    def rests_on(self, node: NodeTimings, learnt: ClassErrors | None) -> bool:
        return (
            self.predictions is node.predictions
            and self.reference_run == node.reference_run
            and self.measured == node.measured
            and self.learnt == learnt
        )


@dataclass(slots=True)
class _Memory:
    """What one pass knew."""

    asked: dict[tuple[str, str], _Asked] = field(default_factory=dict)
    scored: dict[_Scored, Predictions] = field(default_factory=dict)
    corrected: dict[tuple[DeploymentKey, NodeName], _Corrected] = field(default_factory=dict)
    digests: dict[NodeName, tuple[ReferenceRun, str]] = field(default_factory=dict)


class FleetPredictions:
    """Predictions for a pass; what the last pass knew is not computed again.

    Args:
        predictor: Computes predictions.

    Attributes:
        opinions: What users say, remembered alike.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.opinions = FleetOpinions()
        self._alike_runs = AlikeRuns(())
        self._versions = count()
        self._last = _Memory()
        self._now = _Memory()

    def use(self, predictor: Predictor) -> None:
        """Predict by another predictor from now on; nothing that the old one said is remembered."""
        self._predictor = predictor
        self._last, self._now = _Memory(), _Memory()

    def begin_pass(self, alike_runs: AlikeRuns | None = None) -> None:
        """Forget what the last pass did not use: suites and nodes that are gone.

        Args:
            alike_runs: What nodes without a reference run may borrow; without it they are predicted without.
        """
        self._alike_runs = alike_runs or AlikeRuns(())
        self._last, self._now = self._now, _Memory()
        self.opinions.begin_pass()

    def of(self, node: FleetNode, suite: ModelSuite, key: DeploymentKey) -> Predictions:
        """Return what is expected on a node that is alone in its class."""
        return self.of_nodes([node], suite, key).by_node[node.name]

    def of_nodes(self, nodes: Sequence[FleetNode], suite: ModelSuite, key: DeploymentKey) -> FleetPrediction:
        """Return what is expected of a suite's variants on the nodes of a deployment, corrected by all they timed."""
        asked = self._asked(suite)
        calibration = Calibration([self._timings(node, asked, key) for node in nodes])
        power_watts = {node.name: _power_watts(node) for node in nodes}
        by_node = {
            node.name: with_energy(self._corrected(key, node, calibration), power_watts[node.name])
            for node in calibration.nodes
        }
        return FleetPrediction(by_node, variant_errors(calibration))

    def _timings(self, node: FleetNode, asked: _Asked, key: DeploymentKey) -> NodeTimings:
        run = node.reference_run()
        loan = self._alike_runs.run_for(node) if run is None else None
        # What a node times under its own fingerprint is not older than what it borrowed before.
        own_digest = self._digest(node.name, run)
        digest = self._digest(node.name, loan.run) if loan is not None else own_digest
        log_sigma = loan.log_sigma if loan is not None else None
        place = _Scored(asked.place, asked.version, digest, log_sigma, _providers(node))
        known = self._now.scored.get(place) or self._last.scored.get(place)
        if known is None:
            known = self._predictor.predict(loan.run if loan is not None else run, asked.suite.variants)
            known = known if log_sigma is None else _as_borrowed(known, log_sigma)
        self._now.scored[place] = known
        measured = known_measurements(node, key, asked.suite.variants)
        spread = run.spread if run else 0.0
        return NodeTimings(node.name, node.class_name, known, measured, own_digest, spread)

    def _asked(self, suite: ModelSuite) -> _Asked:
        """Return the suite with a number that changes with its content; compared in full once per call."""
        place = (suite.metadata.namespace, suite.metadata.name)
        known = self._now.asked.get(place) or self._last.asked.get(place)
        is_same = known is not None and (known.suite is suite.spec or known.suite == suite.spec)
        asked = _Asked(place, suite.spec, known.version if known and is_same else next(self._versions))
        self._now.asked[place] = asked
        return asked

    def _digest(self, name: NodeName, run: ReferenceRun | None) -> str:
        if run is None:
            return ""
        known = self._now.digests.get(name) or self._last.digests.get(name)
        if known is None or known[0] is not run:
            known = (run, reference_run_digest(run))
        self._now.digests[name] = known
        return known[1]

    def _corrected(self, key: DeploymentKey, node: NodeTimings, calibration: Calibration) -> Predictions:
        learnt = calibration.class_errors(node.hardware_class)
        place = (key, node.name)
        known = self._last.corrected.get(place)
        if known is None or not known.rests_on(node, learnt):
            answer = calibration.of(node.name)
            known = _Corrected(node.predictions, learnt, node.measured, node.reference_run, answer)
        self._now.corrected[place] = known
        return known.answer


def _as_borrowed(predictions: Predictions, log_sigma: float) -> Predictions:
    """Return predictions by a borrowed run: others of the class have timed it, and this node may be unlike them."""
    further = max(log_sigma, _BORROWED_LOG_SD)
    return {
        name: replace(
            each,
            evidence=Evidence.HARDWARE_CLASS if each.evidence is Evidence.REFERENCE_RUN else each.evidence,
            log_sigma=hypot(each.log_sigma, further) if each.log_sigma > 0 else 0.0,
        )
        for name, each in predictions.items()
    }


def _power_watts(node: FleetNode) -> float | None:
    return node.inference.status.telemetry.power_watts if node.inference else None


def _providers(node: FleetNode) -> tuple[str, ...]:
    return tuple(node.hardware_class.spec.runtime.providers) if node.hardware_class else ()
