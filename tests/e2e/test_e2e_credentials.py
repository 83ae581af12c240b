"""A model in an object store that wants keys: its nodes get them from a Secret, and show them nowhere."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from e2e_models import deployment, suite, variant_entry
from e2e_world import FIELD_MANAGER, TIMEOUT_S, World
from fleetfit_kube.resources import DAEMON_SETS, HARDWARE_CLASSES, SECRETS
from obstore import put
from obstore.store import S3Store

from localfleet.demo.cluster import SYSTEM_NAMESPACE
from localfleet.testing import build_storage_servers
from localfleet.waiting import Objects, wait_for
from tests.runtime.storage_servers import PASSWORD, USER, s3_server

CLASS = "arm64-cpu"
SECRET = "model-store"


@pytest_asyncio.fixture(loop_scope="session")
async def s3_keys(world: World, tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """Run a store that checks signatures, with its keys in a Secret that the class names."""
    async with s3_server(build_storage_servers(), tmp_path) as address:
        keys = {
            "AWS_ACCESS_KEY_ID": USER,
            "AWS_SECRET_ACCESS_KEY": PASSWORD,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": address,
        }
        secret = {"apiVersion": "v1", "kind": "Secret", "stringData": {**keys, "uriPrefix": "s3://models"}}
        secret["metadata"] = {"name": SECRET, "namespace": SYSTEM_NAMESPACE}
        await world.client.create(SECRETS, secret)
        await name_credentials(world, [SECRET])
        try:
            yield keys
        finally:
            await name_credentials(world, [])


async def name_credentials(world: World, secrets: list[str]) -> None:
    patch = {"spec": {"runtime": {"credentials": secrets}}}
    await world.client.merge_patch(HARDWARE_CLASSES, CLASS, patch, field_manager=FIELD_MANAGER)

    def restarted(objects: Objects) -> bool:
        return any(
            key.name.endswith(CLASS)
            and all(secret in str(item["spec"]["template"]) for secret in secrets)
            and (bool(secrets) or SECRET not in str(item["spec"]["template"]))
            and rolled_out(item)
            for key, item in objects.items()
        )

    # The class's pods restart; whoever comes next finds them serving.
    await wait_for(
        world.client, DAEMON_SETS, restarted, timeout_s=TIMEOUT_S, awaiting=f"{CLASS} with {secrets}"
    )


def rolled_out(daemon_set: dict[str, Any]) -> bool:
    status = daemon_set.get("status", {})
    desired = status.get("desiredNumberScheduled")
    return (
        status.get("observedGeneration") == daemon_set["metadata"]["generation"]
        and status.get("updatedNumberScheduled", 0) == desired
        and status.get("numberAvailable", 0) == desired
    )


@pytest.mark.timeout(240)  # the class's pods restart
async def test_secret_that_a_class_names_lets_its_nodes_fetch(
    world: World, namespace: str, s3_keys: dict[str, str]
) -> None:
    node = world.nodes_of_class(CLASS)[0]
    model = world.models / "cnn-small-fp32.onnx"
    config: Any = {key.lower(): value for key, value in s3_keys.items()}
    put(S3Store("models", config=config, client_options={"allow_http": True}), f"deep/{model.name}", model)
    name = f"digits-{namespace}"
    await world.apply(suite(name, namespace, "s3://models/deep", [variant_entry(model, "small")]))
    await world.apply(deployment(name, namespace, name, [node]))
    await world.wait_until_ready(namespace, name)

    tallies = await world.classify(namespace, name, [node], images=20)
    assert tallies[node].failed == 0
    assert (await world.assignment(node, namespace, name))["uri"] == f"s3://models/deep/{model.name}"
    assert PASSWORD not in await world.kubectl("get", "ninf,msuite,infd,pods,events", "-A", "-o", "yaml")
