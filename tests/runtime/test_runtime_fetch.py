"""Fetching from a real HTTP server: resume, changed files, broken connections, refusals."""

import hashlib
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
from fleetfit_runtime.store.fetch import Fetcher, Wanted

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Source:
    """A model source whose behaviour a test sets."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.status = 200
        self.ranges = True
        self.break_after: int | None = None
        self.seen_ranges: list[str] = []
        self.base = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        asked = request.headers.get("Range", "")
        self.seen_ranges.append(asked)
        if self.status != 200:
            return web.Response(status=self.status)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges else 0
        body = self.content[start:]
        response = web.StreamResponse(status=206 if start else 200)
        response.content_length = len(body)
        if start:
            response.headers["Content-Range"] = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
        await response.prepare(request)
        if self.break_after is not None:
            await response.write(body[: self.break_after])
            assert request.transport is not None
            request.transport.close()
            return response
        await response.write(body)
        return response


@pytest.fixture
async def source() -> AsyncIterator[Source]:
    source = Source()
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
        yield Fetcher(store, http, idle_timeout_s=5.0)


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
    source.break_after, source.ranges = 600_000, ranges
    failure = await failure_of(fetcher, wanted(source))
    assert (failure.reason, failure.transient) == (Reason.UNREACHABLE_SOURCE, True)
    done = (tmp_path / "partial" / SHA256).stat().st_size
    assert 0 < done <= 600_000
    source.break_after = None
    path = await fetcher.ensure(wanted(source))
    assert path.read_bytes() == CONTENT
    assert source.seen_ranges[1] == f"bytes={done}-"


async def test_file_that_changed_between_the_halves_is_fetched_afresh(
    fetcher: Fetcher, source: Source
) -> None:
    source.content, source.break_after = b"z" * len(CONTENT), 600_000
    await failure_of(fetcher, wanted(source))
    source.content, source.break_after = CONTENT, None
    failure = await failure_of(fetcher, wanted(source))
    assert (failure.reason, failure.transient) == (Reason.DIGEST_MISMATCH, True)
    assert (await fetcher.ensure(wanted(source))).read_bytes() == CONTENT


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
