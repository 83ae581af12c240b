"""What a rating may say, who it is from, which requests are remembered, whom to ask, and when summaries are news."""

import contextlib
import random
import threading
from functools import partial
from ipaddress import ip_network

import pytest
from fleetfit_api.model_status import RatingSummary
from fleetfit_runtime.ratings.ask import Asker
from fleetfit_runtime.ratings.given import RatingError, parse_rating
from fleetfit_runtime.ratings.recent_requests import AnsweredRequest, RecentRequests
from fleetfit_runtime.ratings.source import SourceNamer
from fleetfit_runtime.ratings.summary import ratings_moved
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SALT = b"s" * 32
FULL = {
    "id": "r1",
    "score": 1,
    "user": "u",
    "request_id": "q",
    "variant": "fp32",
    "correct": False,
    "context": {"app": "x", "step": 3, "share": 0.5, "night": True},
    "at": 1_700_000_000,
}


def test_a_full_rating_is_taken_as_it_is() -> None:
    rating = parse_rating(FULL)
    assert (rating.score, rating.at_s, rating.correct) == (1.0, 1_700_000_000.0, False)
    assert dict(rating.context) == FULL["context"]
    assert parse_rating({"id": "r", "score": 0, "at": "2023-11-14T22:13:20Z"}).at_s == 1_700_000_000.0


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"id": None}, "id"),
        ({"id": ""}, "id"),
        ({"id": "x" * 129}, "id"),
        ({"id": 7}, "id"),
        ({"score": "1"}, "score"),
        ({"score": True}, "score"),
        ({"score": None, "correct": None}, "needs a score, a label or correct"),
        ({"score": float("nan")}, "score"),
        ({"user": ""}, "user"),
        ({"user": "x" * 257}, "user"),
        ({"request_id": 3}, "request_id"),
        ({"request_id": None, "correct": None, "label": 3}, "a label needs the request_id"),
        ({"label": 3}, "label or correct, not both"),
        ({"label": -1, "correct": None}, "label"),
        ({"label": "cat", "correct": None}, "label"),
        ({"correct": "yes"}, "correct"),
        ({"context": {str(index): 1 for index in range(9)}}, "context"),
        ({"context": {"x": [1]}}, "context"),
        ({"context": {"x": "y" * 129}}, "context"),
        ({"context": {"x" * 65: 1}}, "context"),
        ({"context": "x"}, "context"),
        ({"at": "yesterday"}, "at"),
        ({"at": "2023-11-14T22:13:20"}, "offset"),
        ({"at": []}, "at"),
        ({"scores": 1}, "scores"),
    ],
)
def test_a_wrong_rating_is_refused_with_its_field(over: dict[str, object], message: str) -> None:
    with pytest.raises(RatingError, match=message):
        parse_rating(FULL | over)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from([*FULL, "label", "other"]), st.from_type(object) | st.text() | st.floats()
    )
)
def test_anything_is_a_rating_or_a_sentence(document: dict[str, object]) -> None:
    with contextlib.suppress(RatingError):
        assert parse_rating(document).id == document["id"]


def test_sources_are_users_or_else_places() -> None:
    namer = SourceNamer(SALT, [])
    anonymous = namer.name("10.0.0.1", None)
    assert anonymous.key == anonymous.peer
    user = namer.name("10.0.0.1", "u")
    assert user.key != anonymous.key
    assert user.peer == anonymous.peer
    assert namer.name("10.0.0.2", "u").key == user.key
    assert SourceNamer(b"t" * 32, []).name("10.0.0.1", "u").key != user.key


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "::ffff:10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("", "no address", True),
    ],
)
def test_a_place_is_an_ipv4_address_or_an_ipv6_network(one: str, other: str, same: bool) -> None:
    namer = SourceNamer(SALT, [])
    assert (namer.name(one, None) == namer.name(other, None)) is same


def test_a_trusted_place_does_not_bound_its_users() -> None:
    namer = SourceNamer(SALT, [ip_network("10.0.0.0/8"), ip_network("fd00::/8")])
    assert namer.name("10.1.2.3", "u").peer == ""
    assert namer.name("::ffff:10.1.2.3", "u").peer == ""
    assert namer.name("fd00::1", "u").peer == ""
    assert namer.name("11.0.0.1", "u").peer != ""
    assert namer.name("", "u").peer != ""


def test_requests_are_remembered_until_newer_ones_push_them_out() -> None:
    requests = RecentRequests(most=3)
    answers = [AnsweredRequest(f"v{index}", "a" * 64, 0.0, 0.1, None) for index in range(4)]
    for index, answer in enumerate(answers):
        requests.note("m", f"q{index}", answer)
    assert requests.find("m", "q0") is None
    assert requests.find("m", "q3") == answers[3]
    assert requests.find("other", "q3") is None
    requests.note("m", "q1", answers[0])
    assert requests.find("m", "q1") == answers[0]
    requests.note("m", "x" * 129, answers[0])
    assert requests.find("m", "x" * 129) is None


def test_a_source_is_asked_once_an_hour() -> None:
    now_s = [0.0]
    asker = Asker(random.Random(1), lambda: now_s[0])
    assert asker.wants(lambda: "u", 1.0)
    now_s[0] = 3599.0
    assert not asker.wants(lambda: "u", 1.0)
    assert asker.wants(lambda: "v", 1.0)
    now_s[0] = 3600.0
    assert asker.wants(lambda: "u", 1.0)


def test_the_share_of_replies_that_ask_is_the_share() -> None:
    asker = Asker(random.Random(7), lambda: 0.0, most_sources=100_000)
    asked = sum(asker.wants(partial(str, index), 0.05) for index in range(20_000))
    assert 900 < asked < 1100
    assert not any(asker.wants(partial(str, -index), 0.0) for index in range(1000))


def test_asking_from_many_threads_asks_once() -> None:
    asker = Asker(random.Random(1), lambda: 0.0)
    yes: list[int] = []

    def ask() -> None:
        yes.extend(1 for _ in range(500) if asker.wants(lambda: "u", 1.0))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(yes) == 1


def summary(voices: float = 5.0, score: float = 0.5, **over: object) -> RatingSummary:
    values = {"variant": "a", "sha256": "a" * 64, "voices": voices, "score": score}
    return RatingSummary.model_validate(values | over)


@pytest.mark.parametrize(
    ("after", "news"),
    [
        ([summary(5.9, 0.515)], False),
        ([summary(6.0)], True),
        ([summary(4.0)], True),
        ([summary(score=0.53)], True),
        ([summary(sha256="b" * 64)], True),
        ([summary(), summary(variant="b")], True),
        ([], True),
        ([summary(accuracy=0.5, labels=1)], True),
        ([summary(latency_p95_seconds=0.1)], False),
    ],
)
def test_summaries_are_news_when_they_could_matter(after: list[RatingSummary], news: bool) -> None:
    assert ratings_moved([summary()], after) is news
