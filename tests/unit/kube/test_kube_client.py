import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from fault_api_server import FaultApiServer, until
from fleetfit_kube import ApiClient, Connection
from fleetfit_kube.client import ClientOptions, WatchPatience
from fleetfit_kube.config import StaticToken, TokenFile
from fleetfit_kube.errors import (
    Conflict,
    ConnectionLost,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    WatchStalled,
)
from fleetfit_kube.resources import CONFIG_MAPS


class Sleeps(list[float]):
    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
async def server() -> AsyncIterator[FaultApiServer]:
    async with FaultApiServer().running() as running:
        yield running


@pytest.fixture
def sleeps() -> Sleeps:
    return Sleeps()


@pytest.fixture
async def client(server: FaultApiServer, sleeps: Sleeps) -> AsyncIterator[ApiClient]:
    async with ApiClient(server.connection(), rng=random.Random(1), sleep=sleeps) as connected:
        yield connected


async def test_list_collects_all_pages(server: FaultApiServer, client: ApiClient) -> None:
    for number in range(7):
        server.put(f"m{number}")
    listed = await client.list(CONFIG_MAPS, limit=3)
    assert [item["metadata"]["name"] for item in listed.items] == [f"m{n}" for n in range(7)]
    assert listed.resource_version == str(server.version)
    assert server.page_size_seen == ["3", "3", "3"]


async def test_reads_are_repeated_when_the_server_has_trouble(
    server: FaultApiServer, client: ApiClient, sleeps: Sleeps
) -> None:
    server.put("a")
    server.fail_next(503)
    server.cut_next()
    assert (await client.get(CONFIG_MAPS, "a", "default"))["metadata"]["name"] == "a"
    assert len(sleeps) >= 1
    assert all(0 < delay <= 5 for delay in sleeps)


async def test_reads_give_up_after_the_stated_attempts(server: FaultApiServer, client: ApiClient) -> None:
    server.fail_next(500, times=10)
    with pytest.raises(Unavailable):
        await client.get(CONFIG_MAPS, "a", "default")
    assert len(server.requests) == ClientOptions().attempts


async def test_too_many_requests_waits_as_long_as_the_server_asks_even_for_writes(
    server: FaultApiServer, client: ApiClient, sleeps: Sleeps
) -> None:
    server.fail_next(429, retry_after="7")
    await client.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "default")
    assert sleeps == [7.0]
    assert server.verbs() == ["POST", "POST"]


async def test_too_many_requests_in_the_end_says_how_long_to_wait(
    server: FaultApiServer, client: ApiClient
) -> None:
    server.fail_next(429, retry_after="3", times=9)
    with pytest.raises(TooManyRequests) as caught:
        await client.get(CONFIG_MAPS, "a", "default")
    assert caught.value.retry_after_s == 3.0


async def test_a_write_of_unknown_outcome_is_not_repeated(server: FaultApiServer, client: ApiClient) -> None:
    server.fail_next(503)
    with pytest.raises(Unavailable):
        await client.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "default")
    assert server.verbs() == ["POST"]


async def test_apply_is_repeated_because_it_is_idempotent(server: FaultApiServer, client: ApiClient) -> None:
    server.fail_next(503)
    body = {"metadata": {"name": "a", "namespace": "default"}}
    await client.apply(CONFIG_MAPS, body, field_manager="tests")
    assert server.verbs() == ["PATCH", "PATCH"]
    assert "fieldManager=tests&force=true" in server.requests[-1][1]


@pytest.mark.parametrize(
    ("status", "kind"), [(403, Forbidden), (404, NotFound), (409, Conflict), (410, Expired), (422, Invalid)]
)
async def test_refusals_are_typed_and_final(
    server: FaultApiServer, client: ApiClient, status: int, kind: type[Exception]
) -> None:
    server.fail_next(status)
    with pytest.raises(kind, match="injected by the test"):
        await client.get(CONFIG_MAPS, "a", "default")
    assert len(server.requests) == 1


async def test_an_answer_that_is_not_json_is_an_error_with_its_text(
    server: FaultApiServer, client: ApiClient
) -> None:
    server.planned.append(web.Response(status=404, text="default backend"))
    with pytest.raises(NotFound, match="default backend"):
        await client.get(CONFIG_MAPS, "a", "default")


async def test_no_server_is_connection_lost(sleeps: Sleeps) -> None:
    async with ApiClient(Connection("http://127.0.0.1:1"), sleep=sleeps) as client:
        with pytest.raises(ConnectionLost, match=r"^no answer from the API server: GET /"):
            await client.get(CONFIG_MAPS, "a", "default")
    assert len(sleeps) == ClientOptions().attempts - 1


async def test_a_refused_token_is_read_again(server: FaultApiServer, sleeps: Sleeps) -> None:
    class RotatedToken(StaticToken):
        fresh = False

        def token(self) -> str:
            return "new" if RotatedToken.fresh else "old"

        def refresh(self) -> None:
            RotatedToken.fresh = True

    server.put("a")
    server.fail_next(401)
    async with ApiClient(Connection(server.url, credentials=RotatedToken("x")), sleep=sleeps) as client:
        await client.get(CONFIG_MAPS, "a", "default")
    assert server.tokens == ["Bearer old", "Bearer new"]


async def test_a_watch_whose_token_is_refused_has_it_read_again(
    server: FaultApiServer, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    async with ApiClient(Connection(server.url, credentials=TokenFile(path))) as client:
        await client.list(CONFIG_MAPS)
        path.write_text("new")
        server.fail_next(401)
        with pytest.raises(Unauthorized):
            async for _ in client.watch(CONFIG_MAPS, "1"):
                pass
        await client.list(CONFIG_MAPS)
    assert server.tokens == ["Bearer old", "Bearer old", "Bearer new"]


async def test_a_token_that_is_not_there_yet_is_waited_for(server: FaultApiServer, tmp_path: Path) -> None:
    path = tmp_path / "token"

    async def put_there(_seconds: float) -> None:
        path.write_text("late")

    async with ApiClient(Connection(server.url, credentials=TokenFile(path)), sleep=put_there) as client:
        await client.list(CONFIG_MAPS)
    assert server.tokens == ["Bearer late"]


async def test_responses_are_observed_for_metrics(server: FaultApiServer) -> None:
    seen: list[tuple[str, int]] = []
    async with ApiClient(
        server.connection(), sleep=Sleeps(), on_response=lambda verb, code: seen.append((verb, code))
    ) as client:
        server.fail_next(503)
        await client.list(CONFIG_MAPS)
    assert seen == [("list", 503), ("list", 200)]


async def test_watch_yields_long_lines_cut_anywhere(server: FaultApiServer, client: ApiClient) -> None:
    stream = client.watch(CONFIG_MAPS, "1")
    received = []
    text = "ä\\n" * 400_000

    async def write() -> None:
        await until(lambda: server.watching)
        server.put("a", text=text)
        server.bookmark()

    writer = asyncio.create_task(write())
    async for event in stream:
        received.append(event)
        if event.type == "BOOKMARK":
            break
    await stream.aclose()  # type: ignore[attr-defined]  # an asynchronous generator has it
    await writer
    assert [event.type for event in received] == ["ADDED", "BOOKMARK"]
    assert received[0].object["data"]["text"] == text


async def test_watch_that_expires_says_so(server: FaultApiServer, client: ApiClient) -> None:
    server.expire_watches = 1
    with pytest.raises(Expired):
        async for _ in client.watch(CONFIG_MAPS, "1"):
            pass


async def test_silent_watch_is_stalled(client: ApiClient) -> None:
    with pytest.raises(WatchStalled):
        async for _ in client.watch(CONFIG_MAPS, "1", patience=WatchPatience(inactivity_s=0.05)):
            pass
