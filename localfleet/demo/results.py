"""Joins what the cluster reports and what the clients saw into the demo's figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from fleetfit_api import HardwareClass, InferenceDeployment, ModelSuite, NodeInference
from fleetfit_api.model_status import ModelStatus
from fleetfit_api.node_inference import Assignment
from fleetfit_api.node_telemetry import ReferenceRun
from fleetfit_operator.predict.predictor import LatencyPredictor
from fleetfit_operator.select.qoe import quality_of_experience

from localfleet.demo.report import NodeResult, VariantOutlook
from localfleet.demo.traffic import Endpoint, Tally

Entry = TypeVar("Entry", Assignment, ModelStatus)


@dataclass(frozen=True, slots=True)
class Observation:
    """What the cluster says at the end of the rollout.

    Attributes:
        deployment: The deployment.
        suite: Its suite.
        reports: NodeInferences by node.
        classes: Hardware classes by name.
    """

    deployment: InferenceDeployment
    suite: ModelSuite
    reports: Mapping[str, NodeInference]
    classes: Mapping[str, HardwareClass]

    def assignment(self, node: str) -> Assignment:
        """Return what the deployment has assigned to the node.

        Raises:
            LookupError: nothing is assigned.
        """
        return self._own(node, self.reports[node].spec.assignments)

    def model(self, node: str) -> ModelStatus:
        """Return what the node reports of the deployment's model.

        Raises:
            LookupError: it reports nothing.
        """
        return self._own(node, self.reports[node].status.models)

    def _own(self, node: str, entries: Sequence[Entry]) -> Entry:
        key = (self.deployment.metadata.namespace, self.deployment.metadata.name)
        for entry in entries:
            if (entry.namespace, entry.deployment) == key:
                return entry
        raise LookupError(f"node {node} has nothing of {key[0]}/{key[1]}")

    def endpoint(self, node: str) -> Endpoint:
        """Return where the node answers."""
        return Endpoint(node, self.reports[node].status.endpoint, self.deployment.model_name)

    def reference_run(self, node: str) -> ReferenceRun | None:
        """Return the run on the first provider of the node's class that has one, as the operator takes it."""
        runs = {run.provider: run for run in self.reports[node].status.reference_runs}
        hardware_class = self.classes.get(self.reports[node].spec.hardware_class)
        providers = hardware_class.spec.runtime.providers if hardware_class else list(runs)
        return next((runs[provider] for provider in providers if provider in runs), None)


def node_results(
    observation: Observation, tallies: Mapping[str, Tally], predictor: LatencyPredictor
) -> list[NodeResult]:
    """Return one result per node that was asked, in the order of the tallies."""
    return [_node_result(observation, node, tally, predictor) for node, tally in tallies.items()]


def _node_result(
    observation: Observation, node: str, tally: Tally, predictor: LatencyPredictor
) -> NodeResult:
    assignment, model = observation.assignment(node), observation.model(node)
    if model.measured is None or model.warm_up is None:
        raise LookupError(f"node {node} has no measured latency")
    measured_p95_s = model.warm_up.latency_p95_seconds
    outlook = _outlook(observation, node, predictor)
    predicted = {each.variant: each.predicted_p95_s for each in outlook}
    return NodeResult(
        node=node,
        hardware_class=observation.reports[node].spec.hardware_class,
        variant=model.serving_variant,
        provider=model.provider,
        provider_message=model.provider_message if model.provider_fallback else "",
        # What was expected before the node ran the variant: the operator corrects its own figure by measurements.
        predicted_p95_s=predicted[model.serving_variant],
        measured_p95_s=measured_p95_s,
        live_p95_s=model.measured.latency_p95_seconds,
        suite_accuracy=assignment.accuracy,
        measured_accuracy=tally.accuracy,
        requests=tally.requests,
        failed_requests=tally.failed,
        qoe=_qoe(observation, assignment.accuracy, measured_p95_s),
        reason=assignment.reason,
        outlook=outlook,
    )


def _outlook(observation: Observation, node: str, predictor: LatencyPredictor) -> list[VariantOutlook]:
    variants = observation.suite.spec.variants
    predictions = predictor.predict(observation.reference_run(node), variants)
    return [
        VariantOutlook(
            variant=variant.name,
            predicted_p95_s=predictions[variant.name].latency_p95_s,
            qoe=_qoe(observation, variant.accuracy, predictions[variant.name].latency_p95_s),
        )
        for variant in variants
    ]


def _qoe(observation: Observation, accuracy: float, latency_p95_s: float) -> float:
    best_accuracy = max(variant.accuracy for variant in observation.suite.spec.variants)
    return quality_of_experience(observation.deployment.spec.qoe, accuracy, best_accuracy, latency_p95_s)
