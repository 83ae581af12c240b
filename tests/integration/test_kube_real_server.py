"""The client and the reflector against the real API server: what no fake can promise."""

import asyncio
import gc
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fleetfit_kube import ApiClient, Connection, ObjectKey, Reflector, ReflectorOptions
from fleetfit_kube.config import StaticToken
from fleetfit_kube.errors import (
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
    TooManyRequests,
    Unauthorized,
)
from fleetfit_kube.resources import CONFIG_MAPS, NODE_INFERENCES, SERVICE_ACCOUNTS

from localfleet.controlplane.control_plane import ControlPlane

pytestmark = pytest.mark.timeout(120)


def config_map(namespace: str, name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "data": data}


@asynccontextmanager
async def reflecting(client: ApiClient, namespace: str) -> AsyncIterator[Reflector[dict[str, str]]]:
    reflector: Reflector[dict[str, str]] = Reflector(
        client,
        CONFIG_MAPS,
        lambda document: dict(document.get("data") or {}),
        options=ReflectorOptions(namespace=namespace, label_selector="", backoff_cap_s=0.1),
    )
    task = asyncio.create_task(reflector.run())
    try:
        await reflector.synced.wait()
        yield reflector
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Any, timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - the state of the world sends no event
            await asyncio.sleep(0.01)


async def test_apply_gives_every_manager_its_own_fields(admin: ApiClient, namespace: str) -> None:
    await admin.apply(CONFIG_MAPS, config_map(namespace, "shared", a="1"), field_manager="one")
    await admin.apply(CONFIG_MAPS, config_map(namespace, "shared", b="2"), field_manager="two")
    body = config_map(namespace, "shared", a="9", b="2")
    with pytest.raises(Conflict, match="one"):
        await admin.apply(CONFIG_MAPS, body, field_manager="two", force=False)
    await admin.apply(CONFIG_MAPS, config_map(namespace, "shared"), field_manager="one")
    assert (await admin.get(CONFIG_MAPS, "shared", namespace))["data"] == {"b": "2"}


async def test_replace_of_an_old_version_conflicts(admin: ApiClient, namespace: str) -> None:
    created = await admin.create(CONFIG_MAPS, config_map(namespace, "m", a="1"))
    await admin.merge_patch(CONFIG_MAPS, "m", {"data": {"a": "2"}}, namespace)
    with pytest.raises(Conflict):
        await admin.replace(CONFIG_MAPS, {**created, "data": {"a": "3"}})
    assert (await admin.get(CONFIG_MAPS, "m", namespace))["data"] == {"a": "2"}


async def test_delete_with_another_uid_conflicts(admin: ApiClient, namespace: str) -> None:
    await admin.create(CONFIG_MAPS, config_map(namespace, "m"))
    with pytest.raises(Conflict):
        await admin.delete(CONFIG_MAPS, "m", namespace, uid="00000000-0000-0000-0000-000000000000")
    await admin.delete(CONFIG_MAPS, "m", namespace)
    with pytest.raises(NotFound):
        await admin.get(CONFIG_MAPS, "m", namespace)


async def test_a_broken_rule_of_the_schema_is_invalid(admin: ApiClient) -> None:
    body = {"metadata": {"name": "bad"}, "spec": {"leaderEpoch": -1}}
    with pytest.raises(Invalid, match="leaderEpoch"):
        await admin.apply(NODE_INFERENCES, body, field_manager="tests")


async def test_tokens_are_asked_for_by_a_subresource_and_carry_rights(
    admin: ApiClient, namespace: str, control_plane: ControlPlane
) -> None:
    await admin.create(SERVICE_ACCOUNTS, {"metadata": {"name": "reader", "namespace": namespace}})
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 600},
    }
    issued = await admin.create(SERVICE_ACCOUNTS, request, namespace, name="reader", subresource="token")
    for token, refusal in ((issued["status"]["token"], Forbidden), ("forged", Unauthorized)):
        connection = Connection(control_plane.server, _without_certificate(control_plane), StaticToken(token))
        async with ApiClient(connection, sleep=_no_sleep) as client:
            with pytest.raises(refusal):
                await client.list(CONFIG_MAPS, namespace)


def _without_certificate(control_plane: ControlPlane) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(control_plane.state.certificate("ca")))


async def _no_sleep(_seconds: float) -> None:
    return None


async def test_pages_of_a_list_are_one_consistent_whole(admin: ApiClient, namespace: str) -> None:
    for number in range(12):
        await admin.create(CONFIG_MAPS, config_map(namespace, f"m{number}"))
    listed = await admin.list(CONFIG_MAPS, namespace, limit=5)
    names = {item["metadata"]["name"] for item in listed.items}
    assert {f"m{number}" for number in range(12)} <= names
    assert int(listed.resource_version) > 0


async def test_the_reflector_follows_the_real_server(admin: ApiClient, namespace: str) -> None:
    await admin.create(CONFIG_MAPS, config_map(namespace, "first", a="1"))
    async with reflecting(admin, namespace) as reflector:
        first, second = ObjectKey(namespace, "first"), ObjectKey(namespace, "second")
        assert reflector.items[first] == {"a": "1"}
        await admin.create(CONFIG_MAPS, config_map(namespace, "second", b="1"))
        await admin.merge_patch(CONFIG_MAPS, "first", {"data": {"a": "2"}}, namespace)
        await until(lambda: reflector.items.get(second) and reflector.items[first] == {"a": "2"})
        await admin.delete(CONFIG_MAPS, "second", namespace)
        await until(lambda: second not in reflector.items)
        written = await admin.merge_patch(CONFIG_MAPS, "first", {"data": {"a": "3"}}, namespace)
        reflector.store(written)
        assert reflector.items[first] == {"a": "3"}
        await reflector.refresh()
        assert reflector.items[first] == {"a": "3"}


async def test_a_version_from_before_what_the_server_remembers_is_expired(admin: ApiClient) -> None:
    # The kind was defined after this version, so that the server's memory of it begins later.
    async with asyncio.timeout(20):
        with pytest.raises(Expired):
            await _watch_node_inferences(admin, "1")


async def _watch_node_inferences(admin: ApiClient, version: str) -> None:
    """Watch until something ends it; a server that has just learnt of the kind asks to wait."""
    while True:
        try:
            async for _ in admin.watch(NODE_INFERENCES, version):
                pass
        except TooManyRequests as error:
            await asyncio.sleep(min(error.retry_after_s, 0.5))


def test_a_watch_that_is_left_holds_no_socket_beyond_its_client(control_plane: ControlPlane) -> None:
    async def leave_a_watch() -> None:
        async with ApiClient(control_plane.admin()) as client, reflecting(client, "default") as reflector:
            await until(lambda: reflector.stats.last_event_s is not None)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(20):
            asyncio.run(leave_a_watch())
            gc.collect()
    assert [str(each.message) for each in caught] == []
