"""Files in object stores: S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage.

The library that speaks to them is imported at the first such URI, since most nodes never meet one.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any, Final

from fleetfit_api.reasons import Reason

from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.store.clouds import CLOUDS, ObjectPlace, check_config, object_place, store_config
from fleetfit_runtime.store.credentials import Credentials
from fleetfit_runtime.store.source import Beginning, Stream, Wanted
from fleetfit_runtime.store.uri import redacted

_CHUNK_BYTES: Final = 1 << 18
_CONNECT_TIMEOUT_S: Final = 10.0
# The library bounds a whole request with its body; what bounds a download is that nothing comes for a while.
_REQUEST_TIMEOUT: Final = timedelta(days=7)
_ANSWER: Final = re.compile(r"status code: (\d{3} [A-Za-z -]+)")
_DETAIL_CHARACTERS: Final = 300
_SHORTEST_SECRET: Final = 6


class ObjectSource:
    """Fetches from object stores.

    Args:
        credentials: who asks.
        idle_timeout_s: give up when a store sends nothing for this long.
    """

    remote = True

    def __init__(self, credentials: Credentials, idle_timeout_s: float) -> None:
        self._credentials = credentials
        self._idle_timeout_s = idle_timeout_s

    @asynccontextmanager
    async def open(self, wanted: Wanted, beginning: Beginning) -> AsyncIterator[Stream]:
        """Open the file; see `Source`."""
        place = object_place(wanted.uri)
        cloud = CLOUDS[place.kind]
        values = await self._credentials.of_cloud(wanted.uri, cloud.key_prefix)
        config = store_config(place, cloud, values, self._credentials.environment)
        check_config(wanted.uri, cloud, config, self._credentials.environment)
        with _store_errors(wanted.uri, values.values()):
            # Its native part takes some ten milliseconds to load from an SD card, more on a slow one.
            store = await asyncio.to_thread(_make_store, place, config, self._idle_timeout_s)
            try:
                result, start_bytes = await _get(store, place.key, beginning)
            except FileNotFoundError as error:
                message = f"{redacted(wanted.uri)} does not exist"
                raise ModelFailure(Reason.FILE_NOT_FOUND, message) from error
            validator = result.meta.get("e_tag") or ""
            yield Stream(start_bytes, validator, _chunks(result.stream(_CHUNK_BYTES), self._idle_timeout_s))


def _make_store(place: ObjectPlace, config: dict[str, str], idle_timeout_s: float) -> Any:
    from obstore.store import AzureStore, GCSStore, S3Store

    client: dict[str, Any] = {
        "connect_timeout": timedelta(seconds=_CONNECT_TIMEOUT_S),
        "timeout": _REQUEST_TIMEOUT,
        "read_timeout": timedelta(seconds=idle_timeout_s),
        "allow_http": config.pop("allow_http", "false") == "true",
    }
    # The keeper of the model tries again, and says why meanwhile; the library only bridges what passes in a moment.
    retry: dict[str, Any] = {"max_retries": 1, "retry_timeout": timedelta(seconds=_CONNECT_TIMEOUT_S)}
    kinds: dict[str, Any] = {"s3": S3Store, "gs": GCSStore, "azure": AzureStore}
    return kinds[place.kind](place.bucket, config=config, client_options=client, retry_config=retry)


async def _get(store: Any, key: str, beginning: Beginning) -> tuple[Any, int]:
    """Return the answer and where it begins: behind the beginning only while the object is still the same."""
    from obstore import get_async
    from obstore.exceptions import GenericError, PreconditionError

    # Without a validator a change is noticed all the same, by the digest, only later.
    options: dict[str, Any] = {"range": {"offset": beginning.size_bytes}}
    if beginning.validator:
        options["if_match"] = beginning.validator
    if beginning.size_bytes:
        try:
            result = await get_async(store, key, options=options)  # type: ignore[arg-type] # a dictionary made here
        except PreconditionError:
            pass
        except GenericError as error:
            if "416" not in str(error):
                raise
        else:
            return result, int(result.range[0])
    return await get_async(store, key), 0


async def _chunks(stream: Any, idle_timeout_s: float) -> AsyncIterator[bytes]:
    iterator = aiter(stream)
    while True:
        try:
            async with asyncio.timeout(idle_timeout_s):
                chunk = await anext(iterator)
        except StopAsyncIteration:
            return
        yield bytes(chunk)


@contextmanager
def _store_errors(uri: str, secrets: Iterable[str]) -> Iterator[None]:
    """Translate what the library raises.

    Raises:
        ModelFailure: instead.
    """
    from obstore.exceptions import (
        BaseError,
        PermissionDeniedError,
        UnauthenticatedError,
        UnknownConfigurationKeyError,
    )

    hidden = tuple(secrets)
    shown = redacted(uri)
    try:
        yield
    except (PermissionDeniedError, UnauthenticatedError) as error:
        message = f"{shown} may not be read with this node's credentials: {_detail(error, hidden)}"
        raise ModelFailure(Reason.UNREACHABLE_SOURCE, message, transient=True) from None
    except UnknownConfigurationKeyError as error:
        message = f"the credentials for {shown} have a key that is not known: {_detail(error, hidden)}"
        raise ModelFailure(Reason.UNREACHABLE_SOURCE, message, transient=True) from None
    except (BaseError, ValueError, TimeoutError) as error:
        message = f"{shown} could not be fetched: {_detail(error, hidden)}"
        raise ModelFailure(Reason.UNREACHABLE_SOURCE, message, transient=True) from None


def _detail(error: Exception, secrets: Iterable[str]) -> str:
    """Return what the store answered, else the first line of what the library says, without what a Secret holds."""
    text = redacted(str(error))
    if answer := _ANSWER.search(text):
        return answer[1].strip()
    text = text.strip().partition("\n")[0]
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "***")
    return text[:_DETAIL_CHARACTERS] or type(error).__name__
