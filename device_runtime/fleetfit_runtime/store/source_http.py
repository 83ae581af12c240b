"""Files behind http and https: resumed by range, and only where the server still has the same version."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus

import aiohttp
from fleetfit_api.reasons import Reason

from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.store.credentials import Credentials
from fleetfit_runtime.store.source import Beginning, Stream, Wanted
from fleetfit_runtime.store.uri import redacted, split_uri

_CHUNK_BYTES = 1 << 18
_CONNECT_TIMEOUT_S = 10.0
_GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
_TRY_AGAIN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)


class HttpSource:
    """Fetches over one session.

    Args:
        http: the session; the caller closes it.
        credentials: what it may send to which URIs.
        idle_timeout_s: give up when a server sends nothing for this long.
    """

    remote = True

    def __init__(self, http: aiohttp.ClientSession, credentials: Credentials, idle_timeout_s: float) -> None:
        self._http = http
        self._credentials = credentials
        self._idle_timeout_s = idle_timeout_s

    @asynccontextmanager
    async def open(self, wanted: Wanted, beginning: Beginning) -> AsyncIterator[Stream]:
        """Open the file; see `Source`."""
        if not split_uri(wanted.uri).hostname:
            raise ModelFailure(Reason.UNSUPPORTED_URI, f"{redacted(wanted.uri)!r} names no host")
        headers = {}
        if authorization := await self._credentials.http_authorization(wanted.uri):
            headers["Authorization"] = authorization
        with fetch_errors(wanted.uri):
            async with open_http(self._http, wanted.uri, headers, beginning, self._idle_timeout_s) as stream:
                yield stream


@asynccontextmanager
async def open_http(
    http: aiohttp.ClientSession,
    url: str,
    headers: dict[str, str],
    beginning: Beginning,
    idle_timeout_s: float,
) -> AsyncIterator[Stream]:
    """Open a URL behind a beginning, or from its start where the server cannot or has another version by now.

    Raises:
        ModelFailure: the server refuses.
        aiohttp.ClientError, TimeoutError, ValueError: what `fetch_errors` translates.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S, sock_read=idle_timeout_s)
    asked = {"Accept-Encoding": "identity", **headers, **_range_headers(beginning)}
    async with http.get(url, headers=asked, timeout=timeout) as response:
        if not (beginning.size_bytes and _misses(response, beginning)):
            check_status(response, url)
            start_bytes = beginning.size_bytes if response.status == HTTPStatus.PARTIAL_CONTENT else 0
            chunks = response.content.iter_chunked(_CHUNK_BYTES)
            yield Stream(start_bytes, _validator(response), chunks)
            return
    async with open_http(http, url, headers, Beginning(), idle_timeout_s) as stream:
        yield stream


@contextmanager
def fetch_errors(url: str) -> Iterator[None]:
    """Translate what aiohttp raises for a URL, which is shown without its query.

    Raises:
        ModelFailure: instead.
    """
    try:
        yield
    # A wrong URL is both for aiohttp: a client error and a wrong value.
    except ValueError as error:
        message = f"{redacted(url)!r} is not a valid URL: {redacted(str(error))}"
        raise ModelFailure(Reason.UNSUPPORTED_URI, message) from error
    except (aiohttp.ClientError, TimeoutError) as error:
        detail = redacted(str(error)) or type(error).__name__
        message = f"{redacted(url)} could not be fetched: {detail}"
        raise ModelFailure(Reason.UNREACHABLE_SOURCE, message, transient=True) from error


def check_status(response: aiohttp.ClientResponse, url: str) -> None:
    """Check that a server answers with the file.

    Raises:
        ModelFailure: it does not; transient where it may later.
    """
    if response.status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        return
    answer = f"{redacted(url)} answered {response.status} {response.reason or ''}".strip()
    if response.status in _GONE:
        raise ModelFailure(Reason.FILE_NOT_FOUND, answer)
    transient = response.status >= HTTPStatus.INTERNAL_SERVER_ERROR or response.status in _TRY_AGAIN
    raise ModelFailure(Reason.UNREACHABLE_SOURCE, answer, transient=transient)


def _range_headers(beginning: Beginning) -> dict[str, str]:
    if not beginning.size_bytes:
        return {}
    headers = {"Range": f"bytes={beginning.size_bytes}-"}
    if beginning.validator:
        headers["If-Range"] = beginning.validator
    return headers


def _misses(response: aiohttp.ClientResponse, beginning: Beginning) -> bool:
    """Tell whether a server has no such part, because its file is another one by now, or sends another part."""
    if response.status == HTTPStatus.PARTIAL_CONTENT:
        part = response.headers.get("Content-Range", "")
        return not part.startswith(f"bytes {beginning.size_bytes}-")
    return response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE


def _validator(response: aiohttp.ClientResponse) -> str:
    """Return what If-Range may be asked with: a strong ETag; a date only where there is no ETag at all."""
    tag = response.headers.get("ETag", "")
    if tag:
        return "" if tag.startswith("W/") else tag
    return response.headers.get("Last-Modified", "")
