"""Fetching one model file into the store: resumed where the source can, verified while it streams, published whole.

One call is one attempt; the agent decides about the next. All disk work runs in threads because the disk of an edge
node (an SD card) can hold a write for seconds while the server must answer.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol
from weakref import WeakValueDictionary

import aiohttp
from fleetfit_api.reasons import Reason

from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.store.blobs import BlobStore
from fleetfit_runtime.store.disk_failure import disk_failure, is_disk_full
from fleetfit_runtime.store.uri import FileSource, HttpSource, parse_source

_CHUNK_BYTES = 1 << 18


class Hash(Protocol):
    """The part of a hashlib object that is used."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""

    def hexdigest(self) -> str:
        """Return the digest."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The file that must be in the store."""

    uri: str
    sha256: str
    size_bytes: int


class Fetcher:
    """Brings files into a store.

    Args:
        store: where the files go.
        http: session for http and https; the caller closes it.
        idle_timeout_s: give up when a source sends nothing for this long.
    """

    def __init__(self, store: BlobStore, http: aiohttp.ClientSession, idle_timeout_s: float = 30.0) -> None:
        self._store = store
        self._http = http
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=idle_timeout_s)

    async def ensure(self, wanted: Wanted) -> Path:
        """Return the path of the verified file, fetching it first if it is not in the store.

        Raises:
            ModelFailure: it could not be fetched or is not the file that was declared.
        """
        # Two deployments may want the same file at once: the second waits and finds it there.
        async with self._locks.setdefault(wanted.sha256, asyncio.Lock()):
            return await self._ensure(wanted)

    async def _ensure(self, wanted: Wanted) -> Path:
        try:
            present = await asyncio.to_thread(self._store.verified_path, wanted.sha256)
            if present is not None:
                return present
            return await self._fetch(parse_source(wanted.uri), wanted)
        except OSError as error:
            partial = self._store.partial_path(wanted.sha256)
            raise await asyncio.to_thread(_given_up, partial, wanted, error) from error

    async def _fetch(self, source: HttpSource | FileSource, wanted: Wanted) -> Path:
        partial = self._store.partial_path(wanted.sha256)
        # The store may have vanished, or another disk been mounted over it, since the last attempt.
        await asyncio.to_thread(self._store.make_folders)
        sha256, done_bytes = await asyncio.to_thread(_resume_point, partial, wanted.size_bytes)
        await asyncio.to_thread(self._store.check_space, wanted.size_bytes - done_bytes)
        if isinstance(source, FileSource):
            with _open_source(source.path) as file:
                await self._write(
                    partial, _read_file(source.path, file), _Progress(hashlib.sha256(), 0, wanted)
                )
        else:
            await self._download(source.url, partial, _Progress(sha256, done_bytes, wanted))
        return await asyncio.to_thread(self._store.publish, wanted.sha256)

    async def _download(self, url: str, partial: Path, progress: "_Progress") -> None:
        headers = {"Accept-Encoding": "identity"}
        if progress.done_bytes:
            headers["Range"] = f"bytes={progress.done_bytes}-"
        try:
            async with self._http.get(url, headers=headers, timeout=self._timeout) as response:
                if response.status == 416:
                    # The partial file is longer than the source's: it belongs to another version of the file.
                    await asyncio.to_thread(partial.unlink, missing_ok=True)
                _check_status(response, url)
                if response.status != 206 or not _continues_at(response, progress.done_bytes):
                    progress.restart()
                await self._write(partial, response.content.iter_chunked(_CHUNK_BYTES), progress)
        except (aiohttp.ClientError, TimeoutError) as error:
            detail = str(error) or type(error).__name__
            raise ModelFailure(
                Reason.UNREACHABLE_SOURCE, f"{url} could not be fetched: {detail}", transient=True
            ) from error
        except ValueError as error:
            raise ModelFailure(Reason.UNSUPPORTED_URI, f"{url!r} is not a valid URL: {error}") from error

    async def _write(self, partial: Path, chunks: AsyncIterator[bytes], progress: "_Progress") -> None:
        # Opened here and not in a thread: a cancelled thread would leave the file open.
        with _open_partial(partial, resume=progress.done_bytes > 0) as file:
            async for chunk in chunks:
                progress.check_not_longer(len(chunk), partial)
                await _finish(asyncio.to_thread(progress.append, file, chunk))
        progress.check_complete(partial)


@dataclass(slots=True)
class _Progress:
    """How far one attempt is."""

    sha256: Hash
    done_bytes: int
    wanted: Wanted
    resumed: bool = False

    def __post_init__(self) -> None:
        self.resumed = self.done_bytes > 0

    def restart(self) -> None:
        self.sha256 = hashlib.sha256()
        self.done_bytes = 0
        self.resumed = False

    def append(self, file: BinaryIO, chunk: bytes) -> None:
        file.write(chunk)
        self.sha256.update(chunk)
        self.done_bytes += len(chunk)

    def check_not_longer(self, more_bytes: int, partial: Path) -> None:
        if self.done_bytes + more_bytes > self.wanted.size_bytes:
            partial.unlink(missing_ok=True)
            raise ModelFailure(
                Reason.SIZE_MISMATCH,
                f"{self.wanted.uri} has more than the {self.wanted.size_bytes} bytes that the suite declares",
            )

    def check_complete(self, partial: Path) -> None:
        if self.done_bytes < self.wanted.size_bytes:
            partial.unlink(missing_ok=True)
            raise ModelFailure(
                Reason.SIZE_MISMATCH,
                f"{self.wanted.uri} has {self.done_bytes} bytes, but the suite declares {self.wanted.size_bytes}",
            )
        digest = self.sha256.hexdigest()
        if digest != self.wanted.sha256:
            partial.unlink(missing_ok=True)
            raise ModelFailure(
                Reason.DIGEST_MISMATCH,
                f"{self.wanted.uri} has the SHA-256 digest {digest}, but the suite declares {self.wanted.sha256}",
                # The source's file may have changed between the two halves: one fresh download tells.
                transient=self.resumed,
            )


async def _finish(work: Coroutine[None, None, None]) -> None:
    """Await work that must not go on behind our back: a thread cannot be cancelled, only waited for."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def _resume_point(partial: Path, size_bytes: int) -> tuple[Hash, int]:
    """Return the hash and size of what an earlier attempt left; it is worthless if it is not a proper beginning."""
    sha256 = hashlib.sha256()
    done_bytes = 0
    try:
        with partial.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                sha256.update(chunk)
                done_bytes += len(chunk)
    except FileNotFoundError:
        return sha256, 0
    except OSError:
        done_bytes = size_bytes  # unreadable: begin again
    if done_bytes >= size_bytes:
        partial.unlink()
        return hashlib.sha256(), 0
    return sha256, done_bytes


def _given_up(partial: Path, wanted: Wanted, error: OSError) -> ModelFailure:
    """Return the failure, and remove what was written of a file that does not fit: it would keep the disk full."""
    written_bytes = 0
    with contextlib.suppress(OSError):
        written_bytes = partial.stat().st_size
    if is_disk_full(error):
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return disk_failure(error, written_bytes, wanted.size_bytes)


def _continues_at(response: aiohttp.ClientResponse, done_bytes: int) -> bool:
    return response.headers.get("Content-Range", "").startswith(f"bytes {done_bytes}-")


def _check_status(response: aiohttp.ClientResponse, url: str) -> None:
    if response.status in (200, 206):
        return
    answer = f"{url} answered {response.status} {response.reason or ''}".strip()
    if response.status in (404, 410):
        raise ModelFailure(Reason.FILE_NOT_FOUND, answer)
    transient = response.status >= 500 or response.status in (408, 416, 425, 429)
    raise ModelFailure(Reason.UNREACHABLE_SOURCE, answer, transient=transient)


def _open_partial(path: Path, *, resume: bool) -> BinaryIO:
    return path.open("ab" if resume else "wb")


def _open_source(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelFailure(Reason.FILE_NOT_FOUND, f"{path} does not exist on this node") from error
    except (PermissionError, IsADirectoryError) as error:
        raise ModelFailure(Reason.FILE_NOT_FOUND, f"{path} cannot be read: {error.strerror}") from error
    except OSError as error:
        raise _unreadable_source(path, error) from error


async def _read_file(path: Path, file: BinaryIO) -> AsyncIterator[bytes]:
    while True:
        try:
            chunk = await asyncio.to_thread(file.read, _CHUNK_BYTES)
        except OSError as error:
            raise _unreadable_source(path, error) from error
        if not chunk:
            return
        yield chunk


def _unreadable_source(path: Path, error: OSError) -> ModelFailure:
    message = f"{path} cannot be read: {error.strerror}"
    return ModelFailure(Reason.UNREACHABLE_SOURCE, message, transient=True)
