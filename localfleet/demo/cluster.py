"""What the demo does to the cluster as a user would: install the chart, apply the example, read what came of it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from fleetfit_api import InferenceDeployment, ModelSuite, NodeInference
from fleetfit_api.base import Resource
from fleetfit_api.model_status import Measured, MeasurementSource
from fleetfit_kube import ApiClient, ReflectorOptions
from fleetfit_kube.resources import (
    DAEMON_SETS,
    DEPLOYMENTS,
    INFERENCE_DEPLOYMENTS,
    MODEL_SUITES,
    NODE_INFERENCES,
    PODS,
    resource_of,
)

from localfleet.demo.model_server import POD_NAME, PORT
from localfleet.node_config import UNLIMITED_ANNOTATION
from localfleet.waiting import Objects, condition, is_true, wait_for

SYSTEM_NAMESPACE: Final = "fleetfit-system"
RELEASE: Final = "fleetfit"
FIELD_MANAGER: Final = "localfleet-demo"
Progress = Callable[[str], None]


class CommandError(RuntimeError):
    """A command of the user's tools failed; the message ends with what it said."""


async def run_command(command: Sequence[str | Path], env: Mapping[str, str]) -> str:
    """Run a command to its end and return what it printed.

    Raises:
        CommandError: it failed.
    """
    process = await asyncio.create_subprocess_exec(
        *command, env=dict(env), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    text = output.decode(errors="replace")
    if process.returncode != 0:
        raise CommandError(f"{' '.join(map(str, command))} failed:\n{text.strip()[-3000:]}")
    return text


def install_arguments(chart: Path, operator_node: str) -> list[str]:
    """Return the arguments of helm that install the chart, with the operator on a node of the user's choice.

    In life the operator has a server to itself. Here it shares a node with a runtime, so it stays outside of the node's
    CPU quota: it would start late and disturb what the runtime measures.
    """
    annotation = UNLIMITED_ANNOTATION.replace(".", "\\.")
    return [
        *("upgrade", "--install", RELEASE, str(chart)),
        *("--namespace", SYSTEM_NAMESPACE, "--create-namespace"),
        *("--set-string", f"operator.nodeSelector.kubernetes\\.io/hostname={operator_node}"),
        *("--set-string", f"operator.podAnnotations.{annotation}=true"),
    ]


async def wait_for_operator(client: ApiClient, timeout_s: float) -> None:
    """Wait until the operator's pod is available."""

    def reached(deployments: Objects) -> bool:
        return any(is_true(deployment, "Available") for deployment in deployments.values())

    options = ReflectorOptions(namespace=SYSTEM_NAMESPACE)
    await wait_for(
        client, DEPLOYMENTS, reached, options=options, timeout_s=timeout_s, awaiting="the operator available"
    )


async def wait_for_model_server(client: ApiClient, namespace: str, timeout_s: float) -> str:
    """Wait until the pod with the model files is Ready and return its base URL."""

    def reached(pods: Objects) -> str | None:
        ready = [pod for key, pod in pods.items() if key.name == POD_NAME and is_true(pod, "Ready")]
        return f"http://{ready[0]['status']['podIP']}:{PORT}" if ready else None

    options = ReflectorOptions(namespace=namespace)
    return await wait_for(
        client, PODS, reached, options=options, timeout_s=timeout_s, awaiting="the model server ready"
    )


async def wait_for_runtimes(client: ApiClient, nodes: int, timeout_s: float, progress: Progress) -> None:
    """Wait until the operator has made the DaemonSets and every node has reported its reference run."""

    def reached(objects: Objects) -> bool:
        reports = [NodeInference.model_validate(document) for document in objects.values()]
        done = sum(bool(report.status.reference_runs) for report in reports)
        progress(f"{done} of {nodes} nodes have timed the reference set")
        return done >= nodes

    await wait_for(
        client, NODE_INFERENCES, reached, timeout_s=timeout_s, awaiting="reference runs of all nodes"
    )


def load_example(path: Path, kind: type[Resource]) -> dict[str, Any]:
    """Read a YAML file of one object and check that it is of the kind."""
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    kind.model_validate(document)
    return document


async def apply_objects(
    client: ApiClient, namespace: str, documents: Mapping[type[Resource], dict[str, Any]]
) -> None:
    """Apply objects server-side, as `kubectl apply --server-side` does."""
    for kind, document in documents.items():
        placed = {**document, "metadata": {**document["metadata"], "namespace": namespace}}
        await client.apply(resource_of(kind), placed, field_manager=FIELD_MANAGER)


async def wait_for_rollout(
    client: ApiClient, namespace: str, name: str, timeout_s: float, progress: Progress
) -> InferenceDeployment:
    """Wait until the deployment is Ready for its current generation and no longer changing."""

    def reached(objects: Objects) -> InferenceDeployment | None:
        document = next((item for key, item in objects.items() if key.name == name), None)
        if document is None:
            return None
        deployment = InferenceDeployment.model_validate(document)
        status = deployment.status
        progress(f"{status.ready_summary or '0'} nodes ready  {status.variants_summary}")
        settled = condition(document, "Progressing").get("status") == "False" and is_true(document, "Ready")
        current = status.observed_generation == deployment.metadata.generation
        return deployment if settled and current else None

    options = ReflectorOptions(namespace=namespace)
    return await wait_for(
        client,
        INFERENCE_DEPLOYMENTS,
        reached,
        options=options,
        timeout_s=timeout_s,
        awaiting=f"the rollout of {namespace}/{name} complete",
    )


async def wait_for_live_measurements(
    client: ApiClient, nodes: Sequence[str], namespace: str, name: str, timeout_s: float
) -> dict[str, NodeInference]:
    """Wait until every node has reported a latency that it measured on requests, and return the reports."""

    def measured(report: NodeInference) -> Measured | None:
        models = [m for m in report.status.models if (m.namespace, m.deployment) == (namespace, name)]
        return models[0].measured if models else None

    def reached(objects: Objects) -> dict[str, NodeInference] | None:
        reports = {key.name: NodeInference.model_validate(document) for key, document in objects.items()}
        figures = [measured(reports[node]) if node in reports else None for node in nodes]
        is_live = all(figure is not None and figure.source is MeasurementSource.LIVE for figure in figures)
        return reports if is_live else None

    return await wait_for(
        client, NODE_INFERENCES, reached, timeout_s=timeout_s, awaiting="latencies measured on requests"
    )


async def read_suite(client: ApiClient, namespace: str, name: str) -> ModelSuite:
    """Return a suite as the API server has it."""
    return ModelSuite.model_validate(await client.get(MODEL_SUITES, name, namespace))


async def read_reports(client: ApiClient) -> dict[str, NodeInference]:
    """Return what all nodes run and report, by node."""
    listed = await client.list(NODE_INFERENCES)
    return {item["metadata"]["name"]: NodeInference.model_validate(item) for item in listed.items}


async def describe_trouble(client: ApiClient) -> str:
    """Return a few lines on what is not as it should be, for an error message."""
    lines = []
    for pod in (await client.list(PODS)).items:
        if not is_true(pod, "Ready"):
            status = pod.get("status", {})
            lines.append(
                f"pod {pod['metadata']['name']}: {status.get('phase')} {condition(pod, 'Ready').get('message', '')}"
            )
    for daemon_set in (await client.list(DAEMON_SETS)).items:
        status = daemon_set.get("status", {})
        ready, wanted = status.get("numberReady", 0), status.get("desiredNumberScheduled", 0)
        lines.append(f"daemonset {daemon_set['metadata']['name']}: {ready}/{wanted} ready")
    return "\n".join(lines)
