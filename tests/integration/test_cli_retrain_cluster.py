"""`fleetfit retrain` on a real API server, with the rights of the chart's job and no others."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fleetfit_api import ModelSuite
from fleetfit_api.names import FLEET_CORRECTION_KEY, LAST_RETRAINING_ANNOTATION
from fleetfit_api.node_telemetry import ReferenceRun
from fleetfit_kube import ApiClient
from fleetfit_kube.errors import NotFound
from fleetfit_kube.resources import CONFIG_MAPS, MODEL_SUITES, NODE_INFERENCES, SERVICE_ACCOUNTS
from fleetfit_operator.fleet.measurements import reference_run_digest
from fleetfit_operator.predict.fleet_correction import FleetCorrection
from fleetfit_operator.predict.predictor import LatencyPredictor
from fleetfit_operator.predict.shipped_model import ShippedModel

from examples.digits.catalogue import SUITE_FILE
from localfleet.controlplane.control_plane import ControlPlane
from localfleet.testing import CommandLine

CHART = Path(__file__).parents[2] / "charts/fleetfit"
NODES = 24
SLOWER = 1.8


def reference_run(number: int) -> dict[str, Any]:
    times = [
        {"name": f"net{i}", "latencyP50Seconds": 1e-4 * i + 1e-5 * number, "latencyP95Seconds": 1e-3 * i}
        for i in range(1, 6)
    ]
    return {"provider": "CPUExecutionProvider", "setVersion": "test", "times": times}


class SlowFleet:
    """Nodes on which everything takes longer than is predicted, by the same factor."""

    def __init__(self, client: ApiClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._names = [f"{namespace}-edge-{number}" for number in range(NODES)]

    async def create(self, suite: ModelSuite) -> None:
        predictor = LatencyPredictor.load()
        for number, name in enumerate(self._names):
            run = ReferenceRun.model_validate(reference_run(number))
            predicted = predictor.predict(run, suite.spec.variants)
            measured = [
                {
                    "variant": each.name,
                    "sha256": each.sha256,
                    "latencyP95Seconds": SLOWER * predicted[each.name].latency_p95_s,
                    "samples": 100,
                    "referenceRun": reference_run_digest(run),
                }
                for each in suite.spec.variants
            ]
            first = suite.spec.variants[0]
            assignment = {
                "namespace": self._namespace,
                "deployment": "digits",
                "modelName": "digits",
                "suite": suite.metadata.name,
                "variant": first.name,
                "precision": first.precision,
                "uri": "http://models.example/a.onnx",
                "sha256": first.sha256,
                "sizeBytes": first.size_bytes,
                "measuredVariants": measured,
            }
            body = {"metadata": {"name": name}, "spec": {"assignments": [assignment]}}
            await self._client.apply(NODE_INFERENCES, body, field_manager="test")
            status = {"metadata": {"name": name}, "status": {"referenceRuns": [run.to_json()]}}
            await self._client.apply(NODE_INFERENCES, status, field_manager="test", subresource="status")

    async def delete(self) -> None:
        for name in self._names:
            await self._client.delete(NODE_INFERENCES, name)


@pytest.fixture
async def slow_fleet(admin: ApiClient, namespace: str) -> AsyncIterator[None]:
    document = yaml.safe_load(SUITE_FILE.read_text(encoding="utf-8"))
    document["metadata"]["namespace"] = namespace
    suite = ModelSuite.model_validate(document)
    await admin.apply(MODEL_SUITES, suite.to_json(), field_manager="test")
    fleet = SlowFleet(admin, namespace)
    await fleet.create(suite)
    yield
    await fleet.delete()


@pytest.fixture
async def kubeconfig(
    admin: ApiClient,
    namespace: str,
    control_plane: ControlPlane,
    helm: CommandLine,
    kubectl: CommandLine,
    tmp_path: Path,
) -> AsyncIterator[Path]:
    """A kubeconfig of the job's service account, which has the rights that the chart gives it."""
    values = "retraining.enabled=true,fullnameOverride=" + namespace
    rendered = helm("template", "fleetfit", str(CHART), "--namespace", namespace, "--set", values)
    kinds = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
    account = f"{namespace}-retraining"
    rights = yaml.safe_dump_all(
        each
        for each in yaml.safe_load_all(rendered)
        if each and each["kind"] in kinds and each["metadata"]["name"] == account
    )
    kubectl("apply", "--server-side", "--filename", "-", stdin=rights)
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600},
    }
    issued = await admin.create(SERVICE_ACCOUNTS, request, namespace, name=account, subresource="token")
    config = yaml.safe_load(control_plane.state.admin_kubeconfig.read_text())
    config["users"][0]["user"] = {"token": issued["status"]["token"]}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    yield path
    kubectl("delete", "--filename", "-", stdin=rights)


async def retrain(kubeconfig: Path, namespace: str, *words: str) -> str:
    """Run the command as the job runs it and return what it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fleetfit_cli", "retrain", "--kubeconfig", str(kubeconfig)),
        *("--namespace", namespace, *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


@pytest.mark.usefixtures("slow_fleet")
async def test_what_the_fleet_has_timed_is_promoted_once(
    namespace: str, kubeconfig: Path, admin: ApiClient
) -> None:
    said = await retrain(kubeconfig, namespace, "--dry-run")
    assert "Promoted: it is better by" in said
    with pytest.raises(NotFound):
        await admin.get(CONFIG_MAPS, "fleetfit-model", namespace)

    assert await retrain(kubeconfig, namespace) == said
    written = await admin.get(CONFIG_MAPS, "fleetfit-model", namespace)
    text = written["data"][FLEET_CORRECTION_KEY]
    correction = FleetCorrection.parse(text, ShippedModel.load().digest)
    assert correction.facts.nodes + correction.facts.held_out_nodes == NODES
    assert correction.facts.error < correction.facts.error_without / 2
    assert "Promoted: it is better by" in written["metadata"]["annotations"][LAST_RETRAINING_ANNOTATION]

    assert "Kept: the new one is not proven better" in await retrain(kubeconfig, namespace)
    kept = await admin.get(CONFIG_MAPS, "fleetfit-model", namespace)
    assert kept["data"] == written["data"]
    assert "Kept: " in kept["metadata"]["annotations"][LAST_RETRAINING_ANNOTATION]


async def test_a_fleet_that_is_too_small_is_no_failure_and_told(
    namespace: str, kubeconfig: Path, admin: ApiClient
) -> None:
    said = await retrain(kubeconfig, namespace)
    assert "TooFewNodes: 0 nodes have timings that count" in said
    written = await admin.get(CONFIG_MAPS, "fleetfit-model", namespace)
    assert "data" not in written
    assert "TooFewNodes" in written["metadata"]["annotations"][LAST_RETRAINING_ANNOTATION]
