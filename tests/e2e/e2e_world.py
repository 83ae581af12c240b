"""The fleet as the end-to-end tests see it: what a user can do to it and what a user can read."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from e2e_models import DIGITS
from fleetfit_kube import ApiClient, ReflectorOptions
from fleetfit_kube.resources import INFERENCE_DEPLOYMENTS, MODEL_SUITES, NODE_INFERENCES, NODES

from examples.digits.heldout import Digits
from localfleet.controlplane.kubeconfig import tool_environment
from localfleet.demo.cluster import run_command
from localfleet.demo.traffic import Endpoint, Tally, TrafficClient
from localfleet.fleet import Fleet
from localfleet.waiting import Objects, WaitTimeoutError, condition, is_true, wait_for

FIELD_MANAGER = "end-to-end-test"
DIGITS_NAMESPACE = "default"
KINDS = {"ModelSuite": MODEL_SUITES, "InferenceDeployment": INFERENCE_DEPLOYMENTS}
TIMEOUT_S = 90.0


@dataclass(slots=True)
class World:
    """A running fleet with Fleetfit installed."""

    fleet: Fleet
    client: ApiClient
    traffic: TrafficClient
    models: Path
    models_url: str
    held_out: Digits
    classes: dict[str, str]

    @property
    def nodes(self) -> list[str]:
        return sorted(self.classes)

    @property
    def digits(self) -> tuple[Any, Any]:
        return self.held_out.images, self.held_out.labels

    def nodes_of_class(self, hardware_class: str) -> list[str]:
        return sorted(node for node, name in self.classes.items() if name == hardware_class)

    async def hardware_class(self, node: str) -> str:
        return str((await self.client.get(NODES, node))["metadata"]["labels"]["fleetfit.io/hardware-class"])

    async def apply(self, document: dict[str, Any]) -> None:
        await self.client.apply(KINDS[document["kind"]], document, field_manager=FIELD_MANAGER)

    async def deploy_digits(self) -> None:
        """Apply the example and wait until it is ready; applying it again changes nothing."""
        suite = yaml.safe_load((DIGITS / "suite.yaml").read_text())
        suite["spec"]["storageUri"] = f"{self.models_url}/digits"
        deployment = yaml.safe_load((DIGITS / "deployment.yaml").read_text())
        for document in (suite, deployment):
            document["metadata"]["namespace"] = DIGITS_NAMESPACE
            await self.apply(document)
        await self.wait_until_ready(DIGITS_NAMESPACE, "digits")

    async def patch_target(self, namespace: str, name: str, target_ms: float | None) -> None:
        """Patch the latency target; None takes the example's again."""
        if target_ms is None:
            example = yaml.safe_load((DIGITS / "deployment.yaml").read_text())
            target_ms = float(example["spec"]["qoe"]["latencyTargetMilliseconds"])
        patch = {"spec": {"qoe": {"latencyTargetMilliseconds": target_ms}}}
        await self.client.merge_patch(
            INFERENCE_DEPLOYMENTS, name, patch, namespace, field_manager=FIELD_MANAGER
        )

    async def wait_until_ready(self, namespace: str, name: str) -> None:
        """Wait until every matched node serves what it should and nothing changes any more."""

        def reached(objects: Objects) -> bool:
            return any(
                key.name == name
                and is_true(document, "Ready")
                and condition(document, "Progressing").get("status") == "False"
                and document["status"].get("observedGeneration") == document["metadata"]["generation"]
                and (_suite_generation_seen(document))
                for key, document in objects.items()
            )

        await self._await_deployment(namespace, reached, f"{namespace}/{name} ready")

    async def wait_for_condition(
        self, namespace: str, name: str, condition_type: str, status: str, reason: str | None = None
    ) -> dict[str, Any]:
        def reached(objects: Objects) -> dict[str, Any] | None:
            for key, document in objects.items():
                found = condition(document, condition_type)
                if (
                    key.name == name
                    and found.get("status") == status
                    and reason in (None, found.get("reason"))
                ):
                    return dict(found)
            return None

        awaiting = f"{condition_type}={status} {reason or ''} of {namespace}/{name}"
        return await self._await_deployment(namespace, reached, awaiting)

    async def wait_for_absent(self, namespace: str, name: str, absent: int) -> None:
        def reached(objects: Objects) -> bool:
            return any(
                key.name == name and document.get("status", {}).get("nodes", {}).get("absent", 0) == absent
                for key, document in objects.items()
            )

        await self._await_deployment(namespace, reached, f"{absent} nodes absent from {namespace}/{name}")

    async def wait_for_node(self, node: str, *, ready: bool) -> None:
        def reached(objects: Objects) -> bool:
            return any(key.name == node and is_true(item, "Ready") is ready for key, item in objects.items())

        await wait_for(self.client, NODES, reached, timeout_s=TIMEOUT_S, awaiting=f"{node} ready={ready}")

    async def wait_for_failure(self, namespace: str, name: str, variant: str, reason: str) -> list[str]:
        """Wait until some node could not run the variant for the reason; return the names of all such nodes.

        A node still shows the failure as its model's phase, or it has gone back to another variant and the failure is
        remembered in its assignment.
        """

        def failed_here(document: dict[str, Any]) -> bool:
            key = (namespace, name)
            models = document.get("status", {}).get("models", [])
            assignments = document.get("spec", {}).get("assignments", [])
            shown = [
                (m["variant"], m.get("reason")) for m in models if (m["namespace"], m["deployment"]) == key
            ]
            remembered = [
                (failed["variant"], failed["reason"])
                for a in assignments
                if (a["namespace"], a["deployment"]) == key
                for failed in a.get("failedVariants", [])
            ]
            return (variant, reason) in shown + remembered

        def reached(objects: Objects) -> list[str] | None:
            return [key.name for key, document in objects.items() if failed_here(document)] or None

        return await wait_for(
            self.client, NODE_INFERENCES, reached, timeout_s=TIMEOUT_S, awaiting=f"{variant} failed: {reason}"
        )

    async def wait_for_report(self, node: str, namespace: str, name: str, *, reason: str) -> dict[str, Any]:
        """Wait until the node reports the deployment's model with the reason; return the report."""

        def reached(objects: Objects) -> dict[str, Any] | None:
            models = [
                model
                for key, document in objects.items()
                for model in document.get("status", {}).get("models", [])
                if (key.name, model["namespace"], model["deployment"]) == (node, namespace, name)
            ]
            return models[0] if models and models[0].get("reason") == reason else None

        return await wait_for(
            self.client, NODE_INFERENCES, reached, timeout_s=TIMEOUT_S, awaiting=f"{reason} on {node}"
        )

    def store_dir(self, node: str) -> Path:
        """Directory of this machine that is the node's model store."""
        return self.fleet.node(node).config.state_dir / "rootfs" / "var" / "lib" / "fleetfit"

    async def assignment(self, node: str, namespace: str, name: str) -> dict[str, Any]:
        document = await self.client.get(NODE_INFERENCES, node)
        return _of(document["spec"]["assignments"], namespace, name)

    async def wait_for_evidence(self, node: str, namespace: str, name: str, evidence: set[str]) -> None:
        """Wait until the node's assignment rests on that; a node that has just changed rests on others' timings.

        Raises:
            AssertionError: it did not; tells what the assignment and the node say instead.
        """

        def reached(objects: Objects) -> bool:
            return any(
                key.name == node
                and _of(item["spec"]["assignments"], namespace, name)["predicted"]["evidence"] in evidence
                for key, item in objects.items()
            )

        try:
            await wait_for(
                self.client, NODE_INFERENCES, reached, timeout_s=TIMEOUT_S, awaiting=f"{evidence} on {node}"
            )
        except WaitTimeoutError as error:
            found = [await self.assignment(node, namespace, name), await self.model(node, namespace, name)]
            raise AssertionError(f"{error}: {found}") from error

    async def model(self, node: str, namespace: str, name: str) -> dict[str, Any]:
        document = await self.client.get(NODE_INFERENCES, node)
        return _of(document["status"]["models"], namespace, name)

    async def endpoint(self, node: str, namespace: str, name: str) -> Endpoint:
        document = await self.client.get(NODE_INFERENCES, node)
        model = _of(document["status"]["models"], namespace, name)
        return Endpoint(node, document["status"]["endpoint"], model["modelName"])

    async def serving_variants(self, namespace: str, name: str) -> dict[str, str]:
        return {node: (await self.model(node, namespace, name))["servingVariant"] for node in self.nodes}

    async def classify(
        self, namespace: str, name: str, nodes: Sequence[str], *, images: int
    ) -> dict[str, Tally]:
        """Send the first held-out digits to every node, one node after the other."""
        tallies = {}
        for node in nodes:
            endpoint = await self.endpoint(node, namespace, name)
            tallies[node] = await self.traffic.classify_all(
                endpoint, self.held_out.images[:images], self.held_out.labels[:images]
            )
        return tallies

    async def cut(self, node: str) -> None:
        await self.fleet.node(node).cut()

    async def heal(self, node: str) -> None:
        await self.fleet.node(node).heal()

    async def kubectl(self, *arguments: str) -> str:
        control_plane = self.fleet.control_plane
        env = tool_environment(control_plane.state.admin_kubeconfig)
        return await run_command([control_plane.binaries.kubectl, *arguments], env)

    async def _await_deployment(self, namespace: str, reached: Any, awaiting: str) -> Any:
        return await wait_for(
            self.client,
            INFERENCE_DEPLOYMENTS,
            reached,
            options=ReflectorOptions(namespace=namespace),
            timeout_s=TIMEOUT_S,
            awaiting=awaiting,
        )


def _suite_generation_seen(document: dict[str, Any]) -> bool:
    """Whether counts agree with each other; a suite's edit shows as nodes that are not updated."""
    nodes = document["status"]["nodes"]
    return nodes.get("ready", 0) + nodes.get("absent", 0) >= nodes.get("matched", 0)


def _of(entries: list[dict[str, Any]], namespace: str, name: str) -> dict[str, Any]:
    (found,) = (e for e in entries if (e["namespace"], e["deployment"]) == (namespace, name))
    return found


def copy_models(directory: Path) -> None:
    """Lay out the model files as the file server offers them: all digits variants, also at the top."""
    variants = DIGITS / "variants"
    shutil.copytree(variants, directory / "digits" / "variants")
    for path in variants.glob("*.onnx"):
        shutil.copy(path, directory / path.name)
