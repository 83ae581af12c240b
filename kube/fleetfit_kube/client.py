"""A thin asynchronous client of the Kubernetes API: objects are plain dictionaries.

Every call has a timeout. Calls that are safe to repeat are repeated on transient errors; the others are not, because
whether they were executed is unknown.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import aiohttp
import orjson

from fleetfit_kube.backoff import Backoff
from fleetfit_kube.config import Connection
from fleetfit_kube.errors import (
    ApiError,
    ConnectionLost,
    TooManyRequests,
    Unauthorized,
    WatchStalled,
    error_from_status,
)
from fleetfit_kube.resources import ResourceType

JsonObject = dict[str, Any]
JsonObjects = list[JsonObject]  # inside ApiClient the name `list` is the method

_JSON: Final = "application/json"
_APPLY: Final = "application/apply-patch+yaml"
_MERGE_PATCH: Final = "application/merge-patch+json"
_JSON_PATCH: Final = "application/json-patch+json"
_ERROR_STATUS: Final = 400


class WatchEvent(NamedTuple):
    """One line of a watch: ADDED, MODIFIED, DELETED or BOOKMARK, and the object."""

    type: str
    object: JsonObject


class ObjectList(NamedTuple):
    """The answer to a list: all pages together."""

    items: list[JsonObject]
    resource_version: str


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """How patient a client is.

    Attributes:
        timeout_s: Limit of one request in seconds.
        connect_timeout_s: Limit of connecting in seconds.
        attempts: How often a call that is safe to repeat is tried.
        connections: Largest number of simultaneous connections; watches hold one each.
        user_agent: Name in the API server's logs.
    """

    timeout_s: float = 30.0
    connect_timeout_s: float = 5.0
    attempts: int = 4
    connections: int = 64
    user_agent: str = "fleetfit"


@dataclass(frozen=True, slots=True)
class WatchPatience:
    """How long a watch lasts.

    Attributes:
        server_s: The server ends the watch after about this many seconds.
        inactivity_s: A watch without even a bookmark for this long is dead; servers send one a minute.
    """

    server_s: int = 300
    inactivity_s: float = 70.0


@dataclass(frozen=True, slots=True)
class _Call:
    """One HTTP request."""

    verb: str
    method: str
    path: str
    params: Mapping[str, str]
    body: bytes | None = None
    content_type: str = _JSON
    repeatable: bool = False


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
        self._options = options or ClientOptions()
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._sleep = sleep
        self._on_response = on_response
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            ssl=self.connection.ssl_context or False, limit=self._options.connections, keepalive_timeout=30
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": self._options.user_agent, "Accept": _JSON},
            timeout=aiohttp.ClientTimeout(
                total=self._options.timeout_s, sock_connect=self._options.connect_timeout_s
            ),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(
        self, resource: ResourceType, name: str, namespace: str = "", *, subresource: str = ""
    ) -> JsonObject:
        """Return an object."""
        return await self._json(
            _Call("get", "GET", resource.path(namespace, name, subresource), {}, repeatable=True)
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
            page = await self._json(_Call("list", "GET", resource.path(namespace), params, repeatable=True))
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
        return await self._json(_Call("create", "POST", path, params, orjson.dumps(body)))

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
        return await self._json(
            _Call(
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
        return await self._json(_Call("patch", "PATCH", path, params, orjson.dumps(patch), _MERGE_PATCH))

    async def json_patch(
        self,
        resource: ResourceType,
        name: str,
        operations: JsonObjects,
        namespace: str = "",
        *,
        subresource: str = "",
        field_manager: str = "",
    ) -> JsonObject:
        """Apply a JSON patch (RFC 6902)."""
        path = resource.path(namespace, name, subresource)
        params = _present(fieldManager=field_manager)
        return await self._json(_Call("patch", "PATCH", path, params, orjson.dumps(operations), _JSON_PATCH))

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
        return await self._json(_Call("update", "PUT", path, params, orjson.dumps(body)))

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
        return await self._json(_Call("delete", "DELETE", path, {}, orjson.dumps(options)))

    async def get_text(self, path: str, params: Mapping[str, str] | None = None) -> str:
        """Return the text at a path that holds no object, such as /readyz or a pod's log."""
        return (await self._bytes(_Call("get", "GET", path, params or {}, repeatable=True))).decode()

    async def get_json(self, path: str, params: Mapping[str, str] | None = None) -> JsonObject:
        """Return the JSON document at a path, such as /version."""
        return await self._json(_Call("get", "GET", path, params or {}, repeatable=True))

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
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._options.connect_timeout_s, sock_read=patience.inactivity_s
        )
        call = _Call("watch", "GET", resource.path(namespace), params)
        try:
            async with self._request(call, timeout=timeout) as response:
                await self._raise_for_status(call, response)
                async for line in _lines(response.content):
                    yield _watch_event(line)
        except TimeoutError as error:
            raise WatchStalled(f"watch of {resource.plural} was silent or slow: {error}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionLost(f"watch of {resource.plural}: {_describe(error)}") from error

    def _request(
        self, call: _Call, timeout: aiohttp.ClientTimeout | None = None
    ) -> "aiohttp.client._RequestContextManager":
        if self._session is None:
            raise RuntimeError("use the ApiClient as an asynchronous context manager")
        headers = {"Content-Type": call.content_type} if call.body is not None else {}
        if self.connection.credentials is not None:
            headers["Authorization"] = f"Bearer {self.connection.credentials.token()}"
        extra = {"timeout": timeout} if timeout is not None else {}
        return self._session.request(
            call.method,
            self.connection.server + call.path,
            params=call.params,
            data=call.body,
            headers=headers,
            **extra,  # type: ignore[arg-type]  # one optional keyword, typed above
        )

    async def _json(self, call: _Call) -> JsonObject:
        document = orjson.loads(await self._bytes(call))
        if not isinstance(document, dict):
            raise ApiError(0, "UnexpectedAnswer", f"{call.path} is not a JSON object")
        return document

    async def _bytes(self, call: _Call) -> bytes:
        """Execute a call, again on transient errors if it is safe to repeat; 429 means that it was not executed."""
        backoff = Backoff(self._rng, base_s=0.2, cap_s=5.0)
        for remaining in range(self._options.attempts - 1, -1, -1):
            try:
                return await self._once(call)
            except TooManyRequests as error:
                if not remaining:
                    raise
                delay_s = max(backoff.next_s(), error.retry_after_s)
            except Unauthorized:
                if not remaining or self.connection.credentials is None:
                    raise
                self.connection.credentials.refresh()
                delay_s = backoff.next_s()
            except ApiError as error:
                if not remaining or not (error.transient and call.repeatable):
                    raise
                delay_s = backoff.next_s()
            await self._sleep(delay_s)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _once(self, call: _Call) -> bytes:
        try:
            async with self._request(call) as response:
                await self._raise_for_status(call, response)
                return await response.read()
        except TimeoutError as error:
            self._observe(call.verb, 0)
            raise ConnectionLost(f"{call.method} {call.path} timed out") from error
        except (aiohttp.ClientError, OSError) as error:
            self._observe(call.verb, 0)
            raise ConnectionLost(f"{call.method} {call.path}: {_describe(error)}") from error

    async def _raise_for_status(self, call: _Call, response: aiohttp.ClientResponse) -> None:
        self._observe(call.verb, response.status)
        if response.status >= _ERROR_STATUS:
            body = _decode_leniently(await response.read())
            raise error_from_status(response.status, body, response.headers.get("Retry-After"))

    def _observe(self, verb: str, status: int) -> None:
        if self._on_response is not None:
            self._on_response(verb, status)


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield lines of any length; the reader's own `readline` refuses long ones, and objects can be long."""
    parts: list[bytes] = []
    async for chunk in content.iter_any():
        head, *rest = chunk.split(b"\n")
        parts.append(head)
        for following in rest:
            line = b"".join(parts)
            if line:
                yield line
            parts = [following]


def _watch_event(line: bytes) -> WatchEvent:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ConnectionLost(f"a watch sent something that is not JSON: {error}") from error
    if event.get("type") == "ERROR":
        status = event.get("object") or {}
        raise error_from_status(int(status.get("code") or 500), status)
    return WatchEvent(str(event["type"]), event["object"])


def _decode_leniently(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", errors="replace")


def _describe(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _present(**params: str) -> dict[str, str]:
    return {name: value for name, value in params.items() if value}


def _metadata(body: JsonObject) -> dict[str, str]:
    metadata: dict[str, str] = body.get("metadata") or {}
    return metadata
