"""The runtime as a process against the real API server: takes specs, reports, refuses, survives a cut and a restart."""

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from fleetfit_api.base import ConditionStatus
from fleetfit_api.model_status import ModelPhase
from fleetfit_api.node_inference import Assignment, NodeInference, NodeInferenceSpec
from fleetfit_api.reasons import ConditionType, Reason
from fleetfit_api.suite import Precision
from fleetfit_kube.client import ApiClient
from fleetfit_kube.reflector import ReflectorOptions
from fleetfit_kube.resources import NODE_INFERENCES
from onnx import TensorProto, helper, save

from localfleet.controlplane.authority import Subject
from localfleet.controlplane.control_plane import ControlPlane
from localfleet.waiting import Objects, wait_for

TIMEOUT_S = 60.0
ADMIN = Subject("test-runtime", ("system:masters",))


class Link:
    """The node's network: a TCP relay to the API server that can be cut."""

    def __init__(self, port: int) -> None:
        self._api_port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def heal(self) -> None:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self._api_port)
        self._writers |= {writer, other_writer}
        await asyncio.gather(_pump(reader, other_writer), _pump(other_reader, writer), return_exceptions=True)
        self._writers -= {writer, other_writer}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


@dataclass
class NodeUnderTest:
    """One runtime process with its object in the API."""

    admin: ApiClient
    name: str
    link: Link
    directory: Path
    kubeconfig: Path
    process: asyncio.subprocess.Process | None = None
    epoch: int = 3
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self) -> None:
        with (self.directory / "runtime.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "fleetfit_runtime",
                env={
                    "PATH": os.environ["PATH"],
                    "NODE_NAME": self.name,
                    "FLEETFIT_HTTP_PORT": "0",
                    "FLEETFIT_GRPC_PORT": "0",
                    "FLEETFIT_STORE_DIR": str(self.directory / "store"),
                    "KUBECONFIG": str(self.kubeconfig),
                },
                stdout=log,
                stderr=log,
            )

    async def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            await self.process.wait()
            self.process = None

    async def assign(self, *assignments: Assignment, epoch: int | None = None) -> NodeInference:
        spec = NodeInferenceSpec(
            hardware_class="test", leader_epoch=epoch or self.epoch, assignments=list(assignments)
        )
        body = {"metadata": {"name": self.name}, "spec": spec.to_json()}
        return NodeInference.model_validate(
            await self.admin.apply(NODE_INFERENCES, body, field_manager="fleetfit-operator")
        )

    async def until(self, reached: Callable[[NodeInference], bool], awaiting: str) -> NodeInference:
        def look(objects: Objects) -> NodeInference | None:
            for document in objects.values():
                found = NodeInference.model_validate(document)
                return found if reached(found) else None
            return None

        return await wait_for(
            self.admin,
            NODE_INFERENCES,
            look,
            options=ReflectorOptions(field_selector=f"metadata.name={self.name}"),
            timeout_s=TIMEOUT_S,
            awaiting=awaiting,
        )

    async def until_ready(self, variant: str) -> NodeInference:
        return await self.until(
            lambda found: any(
                model.phase is ModelPhase.READY and model.serving_variant == variant
                for model in found.status.models
            ),
            f"{variant} serves",
        )


@pytest.fixture
async def node(
    control_plane: ControlPlane, admin: ApiClient, namespace: str, tmp_path: Path
) -> AsyncIterator[NodeUnderTest]:
    link = Link(control_plane.ports.api)
    await link.heal()
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(control_plane.credentials.kubeconfig(ADMIN, f"https://127.0.0.1:{link.port}"))
    under_test = NodeUnderTest(admin, f"runtime-{namespace}", link, tmp_path, kubeconfig)
    await under_test.start()
    yield under_test
    await under_test.kill()
    await link.cut()
    await admin.delete(NODE_INFERENCES, under_test.name)


def model(directory: Path, variant: str, factor: float, **over: Any) -> Assignment:
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor("factor", TensorProto.FLOAT, [], [factor])],
    )
    path = directory / f"{variant}.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    content = path.read_bytes()
    values: dict[str, Any] = {
        "namespace": "default",
        "deployment": "digits",
        "model_name": "digits",
        "suite": "digits",
        "variant": variant,
        "precision": Precision.FP32,
        "uri": path.as_uri(),
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
    }
    return Assignment.model_validate(values | over)


async def first_output(found: NodeInference) -> float:
    body = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 1, 1]}]}
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{found.status.endpoint}/v2/models/digits/infer", json=body) as response,
    ):
        assert response.status == 200
        return float((await response.json())["outputs"][0]["data"][0])


async def test_node_reports_its_fingerprint_serves_and_swaps(node: NodeUnderTest, tmp_path: Path) -> None:
    await node.assign()
    found = await node.until(lambda each: bool(each.status.reference_runs), "the reference run is reported")
    assert found.status.reference_runs[0].provider == "CPUExecutionProvider"
    assert found.status.telemetry.cpu_count > 0
    assert found.status.ready_summary == "0/0"
    written = await node.assign(model(tmp_path, "two", 2.0))
    found = await node.until_ready("two")
    assert await first_output(found) == 2.0
    assert found.status.observed_generation == written.metadata.generation
    assert found.status.observed_epoch == 3
    assert (found.status.ready_summary, found.status.models_summary) == ("1/1", "digits=two")
    assert found.status.models[0].measured is not None
    assert found.status.conditions[0].status is ConditionStatus.TRUE
    await node.assign(model(tmp_path, "three", 3.0))
    assert await first_output(await node.until_ready("three")) == 3.0
    await node.assign()
    found = await node.until(lambda each: not each.status.models, "the model is gone from the status")
    assert found.status.ready_summary == "0/0"


async def test_failed_variant_is_reported_and_the_old_one_serves(node: NodeUnderTest, tmp_path: Path) -> None:
    await node.assign(model(tmp_path, "two", 2.0))
    await node.until_ready("two")
    await node.assign(model(tmp_path, "three", 3.0, sha256="0" * 64))
    found = await node.until(
        lambda each: any(each_model.phase is ModelPhase.FAILED for each_model in each.status.models),
        "the failure is reported",
    )
    failed = found.status.models[0]
    assert (failed.variant, failed.serving_variant) == ("three", "two")
    assert failed.reason == Reason.DIGEST_MISMATCH
    condition = found.status.conditions[0]
    assert (condition.type, condition.status) == (ConditionType.READY, ConditionStatus.FALSE)
    assert condition.reason == Reason.DIGEST_MISMATCH
    assert await first_output(found) == 2.0


async def test_outdated_leader_is_refused_and_it_shows(node: NodeUnderTest, tmp_path: Path) -> None:
    await node.assign(model(tmp_path, "two", 2.0))
    before = await node.until_ready("two")
    await node.assign(epoch=2)
    found = await node.until(
        lambda each: any(c.reason == Reason.STALE_EPOCH for c in each.status.conditions), "the refusal shows"
    )
    assert found.status.observed_generation == before.status.observed_generation
    assert await first_output(found) == 2.0


async def test_cut_node_restarts_and_serves_then_catches_up(node: NodeUnderTest, tmp_path: Path) -> None:
    await node.assign(model(tmp_path, "two", 2.0))
    await node.until_ready("two")
    await node.link.cut()
    await node.kill()
    await node.assign(model(tmp_path, "three", 3.0))
    await node.start()
    # Nothing can be reported now; the log is the only witness of the new address.
    endpoint = await _served_endpoint(tmp_path / "runtime.log")
    offline = NodeInference.model_validate({"status": {"endpoint": endpoint}})
    assert await first_output(offline) == 2.0
    await node.link.heal()
    found = await node.until_ready("three")
    assert found.status.endpoint == endpoint
    assert await first_output(found) == 3.0


async def _served_endpoint(log: Path) -> str:
    async with asyncio.timeout(TIMEOUT_S):
        # A file has no event to await.
        while not (endpoint := _endpoint_after_restart(log)):  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.05)
    return endpoint


def _endpoint_after_restart(log: Path) -> str:
    starts = log.read_text().split('"message":"serving"')
    if len(starts) == 3 and '"message":"model serves"' in starts[2]:
        return "http://" + starts[2].split('"address":"')[1].split('"')[0]
    return ""


async def test_quiet_node_does_not_write(node: NodeUnderTest, tmp_path: Path) -> None:
    await node.assign(model(tmp_path, "two", 2.0))
    await node.until_ready("two")
    await node.until(lambda each: bool(each.status.reference_runs), "the reference run is reported")
    before = await node.admin.get(NODE_INFERENCES, node.name)
    with pytest.raises(TimeoutError):
        await wait_for(
            node.admin,
            NODE_INFERENCES,
            lambda objects: any(
                document["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
                for document in objects.values()
            ),
            options=ReflectorOptions(field_selector=f"metadata.name={node.name}"),
            timeout_s=13.0,
            awaiting="a needless write",
        )
