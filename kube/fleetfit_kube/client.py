"""A thin asynchronous client of the Kubernetes API: objects are plain dictionaries.

Every call has a timeout. Calls that are safe to repeat are repeated on transient errors; the others are not, because
whether they were executed is unknown.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import orjson

from fleetfit_kube.config import Connection
from fleetfit_kube.errors import ConnectionLost, error_from_status
from fleetfit_kube.resources import ResourceType
from fleetfit_kube.transport import Call, ClientOptions, Transport

__all__ = ["ApiClient", "ClientOptions", "ObjectList", "WatchEvent", "WatchPatience"]

JsonObject = dict[str, Any]
JsonObjects = list[JsonObject]  # inside ApiClient the name `list` is the method

_APPLY: Final = "application/apply-patch+yaml"
_MERGE_PATCH: Final = "application/merge-patch+json"


class WatchEvent(NamedTuple):
    """One line of a watch: ADDED, MODIFIED, DELETED or BOOKMARK, and the object."""

    type: str
    object: JsonObject


class ObjectList(NamedTuple):
    """The answer to a list: all pages together."""

    items: list[JsonObject]
    resource_version: str


@dataclass(frozen=True, slots=True)
class WatchPatience:
    """How long a watch lasts.

    Attributes:
        server_s: The server ends the watch after about this many seconds.
        inactivity_s: A watch without even a bookmark for this long is dead; servers send one about every minute.
    """

    server_s: int = 300
    inactivity_s: float = 150.0


class ApiClient:
    """Client of one API server; use as an asynchronous context manager.

    Args:
        connection: Where the API server is and who we are.
        options: Timeouts and retries.
        rng: Source of jitter.
        sleep: How to wait between attempts.
        on_response: Called with (verb, HTTP status; 0 for no answer) after every attempt, for metrics.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        options: ClientOptions | None = None,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_response: Callable[[str, int], None] | None = None,
    ) -> None:
        self.connection = connection
        self._transport = Transport(
            connection,
            options or ClientOptions(),
            rng or random.Random(),  # noqa: S311 - jitter, not a secret
            sleep,
            on_response,
        )

    async def __aenter__(self) -> Self:
        self._transport.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def get(
        self, resource: ResourceType, name: str, namespace: str = "", *, subresource: str = ""
    ) -> JsonObject:
        """Return an object."""
        return await self._transport.json(
            Call("get", "GET", resource.path(namespace, name, subresource), {}, repeatable=True)
        )

    async def list(
        self,
        resource: ResourceType,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
    ) -> ObjectList:
        """Return all objects, fetched in pages of `limit`.

        Raises:
            Expired: the pages were taken too slowly; list again.
        """
        items: JsonObjects = []
        params = _present(labelSelector=label_selector, fieldSelector=field_selector, limit=str(limit))
        while True:
            page = await self._transport.json(
                Call("list", "GET", resource.path(namespace), params, repeatable=True)
            )
            items += page.get("items") or []
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return ObjectList(items, str(metadata.get("resourceVersion") or ""))
            params = {**params, "continue": str(metadata["continue"])}

    async def create(
        self,
        resource: ResourceType,
        body: JsonObject,
        namespace: str = "",
        *,
        name: str = "",
        subresource: str = "",
        field_manager: str = "",
    ) -> JsonObject:
        """Create an object, or post to a subresource of `name` (token, binding, eviction)."""
        namespace = namespace or _metadata(body).get("namespace", "")
        path = resource.path(namespace, name, subresource)
        params = _present(fieldManager=field_manager)
        return await self._transport.json(Call("create", "POST", path, params, orjson.dumps(body)))

    async def apply(
        self,
        resource: ResourceType,
        body: JsonObject,
        *,
        field_manager: str,
        force: bool = True,
        subresource: str = "",
    ) -> JsonObject:
        """Server-side apply an object; name and namespace are those of its metadata.

        Raises:
            Conflict: another manager owns a field and `force` is false.
        """
        metadata = _metadata(body)
        document = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        return await self._transport.json(
            Call(
                "apply",
                "PATCH",
                resource.path(metadata.get("namespace", ""), metadata["name"], subresource),
                {"fieldManager": field_manager, "force": "true" if force else "false"},
                orjson.dumps(document),
                _APPLY,
                repeatable=True,
            )
        )

    async def merge_patch(
        self,
        resource: ResourceType,
        name: str,
        patch: JsonObject,
        namespace: str = "",
        *,
        subresource: str = "",
        field_manager: str = "",
    ) -> JsonObject:
        """Apply a JSON merge patch (RFC 7396)."""
        path = resource.path(namespace, name, subresource)
        params = _present(fieldManager=field_manager)
        return await self._transport.json(
            Call("patch", "PATCH", path, params, orjson.dumps(patch), _MERGE_PATCH)
        )

    async def replace(
        self, resource: ResourceType, body: JsonObject, *, subresource: str = "", field_manager: str = ""
    ) -> JsonObject:
        """Replace an object; with a resourceVersion in its metadata only that version.

        Raises:
            Conflict: the object has changed since.
        """
        metadata = _metadata(body)
        path = resource.path(metadata.get("namespace", ""), metadata["name"], subresource)
        params = _present(fieldManager=field_manager)
        return await self._transport.json(Call("update", "PUT", path, params, orjson.dumps(body)))

    async def delete(
        self,
        resource: ResourceType,
        name: str,
        namespace: str = "",
        *,
        grace_period_s: int | None = None,
        uid: str = "",
        propagation: str = "Background",
    ) -> JsonObject:
        """Delete an object.

        Args:
            resource: Its kind.
            name: Its name.
            namespace: Its namespace.
            grace_period_s: Overrides the grace period; 0 deletes a pod at once.
            uid: Delete only the object with this uid.
            propagation: Background, Foreground or Orphan.
        """
        options: JsonObject = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if grace_period_s is not None:
            options["gracePeriodSeconds"] = grace_period_s
        if uid:
            options["preconditions"] = {"uid": uid}
        path = resource.path(namespace, name)
        return await self._transport.json(Call("delete", "DELETE", path, {}, orjson.dumps(options)))

    async def get_text(self, path: str, params: Mapping[str, str] | None = None) -> str:
        """Return the text at a path that holds no object, such as /readyz or a pod's log."""
        return (
            await self._transport.content(Call("get", "GET", path, params or {}, repeatable=True))
        ).decode()

    async def watch(
        self,
        resource: ResourceType,
        resource_version: str,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        patience: WatchPatience | None = None,
    ) -> AsyncIterator[WatchEvent]:
        """Yield the changes since a resource version, bookmarks included, until the server ends the stream.

        Raises:
            Expired: the resource version is too old; list again.
            WatchStalled: not even a bookmark came for `patience.inactivity_s`.
            ConnectionLost: the connection broke.
        """
        patience = patience or WatchPatience()
        params = _present(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=resource_version,
            labelSelector=label_selector,
            fieldSelector=field_selector,
            timeoutSeconds=str(patience.server_s),
        )
        call = Call("watch", "GET", resource.path(namespace), params)
        # Closed here and now: a watch that is left holds a connection until the garbage collector comes by.
        async with contextlib.aclosing(self._transport.lines(call, patience.inactivity_s)) as lines:
            async for line in lines:
                yield _watch_event(line)


def _watch_event(line: bytes) -> WatchEvent:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ConnectionLost(f"a watch sent something that is not JSON: {error}") from error
    if event.get("type") == "ERROR":
        status = event.get("object") or {}
        raise error_from_status(int(status.get("code") or 500), status)
    return WatchEvent(str(event["type"]), event["object"])


def _present(**params: str) -> dict[str, str]:
    return {name: value for name, value in params.items() if value}


def _metadata(body: JsonObject) -> dict[str, str]:
    metadata: dict[str, str] = body.get("metadata") or {}
    return metadata
