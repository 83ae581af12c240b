"""The demo from an empty machine to its report, as one sequence of steps that say what they do."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from fleetfit_api import HardwareClass, InferenceDeployment, ModelSuite
from fleetfit_kube import ApiClient, from_kubeconfig
from fleetfit_kube.resources import HARDWARE_CLASSES, INFERENCE_DEPLOYMENTS, PODS
from fleetfit_operator.predict.predictor import LatencyPredictor
from rich.console import Console

from examples.digits.heldout import Digits, load_held_out
from localfleet.controlplane.kubeconfig import tool_environment
from localfleet.demo import cluster
from localfleet.demo.live_change import change_under_load, live_change
from localfleet.demo.model_server import model_server_pod
from localfleet.demo.plot import draw_report
from localfleet.demo.report import LiveChange, NodeResult, Report, render_reasons, render_table
from localfleet.demo.results import Observation, node_results
from localfleet.demo.steps import Say, Steps
from localfleet.demo.traffic import Tally, TrafficClient, open_session

NAMESPACE: Final = "default"
NAME: Final = "digits"
NODES_ASKED_AT_ONCE: Final = 1  # nodes share this machine's processors and would measure each other
TIGHTENED_SHARE: Final = 0.05
TABLE_WIDTH: Final = 150  # a narrower terminal wraps lines, which reads better than cut cells
ROOT: Final = Path(__file__).parents[2]
EXAMPLE: Final = ROOT / "examples" / "digits"
CHART: Final = ROOT / "charts" / "fleetfit"


@dataclass(frozen=True, slots=True)
class DemoCluster:
    """The running cluster that the demo uses as any user would.

    Attributes:
        kubeconfig: The administrator's kubeconfig.
        helm: The helm program.
        nodes: Names of the nodes; the operator and the model files go to the first.
        stays: Whether it goes on after the demo, and should then be as the example has it.
    """

    kubeconfig: Path
    helm: Path
    nodes: tuple[str, ...]
    stays: bool = False


class Demo:
    """One run of the demo on a running cluster.

    Args:
        target: The cluster.
        output: Directory of report.json and report.png.
        console: Where people read.
        steps: Where progress is told.
        began_s: When the command began, on the monotonic clock, for the time to the result.
    """

    def __init__(
        self, target: DemoCluster, output: Path, console: Console, steps: Steps, began_s: float
    ) -> None:
        self._target = target
        self._output = output
        self._console = console
        self._steps = steps
        self._began_s = began_s
        self._nodes = target.nodes

    async def run(self) -> Report:
        """Go through all steps and write the report.

        Raises:
            WaitTimeoutError: a step did not come to its end; the message says what was there instead.
            CommandError: helm failed.
        """
        async with ApiClient(from_kubeconfig(self._target.kubeconfig)) as client:
            try:
                models_url = await self._install(client)
                return await self._show(client, models_url)
            except TimeoutError:
                self._console.print(await cluster.describe_trouble(client), style="yellow")
                raise

    async def _install(self, client: ApiClient) -> str:
        with self._steps.step("Chart: helm installs CRDs, hardware classes and the operator") as say:
            arguments = cluster.install_arguments(CHART, self._nodes[0])
            await cluster.run_command(
                [self._target.helm, *arguments], tool_environment(self._target.kubeconfig)
            )
            await client.create(PODS, model_server_pod(EXAMPLE, self._nodes[0]), NAMESPACE)
            say("waiting for the operator's pod")
            await cluster.wait_for_operator(client, 90.0)
            models_url = await cluster.wait_for_model_server(client, NAMESPACE, 60.0)
        with self._steps.step("Runtimes: one pod per node starts and times the reference set") as say:
            await cluster.wait_for_runtimes(client, len(self._nodes), 120.0, say)
        return models_url

    async def _show(self, client: ApiClient, models_url: str) -> Report:
        async with open_session() as session:
            traffic = TrafficClient(session)
            digits = load_held_out()
            deployment = await self._roll_out(client, models_url)
            observation, tallies = await self._classify(client, traffic, deployment, digits)
            nodes = node_results(observation, tallies, LatencyPredictor.load())
            seconds_to_result = time.monotonic() - self._began_s
            self._print(nodes, deployment)
            change = await self._tighten(client, traffic, observation, digits)
        if self._target.stays:
            await self._set_target(client, deployment.spec.qoe.latency_target_milliseconds)
        target_ms = deployment.spec.qoe.latency_target_milliseconds
        report = Report(nodes, change, seconds_to_result, target_ms)
        self._write(report)
        return report

    async def _roll_out(self, client: ApiClient, models_url: str) -> InferenceDeployment:
        suite = cluster.load_example(EXAMPLE / "suite.yaml", ModelSuite)
        suite["spec"]["storageUri"] = models_url
        deployment = cluster.load_example(EXAMPLE / "deployment.yaml", InferenceDeployment)
        with self._steps.step("Rollout: kubectl apply one InferenceDeployment, wave by wave") as say:
            await cluster.apply_objects(
                client, NAMESPACE, {ModelSuite: suite, InferenceDeployment: deployment}
            )
            return await cluster.wait_for_rollout(client, NAMESPACE, NAME, 180.0, say)

    async def _classify(
        self,
        client: ApiClient,
        traffic: TrafficClient,
        deployment: InferenceDeployment,
        digits: Digits,
    ) -> tuple[Observation, Mapping[str, Tally]]:
        tallies: dict[str, Tally] = {}
        before = await self._observe(client, deployment)
        turn = asyncio.Semaphore(NODES_ASKED_AT_ONCE)

        async def ask(node: str) -> None:
            async with turn:
                say(f"{node}: {before.endpoint(node).infer_url}")
                tallies[node] = await traffic.classify_all(
                    before.endpoint(node), digits.images, digits.labels
                )

        with self._steps.step(f"Requests: {len(digits)} held-out digits to every node") as say:
            async with asyncio.TaskGroup() as group:
                for node in self._nodes:
                    group.create_task(ask(node))
            say("waiting for the nodes' own measurements")
            await cluster.wait_for_live_measurements(client, self._nodes, NAMESPACE, NAME, 60.0)
        return await self._observe(client, deployment), {node: tallies[node] for node in self._nodes}

    async def _observe(self, client: ApiClient, deployment: InferenceDeployment) -> Observation:
        listed = await client.list(HARDWARE_CLASSES)
        classes = [HardwareClass.model_validate(document) for document in listed.items]
        return Observation(
            deployment=deployment,
            suite=await cluster.read_suite(client, NAMESPACE, deployment.spec.suite_ref.name),
            reports=await cluster.read_reports(client),
            classes={item.metadata.name: item for item in classes},
        )

    async def _tighten(
        self,
        client: ApiClient,
        traffic: TrafficClient,
        before: Observation,
        digits: Digits,
    ) -> LiveChange:
        target_ms = before.deployment.spec.qoe.latency_target_milliseconds
        tight_ms = round(target_ms * TIGHTENED_SHARE, 3)
        patch = _target_patch(tight_ms)
        command = f"kubectl patch infd {NAME} --type merge -p '{orjson.dumps(patch).decode()}'"
        with self._steps.step("Live change: " + command) as say:

            async def change() -> None:
                await _patch_deployment(client, patch, say)

            endpoints = [before.endpoint(node) for node in self._nodes]
            tallies = await change_under_load(traffic, endpoints, (digits.images, digits.labels), change)
        after = await self._observe(client, before.deployment)
        change_seen = live_change(
            (target_ms, tight_ms),
            tallies,
            {node: before.model(node).serving_variant for node in self._nodes},
            {node: after.model(node).serving_variant for node in self._nodes},
        )
        self._console.print(
            f"  {change_seen.requests} requests during the change, [bold]{change_seen.failed_requests} failed[/bold]; "
            f"{change_seen.nodes_switched} of {len(self._nodes)} nodes switched:"
        )
        for node, switch in change_seen.switches.items():
            self._console.print(f"    {node}: {switch}")
        return change_seen

    async def _set_target(self, client: ApiClient, target_ms: float) -> None:
        with self._steps.step(f"Back to the target of {target_ms:g} ms") as say:
            await _patch_deployment(client, _target_patch(target_ms), say)

    def _print(self, nodes: Sequence[NodeResult], deployment: InferenceDeployment) -> None:
        target_ms = deployment.spec.qoe.latency_target_milliseconds
        wide = Console(file=self._console.file, width=max(self._console.width, TABLE_WIDTH))
        self._console.print()
        wide.print(render_table(list(nodes), target_ms), soft_wrap=True)
        self._console.print("[bold]Why[/bold]")
        self._console.print(render_reasons(list(nodes)))
        self._console.print()

    def _write(self, report: Report) -> None:
        output = self._output
        output.mkdir(parents=True, exist_ok=True)
        (output / "report.json").write_bytes(orjson.dumps(report.to_json(), option=orjson.OPT_INDENT_2))
        draw_report(report.nodes, output / "report.png")
        error = report.to_json()["summary"]["median_prediction_error"]
        self._console.print(
            f"  Median of |predicted - measured| / measured p95: [bold]{error:.0%}[/bold]. "
            f"Report: {output / 'report.json'}, plot: {output / 'report.png'}"
        )


def _target_patch(target_ms: float) -> dict[str, Any]:
    return {"spec": {"qoe": {"latencyTargetMilliseconds": target_ms}}}


async def _patch_deployment(client: ApiClient, patch: dict[str, Any], say: Say) -> None:
    """Patch the deployment and wait until the fleet has followed."""
    await client.merge_patch(
        INFERENCE_DEPLOYMENTS, NAME, patch, NAMESPACE, field_manager=cluster.FIELD_MANAGER
    )
    await cluster.wait_for_rollout(client, NAMESPACE, NAME, 180.0, say)
