"""The journal and the desk on a real disk: what was rated is there after a restart, whatever the disk holds."""

import json
import random
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

import pytest
from fleetfit_runtime.ratings.ask import Asker
from fleetfit_runtime.ratings.book import Outcome, Rating, RatingTerms
from fleetfit_runtime.ratings.desk import RatingDesk
from fleetfit_runtime.ratings.given import GivenRating, RatingError
from fleetfit_runtime.ratings.journal import JournalEntry, RatingJournal

T0 = 1_000_000.0


@dataclass(frozen=True)
class Answering:
    """What answers under a name."""

    name: str
    variant: str
    sha256: str


MODEL = Answering("digits", "fp32", "a" * 64)
ADDRESS = "10.0.0.7"


def desk_on(directory: Path, largest_bytes: int = 1 << 20, now_s: float = T0) -> RatingDesk:
    """Return the desk of a runtime that has just started."""
    desk = RatingDesk(
        RatingJournal(directory, largest_bytes),
        Asker(random.Random(1), lambda: now_s),
        [ip_network("10.9.0.0/16")],
        lambda: now_s,
        RatingTerms(per_hour=10_000, per_day=10_000, voices_per_peer=1000),
    )
    desk.recover()
    return desk


def rate(
    desk: RatingDesk, rating_id: str, score: float = 0.5, address: str = ADDRESS, **over: object
) -> Outcome:
    given = GivenRating.model_validate({"id": rating_id, "score": score} | over)
    return desk.rate(MODEL, given, address).outcome


def journal_bytes(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.glob("journal*"))


async def test_a_restart_keeps_ratings_ids_and_who_is_who(tmp_path: Path) -> None:
    before = desk_on(tmp_path)
    for index in range(5):
        assert rate(before, f"r{index}", 0.8, user=f"u{index}") is Outcome.ACCEPTED
    assert await before.flush()
    after = desk_on(tmp_path)
    assert after.summaries("digits") == before.summaries("digits")
    assert rate(after, "r3") is Outcome.DUPLICATE
    rate(after, "new", 0.0, user="u3")
    assert after.summaries("digits")[0].voices < 5  # the same user as before the restart, not a sixth


async def test_nothing_is_lost_when_the_journal_gives_way_to_a_snapshot(tmp_path: Path) -> None:
    desk = desk_on(tmp_path, largest_bytes=2000)
    for index in range(100):
        rate(desk, f"r{index}", index / 100, user=f"u{index}", context={"app": "x" * 50})
        if index % 7 == 0:
            assert await desk.flush()
        assert journal_bytes(tmp_path) < 2 * 6000
    assert await desk.flush()
    assert desk_on(tmp_path).summaries("digits") == desk.summaries("digits")
    assert "x" * 50 in (tmp_path / "journal.previous.jsonl").read_text()


async def test_a_power_cut_between_snapshot_and_new_journal_counts_nothing_twice(tmp_path: Path) -> None:
    desk = desk_on(tmp_path, largest_bytes=1)
    for index in range(4):
        rate(desk, f"r{index}", 0.9, user=f"u{index}")
    assert await desk.flush()
    (tmp_path / "journal.previous.jsonl").replace(tmp_path / "journal.jsonl")
    assert desk_on(tmp_path).summaries("digits") == desk.summaries("digits")


async def test_a_torn_line_costs_itself_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = desk_on(tmp_path)
    rate(first, "r1", 0.2, user="u1")
    assert await first.flush()  # with the snapshot that keeps the secret
    rate(first, "r2", 0.2, user="u2")
    assert await first.flush()
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    second = desk_on(tmp_path)
    assert "damaged" in caplog.text
    assert rate(second, "r2", 0.2, user="u2") is Outcome.ACCEPTED
    assert await second.flush()
    assert rate(desk_on(tmp_path), "r2") is Outcome.DUPLICATE


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 300, b"{}", b'{"salt": "ab"}', b'{"salt": 3, "books": []}', b"[1]"]
)
async def test_a_damaged_snapshot_is_as_good_as_none(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "snapshot.json").write_bytes(content)
    desk = desk_on(tmp_path)
    assert desk.summaries("digits") == []
    assert bool(caplog.records) == bool(content)
    assert rate(desk, "r1") is Outcome.ACCEPTED
    assert await desk.flush()
    assert rate(desk_on(tmp_path), "r1") is Outcome.DUPLICATE


async def test_a_damaged_book_leaves_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    desk = desk_on(tmp_path, largest_bytes=1)
    rate(desk, "r1")
    assert await desk.flush()
    snapshot = json.loads((tmp_path / "snapshot.json").read_bytes())
    snapshot["books"]["broken"] = {"ids": 3}
    (tmp_path / "snapshot.json").write_text(json.dumps(snapshot))
    assert rate(desk_on(tmp_path), "r1") is Outcome.DUPLICATE
    assert "ratings are damaged" in caplog.text


async def test_a_disk_that_refuses_costs_nothing_once_it_takes_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "ratings"
    blocked.write_text("a file where the directory should be")
    desk = desk_on(blocked)
    for index in range(3):
        rate(desk, f"r{index}", user=f"u{index}")
    assert not await desk.flush()
    assert "cannot be written" in caplog.text
    assert len(desk.summaries("digits")) == 1
    blocked.unlink()
    assert await desk.flush()
    assert desk_on(blocked).summaries("digits") == desk.summaries("digits")


async def test_users_and_addresses_are_on_the_disk_as_hashes_of_this_node_only(tmp_path: Path) -> None:
    for name in ("one", "two"):
        desk = desk_on(tmp_path / name, largest_bytes=1)
        rate(desk, "r1", user="alice@example.org")
        assert await desk.flush()
    texts = ["".join(file.read_text() for file in (tmp_path / name).iterdir()) for name in ("one", "two")]
    assert all("alice" not in text and ADDRESS not in text for text in texts)
    sources = [json.loads(line)["rating"]["source"] for line in _journal_lines(tmp_path)]
    assert len(set(sources)) == 2


def _journal_lines(directory: Path) -> list[str]:
    return [
        line
        for file in directory.rglob("journal.previous.jsonl")
        for line in file.read_text().splitlines()
        if line
    ]


async def test_an_entry_survives_its_line() -> None:
    entry = JournalEntry(
        model="digits",
        received_s=T0,
        rating=Rating("i", "s", None, "fp32", "a" * 64, T0, 0.5, True, "p"),
        context={"app": "x", "step": 3.0, "night": True},
    )
    assert JournalEntry.model_validate_json(entry.model_dump_json()) == entry


async def test_what_cannot_be_rated_is_said(tmp_path: Path) -> None:
    desk = desk_on(tmp_path)
    rate(desk, "r1")
    desk.note(Answering("digits", "int8", "b" * 64), "req", 0.2, 3)
    for over, message in [
        ({"variant": "fp16"}, "no variant 'fp16'; it has 'fp32'"),
        ({"request_id": "req", "variant": "fp32"}, "was answered by 'int8', not by 'fp32'"),
    ]:
        with pytest.raises(RatingError, match=message):
            rate(desk, "x", **over)
    desk.note(MODEL, "no-class", 0.2, None)
    with pytest.raises(RatingError, match="no class is known"):
        rate(desk, "x", request_id="no-class", label=3)
    assert rate(desk, "late", request_id="forgotten") is Outcome.LATE
    assert rate(desk, "known", request_id="forgotten", variant="fp32") is Outcome.ACCEPTED


async def test_a_remembered_request_of_a_former_variant_counts_for_it(tmp_path: Path) -> None:
    desk = desk_on(tmp_path)
    desk.note(Answering("digits", "int8", "b" * 64), "before", 0.2, 3)
    assert rate(desk, "r1", 0.1, request_id="before", label=3) is Outcome.ACCEPTED
    (summary,) = desk.summaries("digits")
    assert (summary.variant, summary.sha256, summary.latency_p95_seconds) == ("int8", "b" * 64, 0.2)
    assert (summary.accuracy, summary.labels) == (1.0, 1)
    assert rate(desk, "r2", variant="int8") is Outcome.LATE


async def test_a_request_that_a_replaced_file_answered_is_late(tmp_path: Path) -> None:
    desk = desk_on(tmp_path)
    desk.note(Answering("digits", "fp32", "b" * 64), "before", 0.2, 3)
    assert rate(desk, "r1", request_id="before") is Outcome.LATE


async def test_a_trusted_address_speaks_for_many_users(tmp_path: Path) -> None:
    outcomes = {}
    for address in ("10.9.1.1", ADDRESS):
        desk = RatingDesk(
            RatingJournal(tmp_path / address),
            Asker(random.Random(1), lambda: T0),
            [ip_network("10.9.0.0/16")],
            lambda: T0,
        )
        for index in range(20):
            rate(desk, f"r{index}", user=f"u{index}", address=address)
        outcomes[address] = desk.summaries("digits")[0].voices
    assert outcomes["10.9.1.1"] > 15
    assert outcomes[ADDRESS] < 4.1
