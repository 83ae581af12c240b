import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fault_api_server import FaultApiServer, until
from fleetfit_kube import ApiClient, ObjectKey, Reflector, ReflectorOptions
from fleetfit_kube.resources import CONFIG_MAPS


class Journal(list[tuple[str, str | None, str | None]]):
    def __call__(self, key: ObjectKey, old: str | None, new: str | None) -> None:
        self.append((key.name, old, new))


def colour(document: dict[str, Any]) -> str | None:
    value = document["data"].get("colour")
    if value == "unreadable":
        raise ValueError("no such colour")
    return None if value == "ignored" else value


FAST = ReflectorOptions(inactivity_timeout_s=5.0, backoff_cap_s=0.01)


@pytest.fixture
async def server() -> AsyncIterator[FaultApiServer]:
    async with FaultApiServer().running() as running:
        yield running


@pytest.fixture
def journal() -> Journal:
    return Journal()


@asynccontextmanager
async def reflecting(
    server: FaultApiServer, journal: Journal, options: ReflectorOptions = FAST
) -> AsyncIterator[Reflector[str]]:
    async with ApiClient(server.connection()) as client:
        reflector = Reflector(
            client, CONFIG_MAPS, colour, on_change=journal, options=options, rng=random.Random(3)
        )
        task = asyncio.create_task(reflector.run())
        try:
            yield reflector
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled()


def colours(reflector: Reflector[str]) -> dict[str, str]:
    return {key.name: value for key, value in reflector.items.items()}


async def test_follows_creation_change_and_deletion(server: FaultApiServer, journal: Journal) -> None:
    server.put("a", colour="red")
    async with reflecting(server, journal) as reflector:
        await reflector.synced.wait()
        assert colours(reflector) == {"a": "red"}
        await until(lambda: server.watching)
        server.put("b", colour="blue")
        server.put("a", colour="green")
        server.delete("b")
        await until(lambda: len(journal) == 4)
    assert journal == [
        ("a", None, "red"),
        ("b", None, "blue"),
        ("a", "red", "green"),
        ("b", "blue", None),
    ]


async def test_a_change_outside_the_projection_is_no_change(server: FaultApiServer, journal: Journal) -> None:
    server.put("a", colour="red", heartbeat="1")
    async with reflecting(server, journal) as reflector:
        await until(lambda: server.watching)
        server.put("a", colour="red", heartbeat="2")
        server.put("b", colour="blue")
        await until(lambda: "b" in colours(reflector))
    assert journal == [("a", None, "red"), ("b", None, "blue")]


async def test_expired_watch_lists_again_and_reports_silent_deletions(
    server: FaultApiServer, journal: Journal
) -> None:
    server.put("a", colour="red")
    server.put("gone", colour="grey")
    async with reflecting(server, journal) as reflector:
        await until(lambda: server.watching)
        server.delete("gone", announce=False)
        server.expire_watches = 1
        server.end_watches()
        await until(lambda: colours(reflector) == {"a": "red"})
        assert reflector.stats.restarts["Expired"] == 1
    assert ("gone", "grey", None) in journal


async def test_periodic_relist_repairs_what_a_watch_never_told(
    server: FaultApiServer, journal: Journal
) -> None:
    server.put("gone", colour="grey")
    options = ReflectorOptions(relist_after_s=0.05, backoff_cap_s=0.01)
    async with reflecting(server, journal, options) as reflector:
        await until(lambda: server.watching)
        server.delete("gone", announce=False)
        server.end_watches()
        await until(lambda: not reflector.items)


async def test_stalled_watch_is_replaced(server: FaultApiServer, journal: Journal) -> None:
    options = ReflectorOptions(inactivity_timeout_s=0.05, backoff_cap_s=0.01)
    async with reflecting(server, journal, options) as reflector:
        server.silent = True
        await until(lambda: reflector.stats.restarts["Stalled"] >= 2)
        server.silent = False
        assert "silent" in reflector.stats.last_error


async def test_watch_resumes_after_the_last_event_without_a_new_list(
    server: FaultApiServer, journal: Journal
) -> None:
    async with reflecting(server, journal):
        await until(lambda: server.watching)
        server.put("a", colour="red")
        await until(lambda: journal)
        version = server.version
        server.end_watches()
        await until(lambda: sum("watch=true" in path for _, path in server.requests) == 2)
    lists = [path for _, path in server.requests if "watch=true" not in path]
    watches = [path for _, path in server.requests if "watch=true" in path]
    assert len(lists) == 1
    assert f"resourceVersion={version}&" in watches[1] + "&"


async def test_starts_while_the_server_refuses(server: FaultApiServer, journal: Journal) -> None:
    server.put("a", colour="red")
    server.fail_next(403, reason="Forbidden", times=3)
    async with reflecting(server, journal) as reflector:
        await until(lambda: reflector.synced.is_set())
        assert reflector.stats.restarts["Forbidden"] == 3
        assert colours(reflector) == {"a": "red"}


async def test_objects_that_cannot_be_read_keep_their_last_value(
    server: FaultApiServer, journal: Journal
) -> None:
    server.put("a", colour="red")
    async with reflecting(server, journal) as reflector:
        await until(lambda: server.watching)
        server.put("a", colour="unreadable")
        server.put("b", colour="blue")
        await until(lambda: "b" in colours(reflector))
        assert colours(reflector)["a"] == "red"
        assert reflector.stats.undecodable == 1


async def test_objects_that_decode_to_none_are_left_out(server: FaultApiServer, journal: Journal) -> None:
    server.put("a", colour="red")
    async with reflecting(server, journal) as reflector:
        await until(lambda: server.watching)
        server.put("a", colour="ignored")
        await until(lambda: not reflector.items)
    assert journal[-1] == ("a", "red", None)


async def test_own_write_is_visible_at_once_and_older_events_do_not_undo_it(
    server: FaultApiServer, journal: Journal
) -> None:
    old = server.put("a", colour="red")
    async with reflecting(server, journal) as reflector:
        await until(lambda: server.watching)
        server.version += 10
        written = {
            "metadata": {**old["metadata"], "resourceVersion": str(server.version)},
            "data": {"colour": "own"},
        }
        reflector.store(written)
        assert colours(reflector) == {"a": "own"}
        earlier = {
            "metadata": {**old["metadata"], "resourceVersion": str(server.version - 5)},
            "data": {"colour": "earlier"},
        }
        server.send_raw({"type": "MODIFIED", "object": earlier})
        server.put("b", colour="blue")
        await until(lambda: "b" in colours(reflector))
        assert colours(reflector)["a"] == "own"


async def test_late_answer_to_an_own_write_does_not_bring_back_a_deleted_object(
    server: FaultApiServer, journal: Journal
) -> None:
    written = server.put("a", colour="red")
    async with reflecting(server, journal) as reflector:
        await until(lambda: server.watching)
        server.delete("a")
        await until(lambda: not reflector.items)
        reflector.store(written)
        assert not reflector.items


async def test_thousands_of_objects_in_pages(server: FaultApiServer, journal: Journal) -> None:
    for number in range(1200):
        server.put(f"m{number}", colour=str(number))
    async with reflecting(server, journal) as reflector:
        await reflector.synced.wait()
        assert len(reflector.items) == 1200
    assert server.page_size_seen == ["500"] * 3


async def test_a_refresh_sees_what_a_slow_watch_has_not_told_and_is_not_undone_by_it(
    server: FaultApiServer, journal: Journal
) -> None:
    async with reflecting(server, journal) as reflector:
        await until(lambda: server.watching)
        server.silent = True
        late = server.put("a", colour="red")
        await reflector.refresh()
        assert colours(reflector) == {"a": "red"}
        server.delete("a", announce=False)
        await reflector.refresh()
        assert not reflector.items
        server.silent = False
        server.send_raw({"type": "ADDED", "object": late})
        server.put("b", colour="blue")
        await until(lambda: "b" in colours(reflector))
        assert colours(reflector) == {"b": "blue"}


async def test_after_a_restore_from_a_backup_the_older_state_is_taken(
    server: FaultApiServer, journal: Journal
) -> None:
    server.version = 5000
    server.put("a", colour="red")
    async with reflecting(server, journal) as reflector:
        await until(lambda: server.watching)
        server.delete("a", announce=False)
        server.version = 200
        server.put("b", colour="blue")
        server.expire_watches = 1
        server.end_watches()
        await until(lambda: colours(reflector) == {"b": "blue"})
