"""Fetching one model file into the store: resumed where the source can, verified while it streams, published whole.

A download that breaks goes on at once as long as each attempt brings a good part of the file; else the agent decides
about the next attempt. All disk work runs in threads because the disk of an edge node (an SD card) can hold a write for
seconds while the server must answer.
"""

import asyncio
import logging
import random
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from fleetfit_api.reasons import Reason

from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.store.bandwidth import Bandwidth
from fleetfit_runtime.store.blobs import BlobStore
from fleetfit_runtime.store.disk_failure import disk_failure, is_disk_full
from fleetfit_runtime.store.partial_file import PartialFile
from fleetfit_runtime.store.source import Source, Stream, Wanted
from fleetfit_runtime.store.sources import Sources
from fleetfit_runtime.store.uri import redacted

logger = logging.getLogger(__name__)

# A line that breaks again and again still brings the file; one that brings next to nothing is left to the agent's
# growing delays. Each resumption reads again what is there, so their number is bounded.
_MOST_RESUMPTIONS = 64
_LEAST_PROGRESS_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What fetching may take of a node.

    Attributes:
        max_file_bytes: size of the largest file; None for any that fits the disk.
        parallel: downloads at the same time.
        bytes_per_second: cap of all downloads together; None for no cap.
        resume_delay_s: longest wait before a download that broke goes on, drawn anew each time.
    """

    max_file_bytes: int | None = None
    parallel: int = 2
    bytes_per_second: int | None = None
    resume_delay_s: float = 0.5


class Fetcher:
    """Brings files into a store.

    Args:
        store: where the files go.
        sources: where they come from.
        rng: source of jitter.
        limits: what fetching may take of the node.
    """

    def __init__(
        self, store: BlobStore, sources: Sources, rng: random.Random, limits: FetchLimits | None = None
    ) -> None:
        self._store = store
        self._sources = sources
        self._rng = rng
        self._limits = limits or FetchLimits()
        self._bandwidth = Bandwidth(self._limits.bytes_per_second)
        self._slots = asyncio.Semaphore(self._limits.parallel)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def ensure(self, wanted: Wanted) -> Path:
        """Return the path of the verified file, fetching it first if it is not in the store.

        Raises:
            ModelFailure: it could not be fetched or is not the file that was declared.
        """
        # Two deployments may want the same file at once: the second waits and finds it there.
        async with self._locks.setdefault(wanted.sha256, asyncio.Lock()):
            partial = PartialFile(self._store.partial_path(wanted.sha256), wanted)
            try:
                present = await asyncio.to_thread(self._store.verified_path, wanted.sha256)
                return present or await self._fetch(self._sources.for_uri(wanted.uri), wanted, partial)
            except OSError as error:
                raise await asyncio.to_thread(_given_up, partial, wanted, error) from error

    async def _fetch(self, source: Source, wanted: Wanted, partial: PartialFile) -> Path:
        self._check_size(wanted)
        async with self._slots:
            most_bytes = await asyncio.to_thread(partial.written_bytes)
            while True:
                try:
                    return await self._attempt(source, wanted, partial)
                except ModelFailure as failure:
                    done_bytes = await asyncio.to_thread(partial.written_bytes)
                    if not _worth_resuming(failure, done_bytes - most_bytes, wanted.size_bytes):
                        raise
                    logger.info(
                        "download broke and is resumed",
                        extra={
                            "uri": redacted(wanted.uri),
                            "done_bytes": done_bytes,
                            "error": failure.message,
                        },
                    )
                    most_bytes = done_bytes
                    await asyncio.sleep(self._limits.resume_delay_s * self._rng.random())

    def _check_size(self, wanted: Wanted) -> None:
        most_bytes = self._limits.max_file_bytes
        if most_bytes is not None and wanted.size_bytes > most_bytes:
            raise ModelFailure(
                Reason.SIZE_MISMATCH,
                f"{redacted(wanted.uri)} is declared with {wanted.size_bytes} bytes, more than the {most_bytes} that "
                "this node takes (FLEETFIT_STORE_MAX_FILE_BYTES)",
            )

    async def _attempt(self, source: Source, wanted: Wanted, partial: PartialFile) -> Path:
        # The store may have vanished, or another disk been mounted over it, since the last attempt.
        await asyncio.to_thread(self._store.make_folders)
        beginning = await asyncio.to_thread(partial.read_beginning)
        missing_bytes = wanted.size_bytes - beginning.size_bytes
        self._store.make_room(missing_bytes)
        await asyncio.to_thread(self._store.empty_trash)
        await asyncio.to_thread(self._store.check_space, missing_bytes)
        async with source.open(wanted, beginning) as stream:
            if not (beginning.size_bytes and stream.start_bytes == beginning.size_bytes):
                partial.restart()
            await asyncio.to_thread(partial.note_validator, stream.validator)
            await self._write(stream, partial, self._bandwidth if source.remote else Bandwidth())
        path = await asyncio.to_thread(self._store.publish, wanted.sha256)
        await asyncio.to_thread(partial.discard_note)
        return path

    async def _write(self, stream: Stream, partial: PartialFile, bandwidth: Bandwidth) -> None:
        # Opened here and not in a thread: a cancelled thread would leave the file open.
        with partial.open() as file:
            async for chunk in stream.chunks:
                partial.check_not_longer(len(chunk))
                await _finish(asyncio.to_thread(partial.append, file, chunk))
                await bandwidth.take(len(chunk))
        await asyncio.to_thread(partial.check_complete)


def _worth_resuming(failure: ModelFailure, progress_bytes: int, size_bytes: int) -> bool:
    least_bytes = max(_LEAST_PROGRESS_BYTES, size_bytes // _MOST_RESUMPTIONS)
    broke = failure.transient and failure.reason == Reason.UNREACHABLE_SOURCE
    return broke and progress_bytes >= least_bytes


async def _finish(work: Coroutine[None, None, None]) -> None:
    """Await work that must not go on behind our back: a thread cannot be cancelled, only waited for."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def _given_up(partial: PartialFile, wanted: Wanted, error: OSError) -> ModelFailure:
    """Return the failure, and remove what was written of a file that does not fit: it would keep the disk full."""
    written_bytes = partial.written_bytes()
    if is_disk_full(error):
        partial.discard()
    return disk_failure(error, written_bytes, wanted.size_bytes)
