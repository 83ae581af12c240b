"""Builders of fleet values for tests: everything has a default, each test states what matters to it."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from fleetfit_api import HardwareClass, InferenceDeployment, ModelSuite, NodeInference
from fleetfit_api.model_status import ModelPhase, ModelStatus
from fleetfit_api.names import NodeName
from fleetfit_api.node_inference import Assignment
from fleetfit_api.prediction import Evidence
from fleetfit_operator.fleet.choice import LatencyPrediction
from fleetfit_operator.fleet.progress import RolloutNode, Target
from fleetfit_operator.fleet.snapshot import DeploymentKey, FleetNode, Node

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
KEY = DeploymentKey("shop", "digits")
GIB = 2**30


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def variant(name: str, accuracy: float = 0.9, **over: Any) -> dict[str, Any]:
    return {
        "name": name,
        "uri": f"{name}.onnx",
        "sha256": digest(name),
        "sizeBytes": 1000,
        "precision": "fp32",
        "accuracy": accuracy,
        **over,
    }


def suite(*variants: dict[str, Any], storage_uri: str | None = "https://models.test/digits/") -> ModelSuite:
    return ModelSuite.model_validate(
        {
            "metadata": {"namespace": "shop", "name": "digits-suite", "generation": 3},
            "spec": {"storageUri": storage_uri, "variants": list(variants)},
        }
    )


def deployment(name: str = "digits", **spec: Any) -> InferenceDeployment:
    return InferenceDeployment.model_validate(
        {
            "metadata": {"namespace": "shop", "name": name, "generation": 5},
            "spec": {"suiteRef": {"name": "digits-suite"}, **spec},
        }
    )


def hardware_class(
    name: str = "x86", providers: Sequence[str] = ("CPUExecutionProvider",), **spec: Any
) -> HardwareClass:
    runtime = {"image": "fleetfit/runtime:1", "providers": list(providers)}
    return HardwareClass.model_validate(
        {"metadata": {"name": name, "generation": 2}, "spec": {"runtime": runtime, **spec}}
    )


def fleet_node(
    name: str = "n1",
    *,
    assignment: Assignment | None = None,
    report: ModelStatus | None = None,
    telemetry: dict[str, Any] | None = None,
    memory_bytes: float | None = 8 * GIB,
    labels: dict[str, str] | None = None,
    providers: Sequence[str] = ("CPUExecutionProvider",),
) -> FleetNode:
    inference = NodeInference.model_validate(
        {
            "metadata": {"name": name},
            "spec": {"assignments": [assignment] if assignment else []},
            "status": {"models": [report] if report else [], "telemetry": telemetry or {}},
        }
    )
    capacity = {"memory": memory_bytes} if memory_bytes is not None else {}
    return FleetNode(
        Node(NodeName(name), labels or {}, capacity), _class_offering(tuple(providers)), inference
    )


@cache
def _class_offering(providers: tuple[str, ...]) -> HardwareClass:
    """The class that most nodes of tests are of; it is immutable, so one serves them all."""
    return hardware_class(providers=providers)


def assigned(name: str, **over: Any) -> Assignment:
    return Assignment.model_validate(
        {
            "namespace": KEY.namespace,
            "deployment": KEY.name,
            "modelName": "digits",
            "suite": "digits-suite",
            "variant": name,
            "precision": "fp32",
            "uri": f"https://models.test/digits/{name}.onnx",
            "sha256": digest(name),
            "sizeBytes": 1000,
            "assignedAt": NOW,
            **over,
        }
    )


def report(name: str, phase: ModelPhase = ModelPhase.READY, **over: Any) -> ModelStatus:
    serving = {"servingVariant": name} if phase is ModelPhase.READY else {}
    return ModelStatus.model_validate(
        {
            "namespace": KEY.namespace,
            "deployment": KEY.name,
            "variant": name,
            "sha256": digest(name),
            "phase": phase,
            **serving,
            **over,
        }
    )


def latencies(log_sigma: float = 0.0, **milliseconds: float) -> dict[str, LatencyPrediction]:
    return {
        name: LatencyPrediction(value / 1000.0, Evidence.REFERENCE_RUN, log_sigma=log_sigma)
        for name, value in milliseconds.items()
    }


def target(name: str) -> Target:
    return Target(name, digest(name))


def rollout_node(
    name: str = "n1", wanted: str | None = "b", has: str | None = "a", **over: Any
) -> RolloutNode:
    """A node that wants `wanted` and serves `has`, unless told otherwise."""
    values: dict[str, Any] = {
        "name": NodeName(name),
        "hardware_class": "x86",
        "wanted": target(wanted) if wanted else None,
        "assigned": target(has) if has else None,
        "assigned_at": NOW if has else None,
        "report": report(has) if has else None,
        "absent": False,
        **over,
    }
    return RolloutNode(**values)
