"""What tests of the operator declare, and how they follow what it says of it."""

import asyncio
from typing import Any

from fleet_actor import FleetActor
from fleetfit_kube import ApiClient
from fleetfit_kube.resources import HARDWARE_CLASSES, INFERENCE_DEPLOYMENTS, MODEL_SUITES

SYSTEM = "fleetfit-system"
APPS = "apps"


def hardware_class(name: str, priority: int = 0, **labels: str) -> dict[str, Any]:
    match = (
        [{"labels": [{"key": k, "operator": "In", "values": [v]} for k, v in labels.items()]}]
        if labels
        else []
    )
    return {
        "metadata": {"name": name},
        "spec": {
            "priority": priority,
            "match": match,
            "runtime": {"image": "fleetfit/runtime:test", "providers": ["CPUExecutionProvider"]},
        },
    }


def suite(name: str = "digits") -> dict[str, Any]:
    def variant(variant_name: str, precision: str, accuracy: float, digit: str) -> dict[str, Any]:
        return {
            "name": variant_name,
            "uri": f"{variant_name}.onnx",
            "sha256": digit * 64,
            "sizeBytes": 100_000,
            "precision": precision,
            "accuracy": accuracy,
        }

    return {
        "metadata": {"name": name, "namespace": APPS},
        "spec": {
            "storageUri": "https://models.example/digits",
            "variants": [
                variant("exact", "fp32", 0.99, "a"),
                variant("half", "fp16", 0.98, "b"),
                variant("small", "int8", 0.95, "c"),
            ],
        },
    }


def deployment(name: str = "digits", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": APPS},
        "spec": {"suiteRef": {"name": "digits"}, "qoe": {"latencyTargetMilliseconds": 60_000}, **spec},
    }


def only(precision: str) -> dict[str, Any]:
    return {"latencyTargetMilliseconds": 60_000, "constraints": {"allowedPrecisions": [precision]}}


async def apply(client: ApiClient, *bodies: dict[str, Any]) -> None:
    for body in bodies:
        spec = body["spec"]
        resource = (
            HARDWARE_CLASSES
            if "runtime" in spec
            else MODEL_SUITES
            if "variants" in spec
            else INFERENCE_DEPLOYMENTS
        )
        await client.apply(resource, body, field_manager="user")


async def add_nodes(fleet: FleetActor, count: int, first: int = 0, **labels: str) -> list[str]:
    names = [f"edge-{number}" for number in range(first, first + count)]
    for name in names:
        await fleet.add_node(name, **labels)
    return names


class StatusView:
    """Follows the status of a deployment."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def get(self, name: str = "digits") -> dict[str, Any]:
        found: dict[str, Any] = (await self._client.get(INFERENCE_DEPLOYMENTS, name, APPS)).get(
            "status"
        ) or {}
        return found

    async def condition(self, kind: str, name: str = "digits") -> dict[str, Any]:
        conditions = (await self.get(name)).get("conditions", [])
        return next((each for each in conditions if each["type"] == kind), {})

    async def until(
        self, kind: str, reason: str, name: str = "digits", timeout_s: float = 40.0
    ) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        try:
            async with asyncio.timeout(timeout_s):
                while seen.get("reason") != reason:
                    await asyncio.sleep(0.05)
                    seen = await self.condition(kind, name)
        except TimeoutError:
            raise AssertionError(f"{kind} did not become {reason}: {await self.get(name)}") from None
        return seen
