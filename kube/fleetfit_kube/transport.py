"""Sends requests to an API server: credentials, timeouts, retries, errors. It knows HTTP, not Kubernetes objects."""

import random
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import orjson

from fleetfit_kube.backoff import Backoff
from fleetfit_kube.config import ConfigError, Connection
from fleetfit_kube.errors import (
    ApiError,
    ConnectionLost,
    TooManyRequests,
    Unauthorized,
    WatchStalled,
    error_from_status,
)

JSON_TYPE: Final = "application/json"
_ERROR_STATUS: Final = 400
_UNAUTHORIZED: Final = 401
# Until then asyncio kept a closed TLS connection until the server had closed its side too: a watch that was left held
# its socket beyond the end of the session (https://github.com/python/cpython/pull/118960).
_TLS_CLOSE_WAITS: Final = sys.version_info < (3, 12, 8)


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
class Call:
    """One HTTP request."""

    verb: str
    method: str
    path: str
    params: Mapping[str, str]
    body: bytes | None = None
    content_type: str = JSON_TYPE
    repeatable: bool = False


class Transport:
    """A pool of connections to one API server.

    Args:
        connection: Where the API server is and who we are.
        options: Timeouts and retries.
        rng: Source of jitter.
        sleep: How to wait between attempts.
        on_response: Called with (verb, HTTP status; 0 for no answer) after every attempt.
    """

    def __init__(
        self,
        connection: Connection,
        options: ClientOptions,
        rng: random.Random,
        sleep: Callable[[float], Awaitable[None]],
        on_response: Callable[[str, int], None] | None,
    ) -> None:
        self._connection = connection
        self._options = options
        self._rng = rng
        self._sleep = sleep
        self._on_response = on_response
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> None:
        """Make ready to connect."""
        connector = aiohttp.TCPConnector(
            ssl=self._connection.ssl_context or False,
            limit=self._options.connections,
            keepalive_timeout=30,
            enable_cleanup_closed=_TLS_CLOSE_WAITS,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": self._options.user_agent, "Accept": JSON_TYPE},
            timeout=aiohttp.ClientTimeout(
                total=self._options.timeout_s, sock_connect=self._options.connect_timeout_s
            ),
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def lines(self, call: Call, inactivity_timeout_s: float) -> AsyncGenerator[bytes, None]:
        """Yield the lines of an answer that has no end of its own.

        Raises:
            WatchStalled: nothing came for `inactivity_timeout_s`.
            ConnectionLost: the connection broke.
        """
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._options.connect_timeout_s, sock_read=inactivity_timeout_s
        )
        try:
            async with self._request(call, timeout=timeout) as response:
                await self._raise_for_status(call, response)
                async for line in _lines(response.content):
                    yield line
        except TimeoutError as error:
            raise WatchStalled(f"{call.path} was silent for {inactivity_timeout_s:g} s: {error}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionLost(f"{call.path}: {_describe(error)}") from error

    def _request(
        self, call: Call, timeout: aiohttp.ClientTimeout | None = None
    ) -> "aiohttp.client._RequestContextManager":
        if self._session is None:
            raise RuntimeError("use the ApiClient as an asynchronous context manager")
        headers = {"Content-Type": call.content_type} if call.body is not None else {}
        if self._connection.credentials is not None:
            try:
                headers["Authorization"] = f"Bearer {self._connection.credentials.token()}"
            except ConfigError as error:
                raise ConnectionLost(str(error)) from error  # the token may yet be put there
        extra = {"timeout": timeout} if timeout is not None else {}
        return self._session.request(
            call.method,
            self._connection.server + call.path,
            params=call.params,
            data=call.body,
            headers=headers,
            **extra,  # type: ignore[arg-type]  # one optional keyword, typed above
        )

    async def json(self, call: Call) -> dict[str, Any]:
        """Execute a call whose answer is a JSON object."""
        document = orjson.loads(await self.content(call))
        if not isinstance(document, dict):
            raise ApiError(0, "UnexpectedAnswer", f"{call.path} is not a JSON object")
        return document

    async def content(self, call: Call) -> bytes:
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
                if not remaining or self._connection.credentials is None:
                    raise
                delay_s = backoff.next_s()
            except ApiError as error:
                if not remaining or not (error.transient and call.repeatable):
                    raise
                delay_s = backoff.next_s()
            await self._sleep(delay_s)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _once(self, call: Call) -> bytes:
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

    async def _raise_for_status(self, call: Call, response: aiohttp.ClientResponse) -> None:
        self._observe(call.verb, response.status)
        if response.status == _UNAUTHORIZED and self._connection.credentials is not None:
            self._connection.credentials.refresh()
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


def _decode_leniently(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", errors="replace")


def _describe(error: BaseException) -> str:
    return str(error) or type(error).__name__
