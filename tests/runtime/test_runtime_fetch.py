"""Fetching from a real HTTP server: resume, changed files, broken connections, refusals."""

import asyncio
import hashlib
import random
import resource
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from fleetfit_api.reasons import Reason
from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.store.blobs import BlobStore
from fleetfit_runtime.store.credentials import Credentials
from fleetfit_runtime.store.fetch import Fetcher, FetchLimits
from fleetfit_runtime.store.source import Wanted
from fleetfit_runtime.store.sources import Sources, SourceTools

CONTENT = bytes(range(256)) * 4096
BUFFERED_BYTES = 1 << 16
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Source:
    """A model source whose behaviour a test sets."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.status = 200
        self.ranges = True
        self.break_after: int | None = None
        self.etag = '"one"'
        self.authorizations: list[str] = []
        self.seen_ranges: list[str] = []
        self.base = ""
        self.partial = Path()

    async def until_written(self, size_bytes: int) -> None:
        """Wait until what was sent is on the disk: a client may lose what it has not read."""
        least_bytes = min(size_bytes, len(self.content)) - BUFFERED_BYTES
        async with asyncio.timeout(5):
            while not self.partial.exists() or self.partial.stat().st_size < least_bytes:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.005)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        asked = request.headers.get("Range", "")
        self.seen_ranges.append(asked)
        self.authorizations.append(request.headers.get("Authorization", ""))
        if self.status != 200:
            return web.Response(status=self.status)
        same = request.headers.get("If-Range", self.etag) == self.etag
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges and same else 0
        if start > len(self.content):
            return web.Response(status=416)
        body = self.content[start:]
        response = web.StreamResponse(status=206 if start else 200)
        response.content_length = len(body)
        response.headers["ETag"] = self.etag
        if start:
            response.headers["Content-Range"] = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
        await response.prepare(request)
        if self.break_after is not None:
            await response.write(body[: self.break_after])
            await self.until_written(start + self.break_after)
            assert request.transport is not None
            request.transport.close()
            return response
        await response.write(body)
        return response


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[Source]:
    source = Source()
    source.partial = tmp_path / "partial" / SHA256
    application = web.Application()
    application.router.add_get("/m.onnx", source.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    source.base = f"http://127.0.0.1:{runner.addresses[0][1]}/m.onnx"
    yield source
    await runner.cleanup()


@pytest.fixture
async def fetcher(tmp_path: Path) -> AsyncIterator[Fetcher]:
    store = BlobStore(tmp_path)
    store.open()
    async with aiohttp.ClientSession() as http:
        yield make_fetcher(store, http)


def make_fetcher(
    store: BlobStore,
    http: aiohttp.ClientSession,
    limits: FetchLimits | None = None,
    credentials: Credentials | None = None,
) -> Fetcher:
    tools = SourceTools(lambda: http, credentials or Credentials(), idle_timeout_s=5.0)
    return Fetcher(store, Sources(tools), random.Random(1), limits or FetchLimits(resume_delay_s=0.01))


def wanted(source: Source) -> Wanted:
    return Wanted(source.base, SHA256, len(CONTENT))


async def failure_of(fetcher: Fetcher, want: Wanted) -> ModelFailure:
    with pytest.raises(ModelFailure) as caught:
        await fetcher.ensure(want)
    return caught.value


async def test_file_is_fetched_once(fetcher: Fetcher, source: Source) -> None:
    path = await fetcher.ensure(wanted(source))
    assert path.read_bytes() == CONTENT
    assert await fetcher.ensure(wanted(source)) == path
    assert source.seen_ranges == [""]


async def test_store_that_vanished_is_made_again(fetcher: Fetcher, source: Source, tmp_path: Path) -> None:
    for _ in range(2):
        for folder in ("blobs", "partial", "trash"):
            shutil.rmtree(tmp_path / folder)
        assert (await fetcher.ensure(wanted(source))).read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False], ids=["with-ranges", "without-ranges"])
async def test_broken_download_goes_on_where_it_stopped(
    fetcher: Fetcher, source: Source, tmp_path: Path, ranges: bool
) -> None:
    source.break_after, source.ranges = 200_000, ranges
    failure = await failure_of(fetcher, wanted(source))
    assert (failure.reason, failure.transient) == (Reason.UNREACHABLE_SOURCE, True)
    done = (tmp_path / "partial" / SHA256).stat().st_size
    assert 0 < done <= 200_000
    source.break_after = None
    path = await fetcher.ensure(wanted(source))
    assert path.read_bytes() == CONTENT
    assert source.seen_ranges[1] == f"bytes={done}-"


async def test_file_that_changed_between_the_halves_is_fetched_afresh(
    fetcher: Fetcher, source: Source
) -> None:
    source.content, source.break_after = b"z" * len(CONTENT), 200_000
    await failure_of(fetcher, wanted(source))
    source.content, source.break_after = CONTENT, None
    failure = await failure_of(fetcher, wanted(source))
    assert (failure.reason, failure.transient) == (Reason.DIGEST_MISMATCH, True)
    assert (await fetcher.ensure(wanted(source))).read_bytes() == CONTENT


async def test_version_that_changed_is_not_asked_for_its_second_half(
    fetcher: Fetcher, source: Source, tmp_path: Path
) -> None:
    source.content, source.break_after = b"z" * len(CONTENT), 200_000
    await failure_of(fetcher, wanted(source))
    source.content, source.etag, source.break_after = CONTENT, '"two"', None
    assert (await fetcher.ensure(wanted(source))).read_bytes() == CONTENT
    assert list((tmp_path / "partial").iterdir()) == []


async def test_beginning_that_is_longer_than_the_source_is_fetched_anew(
    fetcher: Fetcher, source: Source, tmp_path: Path
) -> None:
    source.content = CONTENT[:1000]
    (tmp_path / "partial" / SHA256).write_bytes(b"z" * 2000)
    failure = await failure_of(fetcher, wanted(source))
    assert failure.reason == Reason.SIZE_MISMATCH
    assert source.seen_ranges == ["bytes=2000-", ""]


async def test_download_that_gets_on_is_resumed_at_once(fetcher: Fetcher, source: Source) -> None:
    source.break_after = 350_000
    assert (await fetcher.ensure(wanted(source))).read_bytes() == CONTENT
    begins = [int(each.removeprefix("bytes=").rstrip("-") or 0) for each in source.seen_ranges]
    assert len(begins) == 3 or len(begins) == 4
    assert begins == sorted(begins)


async def test_download_that_does_not_get_on_is_left_to_the_caller(fetcher: Fetcher, source: Source) -> None:
    source.break_after, source.ranges = 350_000, False
    failure = await failure_of(fetcher, wanted(source))
    assert failure.transient
    assert len(source.seen_ranges) == 2, "the second attempt came no further than the first"


async def test_signature_in_a_query_is_never_shown(fetcher: Fetcher, source: Source) -> None:
    source.status = 403
    uri = f"{source.base}?X-Amz-Signature=1234567890"
    failure = await failure_of(fetcher, Wanted(uri, SHA256, len(CONTENT)))
    assert "m.onnx?... answered 403" in failure.message
    source.status, source.content = 200, CONTENT + b"more"
    failure = await failure_of(fetcher, Wanted(uri, SHA256, len(CONTENT)))
    assert "1234567890" not in failure.message


async def test_file_above_the_node_s_limit_is_refused_unasked(source: Source, tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    store.open()
    async with aiohttp.ClientSession() as http:
        fetcher = make_fetcher(store, http, FetchLimits(max_file_bytes=1000))
        failure = await failure_of(fetcher, wanted(source))
    assert (failure.reason, failure.transient) == (Reason.SIZE_MISMATCH, False)
    assert source.seen_ranges == []


async def test_bandwidth_is_capped_over_all_downloads(source: Source, tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    store.open()
    content = CONTENT[: len(CONTENT) // 2]
    half = Wanted(source.base, hashlib.sha256(content).hexdigest(), len(content))
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession() as http:
        fetcher = make_fetcher(store, http, FetchLimits(bytes_per_second=4 * len(CONTENT)))
        begun_s = loop.time()
        await fetcher.ensure(wanted(source))
        source.content = content
        await fetcher.ensure(half)
    assert loop.time() - begun_s >= 1.5 / 4


async def test_no_more_downloads_than_allowed_run_at_once(source: Source, tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    store.open()
    async with aiohttp.ClientSession() as http:
        fetcher = make_fetcher(store, http, FetchLimits(parallel=2, bytes_per_second=len(CONTENT)))
        others = [Wanted(f"{source.base}?{index}", f"{index:064}", len(CONTENT)) for index in range(5)]
        tasks = [asyncio.create_task(fetcher.ensure(each)) for each in others]
        async with asyncio.timeout(10):
            while len(source.seen_ranges) < 2:  # noqa: ASYNC110 - what the server saw has no event
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert len(source.seen_ranges) == 2
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_authorization_goes_only_to_the_uris_of_its_secret(source: Source, tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "store")
    store.open()
    for name, values in {
        "bound": {"uriPrefix": source.base.removesuffix("/m.onnx"), "HTTP_AUTHORIZATION": "Bearer abc"},
        "elsewhere": {"uriPrefix": "http://elsewhere.example", "HTTP_AUTHORIZATION": "Bearer other"},
        "unbound": {"HTTP_AUTHORIZATION": "Bearer unbound"},
    }.items():
        (tmp_path / "secrets" / name).mkdir(parents=True)
        for key, value in values.items():
            (tmp_path / "secrets" / name / key).write_text(value + "\n")
    async with aiohttp.ClientSession() as http:
        fetcher = make_fetcher(store, http, credentials=Credentials(sorted((tmp_path / "secrets").iterdir())))
        await fetcher.ensure(wanted(source))
    assert source.authorizations == ["Bearer abc"]


@pytest.mark.parametrize(
    ("status", "reason", "transient"),
    [
        (404, Reason.FILE_NOT_FOUND, False),
        (410, Reason.FILE_NOT_FOUND, False),
        (403, Reason.UNREACHABLE_SOURCE, False),
        (429, Reason.UNREACHABLE_SOURCE, True),
        (500, Reason.UNREACHABLE_SOURCE, True),
        (503, Reason.UNREACHABLE_SOURCE, True),
    ],
)
async def test_refusal_has_a_reason(
    fetcher: Fetcher, source: Source, status: int, reason: Reason, transient: bool
) -> None:
    source.status = status
    failure = await failure_of(fetcher, wanted(source))
    assert (failure.reason, failure.transient) == (reason, transient)
    assert str(status) in failure.message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (CONTENT + b"more", Reason.SIZE_MISMATCH),
        (CONTENT[:-1], Reason.SIZE_MISMATCH),
        (CONTENT[:-1] + b"x", Reason.DIGEST_MISMATCH),
    ],
    ids=["longer", "shorter", "other"],
)
async def test_wrong_content_is_never_published(
    fetcher: Fetcher, source: Source, tmp_path: Path, content: bytes, reason: Reason
) -> None:
    source.content = content
    failure = await failure_of(fetcher, wanted(source))
    assert (failure.reason, failure.transient) == (reason, False)
    assert list((tmp_path / "blobs").iterdir()) == []
    assert list((tmp_path / "partial").iterdir()) == []


@pytest.fixture
def file_size_limit() -> Iterator[None]:
    """Let the kernel refuse to write files beyond 300,000 bytes, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("file_size_limit")
async def test_disk_that_becomes_full_while_writing_is_said_and_left_clean(
    fetcher: Fetcher, source: Source, tmp_path: Path
) -> None:
    failure = await failure_of(fetcher, wanted(source))
    assert (failure.reason, failure.transient) == (Reason.DISK_FULL, True)
    assert list((tmp_path / "partial").iterdir()) == []


async def test_url_that_is_none_is_permanent(fetcher: Fetcher) -> None:
    failure = await failure_of(fetcher, Wanted("http://[broken/m.onnx", SHA256, 1))
    assert (failure.reason, failure.transient) == (Reason.UNSUPPORTED_URI, False)
