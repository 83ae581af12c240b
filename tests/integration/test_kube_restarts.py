"""The client and the reflector while the real API server and its database restart and forget."""

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from api_link import api_link
from fleetfit_kube import ApiClient, ObjectKey, Reflector, ReflectorOptions, ResourceType
from fleetfit_kube.errors import Expired
from fleetfit_kube.resources import CONFIG_MAPS, EVENTS, NAMESPACES, PODS, SERVICE_ACCOUNTS

from localfleet.binaries import Binaries
from localfleet.controlplane.control_plane import ControlPlane
from localfleet.controlplane.ports import LOOPBACK

NAMESPACE = "default"

# A process can only be waited for on the event loop that started it, so tests run on the loop of the control plane.
pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ControlPlane]:
    """A control plane for this module alone, which restarts its parts."""
    async with ControlPlane(tmp_path_factory.mktemp("restarts"), binaries) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def direct(plane: ControlPlane) -> AsyncIterator[ApiClient]:
    """The client that changes the world; no link of it is ever cut."""
    async with ApiClient(plane.admin()) as client:
        yield client


@pytest.fixture(scope="module")
def _numbers() -> Iterator[int]:
    return itertools.count(1)


@pytest.fixture
def label(_numbers: Iterator[int]) -> str:
    """Keeps the objects of a test apart."""
    return f"test-{next(_numbers)}"


class Objects:
    """The objects of one test: of one kind, with one label, each with a text that can change."""

    def __init__(self, client: ApiClient, resource: ResourceType, label: str) -> None:
        self._client = client
        self.resource = resource
        self.label = label

    async def create(self, name: str, text: str) -> str:
        """Create one; return its resource version."""
        metadata = {"name": self._full(name), "namespace": NAMESPACE, "labels": {"test": self.label}}
        about = {"involvedObject": {"namespace": NAMESPACE}} if self.resource is EVENTS else {}
        body = {"metadata": metadata, **about, **self._content(text)}
        created = await self._client.create(self.resource, body, NAMESPACE)
        return str(created["metadata"]["resourceVersion"])

    async def change(self, name: str, text: str) -> None:
        await self._client.merge_patch(self.resource, self._full(name), self._content(text), NAMESPACE)

    async def delete(self, name: str) -> None:
        await self._client.delete(self.resource, self._full(name), NAMESPACE)

    async def version(self) -> str:
        """Return the resource version of the whole database."""
        return (await self._client.list(self.resource, NAMESPACE)).resource_version

    def name(self, key: ObjectKey) -> str:
        return key.name.removeprefix(f"{self.label}-")

    def text(self, document: dict[str, Any]) -> str:
        return str(document["message"] if self.resource is EVENTS else document["data"]["text"])

    def _full(self, name: str) -> str:
        return f"{self.label}-{name}"

    def _content(self, text: str) -> dict[str, Any]:
        return {"message": text} if self.resource is EVENTS else {"data": {"text": text}}


class Copy:
    """A reflector's copy of the objects of a test, and every change that it told of: name, old text, new text."""

    def __init__(self, client: ApiClient, objects: Objects) -> None:
        self._objects = objects
        self._more = asyncio.Event()
        self.told: list[tuple[str, str | None, str | None]] = []
        self.reflector: Reflector[str] = Reflector(
            client,
            objects.resource,
            objects.text,
            on_change=self._on_change,
            options=ReflectorOptions(
                namespace=NAMESPACE, label_selector=f"test={objects.label}", backoff_cap_s=0.2
            ),
        )

    @property
    def texts(self) -> dict[str, str]:
        return {self._objects.name(key): text for key, text in self.reflector.items.items()}

    @property
    def restarts(self) -> set[str]:
        return set(self.reflector.stats.restarts)

    def told_of(self, name: str) -> list[tuple[str | None, str | None]]:
        return [(old, new) for who, old, new in self.told if who == name]

    async def until_told_of(self, name: str) -> None:
        async with asyncio.timeout(30):
            while not self.told_of(name):
                self._more.clear()
                await self._more.wait()

    def _on_change(self, key: ObjectKey, old: str | None, new: str | None) -> None:
        self.told.append((self._objects.name(key), old, new))
        self._more.set()


@asynccontextmanager
async def copying(client: ApiClient, objects: Objects) -> AsyncIterator[Copy]:
    """Reflect for the time of the context, from the moment when the first list has been told of."""
    copy = Copy(client, objects)
    task = asyncio.create_task(copy.reflector.run())
    try:
        async with asyncio.timeout(30):
            await copy.reflector.synced.wait()
        copy.told.clear()
        yield copy
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def compact(plane: ControlPlane, revision: str) -> None:
    """Let etcd forget all history before a revision, which is the resource version of the API."""
    tls = ssl.create_default_context(cafile=str(plane.state.certificate("etcd-ca")))
    tls.load_cert_chain(
        plane.state.certificate("apiserver-etcd-client"), plane.state.key("apiserver-etcd-client")
    )
    url = f"https://{LOOPBACK}:{plane.ports.etcd_client}/v3/kv/compaction"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json={"revision": revision, "physical": True}, ssl=tls) as answer,
    ):
        assert answer.status == 200, await answer.text()


def pids(plane: ControlPlane) -> dict[str, int]:
    assert all(child.running for child in plane.components)
    return {child.name: child.pid for child in plane.components}


@pytest.mark.parametrize("component", ["kube-apiserver", "etcd"])
async def test_the_reflector_outlives_a_killed_server(
    plane: ControlPlane, direct: ApiClient, label: str, component: str
) -> None:
    objects = Objects(direct, CONFIG_MAPS, label)
    for name in ("kept", "changed", "gone"):
        await objects.create(name, "1")
    async with copying(direct, objects) as copy:
        await objects.change("changed", "2")  # answered, but perhaps not told before the kill
        before = pids(plane)
        await plane.restart(component)
        await objects.delete("gone")
        await objects.change("changed", "3")
        await objects.create("last", "1")
        await copy.until_told_of("last")

        assert copy.texts == {"kept": "1", "changed": "3", "last": "1"}
        assert copy.told_of("kept") == []
        assert copy.told_of("gone") == [("1", None)]
        assert copy.told_of("last") == [(None, "1")]
        assert copy.told_of("changed") in ([("1", "2"), ("2", "3")], [("1", "3")])
        assert copy.restarts or component == "etcd"
    assert {name for name, pid in pids(plane).items() if pid != before[name]} == {component}


@pytest.mark.parametrize(
    ("resource", "restarted"),
    [
        # Events have no cache in the API server: it asks etcd, whose answer is that the history is gone.
        pytest.param(EVENTS, False, id="events-asked-of-etcd"),
        # For other kinds it answers from its memory, which begins anew when it does.
        pytest.param(CONFIG_MAPS, True, id="config-maps-after-a-restart"),
    ],
)
async def test_deletes_that_fell_to_compaction_are_still_told(
    plane: ControlPlane, direct: ApiClient, label: str, resource: ResourceType, restarted: bool
) -> None:
    objects = Objects(direct, resource, label)
    for name in ("kept", "changed", "gone", "replaced"):
        await objects.create(name, "1")
    async with (
        api_link(plane) as link,
        ApiClient(link.connection) as client,
        copying(client, objects) as copy,
    ):
        await link.cut()
        await objects.delete("gone")
        await objects.delete("replaced")
        await objects.create("replaced", "2")
        await objects.change("changed", "2")
        await compact(plane, await objects.version())
        if restarted:
            await plane.restart("kube-apiserver")
        assert copy.told == []
        await link.mend()
        await copy.until_told_of("gone")
        await objects.create("last", "1")
        await copy.until_told_of("last")

        assert copy.reflector.stats.restarts["Expired"] == 1
        assert copy.texts == {"kept": "1", "changed": "2", "replaced": "2", "last": "1"}
        assert sorted(copy.told, key=str) == [
            ("changed", "1", "2"),
            ("gone", "1", None),
            ("last", None, "1"),
            ("replaced", "1", "2"),
        ]


async def test_a_watch_from_before_a_compaction_is_expired(
    plane: ControlPlane, direct: ApiClient, label: str
) -> None:
    objects = Objects(direct, EVENTS, label)
    first = await objects.create("first", "1")
    await objects.create("second", "1")
    remembered = await _next_text(direct, objects, first)
    assert remembered == "1"  # the same question has an answer for as long as the history is there
    await objects.change("second", "2")
    await compact(plane, await objects.version())
    with pytest.raises(Expired) as raised:
        await _next_text(direct, objects, first)
    assert (raised.value.status, raised.value.reason) == (410, "Expired")


async def _next_text(client: ApiClient, objects: Objects, version: str) -> str:
    selector = f"test={objects.label}"
    async with asyncio.timeout(20):
        async for event in client.watch(
            objects.resource, version, namespace=NAMESPACE, label_selector=selector
        ):
            return objects.text(event.object)
    raise AssertionError("the watch ended without an event")


async def until_there_is(
    client: ApiClient, resource: ResourceType, namespace: str, wanted: Callable[[dict[str, Any]], bool]
) -> None:
    """Wait for an object by a reflector, because a server that has just lost its database refuses watches."""
    there_is = asyncio.Event()
    reflector = Reflector(
        client,
        resource,
        lambda document: wanted(document) or None,
        on_change=lambda *_: there_is.set(),
        options=ReflectorOptions(namespace=namespace, backoff_cap_s=0.2),
    )
    task = asyncio.create_task(reflector.run())
    try:
        async with asyncio.timeout(30):
            await there_is.wait()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_restarted_controller_manager_works_again(plane: ControlPlane, direct: ApiClient) -> None:
    await plane.restart("kube-controller-manager")
    await direct.create(NAMESPACES, {"metadata": {"name": "after-restart"}})
    await until_there_is(direct, SERVICE_ACCOUNTS, "after-restart", lambda _: True)


async def test_a_restarted_scheduler_works_again(plane: ControlPlane, direct: ApiClient) -> None:
    await plane.restart("kube-scheduler")
    spec = {"containers": [{"name": "main", "image": "fleetfit/runtime:test"}]}
    await direct.create(PODS, {"metadata": {"name": "after-restart", "namespace": NAMESPACE}, "spec": spec})
    await until_there_is(direct, PODS, NAMESPACE, _is_found_to_have_no_node)


def _is_found_to_have_no_node(pod: dict[str, Any]) -> bool:
    return any(each.get("reason") == "Unschedulable" for each in pod["status"].get("conditions") or [])


async def test_only_what_runs_can_be_restarted(plane: ControlPlane) -> None:
    with pytest.raises(ValueError, match="kubelet"):
        await plane.restart("kubelet")
