"""A fleet of the devices under the operator's own decisions: its plan for one deployment, carried out at once.

What is simulated is small: what a node reports, and the error of predictions. Choice, exploration, rollout, learning
from ratings and the book of ratings on each node are the project's code.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from fleetfit_api import HardwareClass, InferenceDeployment, ModelSuite, NodeInference
from fleetfit_api.model_status import Measured, MeasurementSource, ModelPhase, ModelStatus, RatingSummary
from fleetfit_api.names import NodeName
from fleetfit_api.node_inference import Assignment, NodeInferenceSpec, NodeInferenceStatus
from fleetfit_api.node_telemetry import ReferenceRun
from fleetfit_api.prediction import Evidence
from fleetfit_api.suite import Variant
from fleetfit_operator.control.deployment_plan import PlanTerms, Task, plan_deployment
from fleetfit_operator.control.prediction import FleetPredictions
from fleetfit_operator.fleet.choice import LatencyPrediction
from fleetfit_operator.fleet.snapshot import DeploymentKey, FleetNode, Node
from fleetfit_operator.select.fields import Fields
from fleetfit_operator.select.policy import policy_of

from benchmarks.select.devices import Devices, FloatArray
from benchmarks.select.users import PRIOR_WEIGHTS, TARGET_S

KEY: Final = DeploymentKey("shop", "camera")
BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
PREDICTION_SIGMA: Final = 0.08
"""Error of a prediction of what was not run, as a logarithm: about what the predictor has on unseen devices."""
_PROVIDER: Final = "CPUExecutionProvider"
_TERMS: Final = PlanTerms(service_namespace="fleetfit", reference_run_grace_s=0.0)


class KnownDevices:
    """A predictor that is right up to an error per device and variant. It knows a device by its reference run."""

    def __init__(self, devices: Devices, rng: np.random.Generator) -> None:
        error = np.exp(rng.normal(0.0, PREDICTION_SIGMA, devices.shape))
        self._expected_s = dict(zip(devices.names, devices.latency_s * error, strict=True))

    def predict(
        self, run: ReferenceRun | None, variants: Sequence[Variant]
    ) -> Mapping[str, LatencyPrediction]:
        """Return the expected latencies on the device whose name the reference run carries."""
        if run is None:
            raise ValueError("every simulated node has a reference run")
        expected_s = self._expected_s[run.set_version]
        return {
            variant.name: LatencyPrediction(
                float(expected_s[variant_index(variant.name)]),
                Evidence.REFERENCE_RUN,
                log_sigma=PREDICTION_SIGMA,
            )
            for variant in variants
        }


@dataclass(frozen=True, slots=True)
class FleetState:
    """What the operator was told and what nodes run and report."""

    deployment: InferenceDeployment
    nodes: tuple[FleetNode, ...]


class SimulatedFleet:
    """The devices as nodes of one deployment.

    Args:
        devices: The devices and variants.
        rng: Draws the errors of predictions.
        ask_share: Largest share of replies in which users are asked; None leaves ratings out.
        explores: Whether nodes try variants for what is learnt from them.
    """

    def __init__(
        self,
        devices: Devices,
        rng: np.random.Generator,
        ask_share: float | None = 1.0,
        explores: bool = True,
    ) -> None:
        self.devices = devices
        self._predictions = FleetPredictions(KnownDevices(devices, rng))
        self._deployment = _deployment(ask_share, explores)
        self._suite = _suite(devices)
        self._digests = {variant.name: variant.sha256 for variant in self._suite.spec.variants}
        self._nodes = [_node(name, f"node-{index:03d}") for index, name in enumerate(devices.names)]
        self.moves = 0

    def digest(self, variant: int) -> str:
        """Return the digest of a variant's file."""
        return self._digests[variant_name(variant)]

    def chosen(self) -> list[int]:
        """Return the variant that each node runs."""
        return [variant_index(self._assignment(node).variant) for node in self._nodes]

    def is_trying(self, node: int) -> bool:
        """Return whether a node tries a variant for what is learnt from it."""
        return self._assignment(self._nodes[node]).exploring

    def ask_shares(self) -> FloatArray:
        """Return the share of replies in which each node asks."""
        return np.array([self._assignment(node).ask_share for node in self._nodes])

    @property
    def hysteresis(self) -> float:
        """Gain in QoE that a node changes for at least."""
        return self._deployment.spec.selection.hysteresis

    def set_hysteresis(self, hysteresis: float) -> None:
        """Let nodes change for a gain above that, however uncertain, and at once."""
        spec = self._deployment.spec
        selection = spec.selection.model_copy(
            update={"hysteresis": hysteresis, "hysteresis_sigmas": 0.0, "minimum_dwell_seconds": 0}
        )
        self._deployment = self._deployment.model_copy(
            update={"spec": spec.model_copy(update={"selection": selection})}
        )

    def believed(self) -> FloatArray:
        """Return the QoE that the operator expects (nodes x variants)."""
        policy = policy_of(self._deployment, self._suite)
        predictions = self._predictions.of_nodes(self._nodes, self._suite, KEY).by_node
        opinion = self._predictions.opinions.of(policy, self._nodes, predictions)
        known = Fields(policy, opinion)
        fields = (known.of(policy, node, predictions[node.name]) for node in self._nodes)
        return np.array([[candidate.qoe for _, candidate in sorted(f.by_name.items())] for f in fields])

    def remember(self) -> FleetState:
        """Return the state to come back to."""
        return FleetState(self._deployment, tuple(self._nodes))

    def restore(self, state: FleetState) -> None:
        """Come back."""
        self._deployment, self._nodes = state.deployment, list(state.nodes)

    def report(self, node: int, ratings: Sequence[RatingSummary]) -> None:
        """Let a node report what its users say."""
        current = self._nodes[node]
        if current.inference is None:
            raise ValueError("a node reports once it has been told what to run")
        (model,) = current.inference.status.models
        status = NodeInferenceStatus.model_construct(
            models=[model.model_copy(update={"ratings": list(ratings)})],
            reference_runs=current.inference.status.reference_runs,
            telemetry=current.inference.status.telemetry,
        )
        self._nodes[node] = replace(
            current, inference=current.inference.model_copy(update={"status": status})
        )

    def run_pass(self, at_s: float) -> None:
        """Let the operator decide, and carry it out; `at_s` counts from the beginning."""
        task = Task(KEY, self._deployment, self._suite, self._nodes, {})
        self._predictions.begin_pass()
        plan = plan_deployment(task, self._predictions, _TERMS, BEGIN + timedelta(seconds=at_s))
        self.moves += len(plan.moved)
        self._nodes = [
            self._carried_out(node, device, plan.assignments[node.name])
            for device, node in enumerate(self._nodes)
        ]

    def _carried_out(self, node: FleetNode, device: int, assignment: Assignment) -> FleetNode:
        if node.inference is None:
            raise ValueError("simulated nodes have a NodeInference")
        if node.inference.spec.assignments == [assignment]:
            return node
        before = node.inference.status.models
        status = NodeInferenceStatus.model_construct(
            models=[self._model(device, assignment, before[0].ratings if before else [])],
            reference_runs=node.inference.status.reference_runs,
            telemetry=node.inference.status.telemetry,
        )
        spec = NodeInferenceSpec.model_construct(
            hardware_class=node.class_name, leader_epoch=1, assignments=[assignment]
        )
        inference = node.inference.model_copy(update={"spec": spec, "status": status})
        return replace(node, inference=inference)

    def _model(self, device: int, assignment: Assignment, ratings: list[RatingSummary]) -> ModelStatus:
        latency_s = float(self.devices.latency_s[device, variant_index(assignment.variant)])
        timed = Measured(
            latency_p50_seconds=latency_s,
            latency_p95_seconds=latency_s,
            samples=100,
            source=MeasurementSource.WARM_UP,
        )
        return ModelStatus.model_construct(
            namespace=KEY.namespace,
            deployment=KEY.name,
            variant=assignment.variant,
            sha256=assignment.sha256,
            phase=ModelPhase.READY,
            serving_variant=assignment.variant,
            provider=_PROVIDER,
            warm_up=timed,
            ratings=ratings,
        )

    def _assignment(self, node: FleetNode) -> Assignment:
        assignment = node.assignment(KEY)
        if assignment is None:
            raise ValueError("a node has no assignment before the first pass")
        return assignment


def variant_name(index: int) -> str:
    """Return the name of a variant."""
    return f"v{index:02d}"


def variant_index(name: str) -> int:
    """Return the number of a variant."""
    return int(name.removeprefix("v"))


def _deployment(ask_share: float | None, explores: bool) -> InferenceDeployment:
    accuracy, latency = PRIOR_WEIGHTS
    ratings: dict[str, Any] = {"enabled": False} if ask_share is None else {"askShare": ask_share}
    return InferenceDeployment.model_validate(
        {
            "metadata": {"namespace": KEY.namespace, "name": KEY.name, "generation": 1},
            "spec": {
                "suiteRef": {"name": "suite"},
                "qoe": {
                    "latencyTargetMilliseconds": TARGET_S * 1000.0,
                    "weights": {"accuracy": accuracy, "latency": latency},
                    "ratings": ratings,
                },
                "selection": {
                    "exploration": {"maxNodesShare": 0.1 if explores else 0.0, "maxExpectedLoss": 0.05}
                },
            },
        }
    )


def _suite(devices: Devices) -> ModelSuite:
    variants = [
        {
            "name": variant_name(index),
            "uri": f"https://models.test/{variant_name(index)}.onnx",
            "sha256": hashlib.sha256(variant_name(index).encode()).hexdigest(),
            "sizeBytes": 1_000_000,
            "precision": "fp32",
            "accuracy": float(accuracy),
        }
        for index, accuracy in enumerate(devices.accuracy)
    ]
    return ModelSuite.model_validate(
        {
            "metadata": {"namespace": KEY.namespace, "name": "suite", "generation": 1},
            "spec": {"variants": variants},
        }
    )


def _node(device: str, name: str) -> FleetNode:
    class_name = device.replace("_", "-")
    hardware_class = HardwareClass.model_validate(
        {
            "metadata": {"name": class_name, "generation": 1},
            "spec": {"runtime": {"image": "fleetfit/runtime:1", "providers": [_PROVIDER]}},
        }
    )
    status = NodeInferenceStatus(reference_runs=[ReferenceRun(provider=_PROVIDER, set_version=device)])
    inference = NodeInference.model_validate({"metadata": {"name": name}})
    return FleetNode(
        Node(NodeName(name)),
        hardware_class,
        inference.model_copy(update={"status": status}),
        runtime_ready_at=BEGIN,
    )
