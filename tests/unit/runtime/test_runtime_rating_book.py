"""The rules of the book: ids count once, a source has one voice, voices age, and nothing grows without bound."""

import json
import math
import random

import pytest
from fleetfit_api.model_status import RatingSummary
from fleetfit_runtime.ratings.book import Outcome, Rating, RatingBook, RatingTerms
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

T0 = 1_000_000.0
HOUR, DAY = 3600.0, 86_400.0
SHA = {"a": "a" * 64, "b": "b" * 64}
FREE = RatingTerms(per_hour=10_000, per_day=10_000)


def rating(number: object, source: str = "u", score: float | None = 0.5, **over: object) -> Rating:
    values: dict[str, object] = {
        "id": f"id-{number}",
        "source": source,
        "score": score,
        "variant": "a",
        "sha256": SHA.get(str(over.get("variant", "a")), "d" * 64),
        "at_s": T0,
    }
    return Rating(**(values | over))  # type: ignore[arg-type]  # the overrides are typed by their test


def said(book: RatingBook, now_s: float = T0, variant: str = "a") -> RatingSummary:
    return next(each for each in book.summaries(now_s) if each.variant == variant)


def crowd(book: RatingBook, count: int, score: float, prefix: str = "c", variant: str = "a") -> None:
    for index in range(count):
        one = rating(f"{prefix}{index}", f"{prefix}{index}", score, variant=variant)
        assert book.add(one, T0) is Outcome.ACCEPTED


def test_a_voice_is_the_mean_of_the_last_three_ratings() -> None:
    book = RatingBook(RatingTerms())
    for index, score in enumerate([0.0, 0.9, 0.6, 0.3]):
        book.add(rating(index, score=score), T0)
    assert said(book).score == pytest.approx(0.6)
    assert said(book).voices == 1.0


def test_a_repeated_id_changes_nothing() -> None:
    book = RatingBook(RatingTerms())
    assert book.add(rating(1, score=1.0), T0) is Outcome.ACCEPTED
    before = book.dump()
    assert book.add(rating(1, "another", score=0.0), T0 + 60) is Outcome.DUPLICATE
    assert book.dump() == before


@pytest.mark.parametrize(
    ("score", "kept"), [(7.0, 1.0), (-1.0, 0.0), (math.inf, 1.0), (-math.inf, 0.0), (math.nan, 0.0)]
)
def test_scores_are_clipped(score: float, kept: float) -> None:
    book = RatingBook(RatingTerms())
    book.add(rating(1, score=score), T0)
    assert said(book).score == kept


def test_a_source_is_limited_per_hour_and_per_day_and_may_try_again_with_the_same_id() -> None:
    book = RatingBook(RatingTerms(per_hour=2, per_day=3))
    took = [book.add(rating(index, at_s=T0), T0 + index) for index in range(3)]
    assert took == [Outcome.ACCEPTED, Outcome.ACCEPTED, Outcome.LIMITED]
    assert book.wait_s("u", "", T0 + 10) == HOUR - 10
    assert book.add(rating(2, at_s=T0 + HOUR), T0 + HOUR + 1) is Outcome.ACCEPTED
    assert book.add(rating(3, at_s=T0 + 3 * HOUR), T0 + 3 * HOUR) is Outcome.LIMITED
    assert book.wait_s("u", "", T0 + 3 * HOUR) == DAY - 3 * HOUR
    assert book.add(rating(3, at_s=T0 + DAY), T0 + DAY) is Outcome.ACCEPTED
    assert book.add(rating("other", "v", at_s=T0 + DAY), T0 + DAY) is Outcome.ACCEPTED


def test_a_clock_that_went_back_limits_nobody_for_years() -> None:
    book = RatingBook(RatingTerms(per_hour=1))
    book.add(rating(1, at_s=T0 + 1000 * DAY), T0 + 1000 * DAY)
    assert book.add(rating(2), T0) is Outcome.ACCEPTED


def test_a_late_rating_does_not_count() -> None:
    book = RatingBook(RatingTerms())
    assert book.add(rating(1, at_s=T0 - HOUR - 1), T0) is Outcome.LATE
    assert book.summaries(T0) == []
    assert book.add(rating(1, at_s=T0 - HOUR + 1), T0) is Outcome.ACCEPTED


def test_a_new_file_begins_anew_and_the_old_one_is_late() -> None:
    book = RatingBook(RatingTerms())
    crowd(book, 5, 0.2)
    assert book.add(rating("new", "n", 0.9, sha256="c" * 64, at_s=T0 + 1), T0 + 1) is Outcome.ACCEPTED
    assert (
        said(book).model_dump() | {"score": 0.9, "voices": 1.0, "sha256": "c" * 64} == said(book).model_dump()
    )
    assert book.add(rating("old", "o", 0.1, at_s=T0), T0 + 2) is Outcome.LATE


def test_a_voice_counts_half_after_25_others_and_after_14_days() -> None:
    book = RatingBook(RatingTerms())
    book.add(rating("first", "first", 1.0), T0)
    crowd(book, 25, 0.5, variant="b")
    assert said(book).voices == pytest.approx(0.5)
    assert said(book, T0 + 14 * DAY).voices == pytest.approx(0.25)


def test_one_source_on_many_variants_makes_others_older_by_one() -> None:
    book = RatingBook(FREE)
    book.add(rating("first", "first", 1.0), T0)
    for index in range(100):
        book.add(rating(f"x{index}", "x", 0.0, variant=f"v{index % 9}"), T0)
    assert said(book).voices == pytest.approx(0.5 ** (1 / 25))


def test_nobody_makes_their_own_voice_older() -> None:
    book = RatingBook(RatingTerms())
    book.add(rating(1), T0)
    book.add(rating(2, variant="b"), T0)
    assert said(book).voices == said(book, variant="b").voices == 1.0


def test_thirty_users_turn_the_verdict_of_a_thousand() -> None:
    book = RatingBook(RatingTerms())
    crowd(book, 1000, 0.9, "before")
    assert said(book).score == pytest.approx(0.9)
    crowd(book, 30, 0.1, "after")
    assert said(book).score < 0.4


def test_a_thousand_ratings_of_one_source_are_one_voice() -> None:
    book = RatingBook(FREE)
    crowd(book, 10, 0.9)
    for index in range(1000):
        book.add(rating(f"f{index}", "forger", 0.0), T0)
    others = 10 * 0.9
    assert said(book).voices < 11
    assert said(book).score > (others - 1) / 11


def test_made_up_users_of_one_address_have_four_voices_together() -> None:
    book = RatingBook(FREE)
    crowd(book, 20, 0.9)
    before = said(book)
    for index in range(1000):
        book.add(rating(f"f{index}", f"made-up-{index}", 0.0, peer="p"), T0)
    after = said(book)
    honest = before.voices * 0.5 ** (4 / 25)
    assert honest < after.voices <= before.voices + 4
    assert after.score > 0.9 * honest / (honest + 4)


def test_an_address_may_place_four_times_the_ratings_of_a_source() -> None:
    book = RatingBook(RatingTerms())
    outcomes = [book.add(rating(index, f"u{index}", peer="p"), T0) for index in range(30)]
    assert outcomes.count(Outcome.ACCEPTED) == 24
    assert set(outcomes[24:]) == {Outcome.LIMITED}


def test_labels_make_an_accuracy_and_leave_the_score_alone() -> None:
    book = RatingBook(RatingTerms())
    for index, correct in enumerate([True, True, False]):
        book.add(rating(index, f"u{index}", None, label_correct=correct), T0)
    summary = said(book)
    assert summary.accuracy is not None
    assert summary.accuracy == pytest.approx(2 / 3, abs=0.02)
    assert (summary.labels, summary.voices) == (3, 0.0)


def test_latency_is_what_the_worst_served_users_met() -> None:
    book = RatingBook(RatingTerms())
    for index in range(40):
        book.add(rating(index, f"u{index}", latency_s=0.5 if index % 10 == 0 else 0.01), T0)
    assert said(book).latency_p95_seconds == 0.5
    silent = RatingBook(RatingTerms())
    silent.add(rating(1), T0)
    assert said(silent).latency_p95_seconds == 0.0


ratings = st.builds(
    rating,
    number=st.integers(0, 40),
    source=st.sampled_from([f"u{index}" for index in range(8)]),
    score=st.one_of(st.none(), st.floats(-2, 2)),
    variant=st.sampled_from(["a", "b"]),
    at_s=st.floats(T0 - 2 * HOUR, T0 + HOUR),
    latency_s=st.floats(0, 10),
    label_correct=st.sampled_from([None, True, False]),
    peer=st.sampled_from(["", "p", "q"]),
)
histories = st.lists(ratings, max_size=60)


def played(book: RatingBook, history: list[Rating]) -> RatingBook:
    for index, one in enumerate(history):
        book.add(one, T0 + index)
    return book


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories)
def test_sending_everything_again_changes_nothing(history: list[Rating]) -> None:
    book = RatingBook(RatingTerms())
    accepted = [one for one in history if book.add(one, T0) is Outcome.ACCEPTED]
    before = book.dump()
    for one in (*reversed(accepted), *accepted):
        assert book.add(one, T0 + 5) is Outcome.DUPLICATE
    assert book.dump() == before


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories, histories)
def test_a_dump_is_json_and_a_loaded_book_goes_on_alike(history: list[Rating], further: list[Rating]) -> None:
    book = played(RatingBook(RatingTerms()), history)
    again = RatingBook(RatingTerms())
    again.load(json.loads(json.dumps(book.dump())))
    assert again.dump() == book.dump()
    assert played(again, further).dump() == played(book, further).dump()
    assert again.summaries(T0 + DAY) == book.summaries(T0 + DAY)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.lists(ratings, min_size=1, max_size=60))
def test_one_source_moves_a_mean_by_no_more_than_its_voice(scores: list[float], sent: list[Rating]) -> None:
    book = RatingBook(FREE)
    for index, score in enumerate(scores):
        book.add(rating(f"honest-{index}", f"honest-{index}", score), T0)
    before = said(book)
    for index, one in enumerate(sent):
        book.add(rating(f"f{index}", "forger", one.score, latency_s=one.latency_s), T0)
    after = said(book)
    assert after.voices <= before.voices + 1
    assert abs(after.score - before.score) <= 1 / after.voices + 1e-9


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories)
def test_summaries_are_within_their_bounds_and_only_of_files_that_were_rated(history: list[Rating]) -> None:
    book = played(RatingBook(RatingTerms()), history)
    for summary in book.summaries(T0 + HOUR):
        assert 0 <= summary.score <= 1
        assert 0 <= summary.voices <= 8
        assert summary.sha256 == SHA[summary.variant]


def test_size_is_bounded_whatever_comes() -> None:
    terms = RatingTerms(
        per_hour=9, per_day=9, voices_per_variant=6, variants=3, sources=10, ids=50, half_life_voices=2
    )
    book = RatingBook(terms)
    rng = random.Random(1)
    for index in range(2000):
        sent = rating("x" * 500 + str(index), f"u{index}", rng.random(), variant=f"v{rng.randrange(30)}")
        book.add(sent, T0)
    dump = book.dump()
    assert (len(dump["ids"]), len(dump["turns"]), len(dump["sources"])) == (50, 20, 10)
    assert len(dump["variants"]) == 3
    assert all(len(each["voices"]) <= 6 for each in dump["variants"])
    assert len(json.dumps(dump)) < 10_000


@pytest.mark.parametrize(
    "damage",
    [
        None,
        [],
        {},
        {"ids": 3},
        {"variants": [{"variant": "a", "sha256": "a" * 64, "voices": [{"source": "s"}]}]},
        {"sources": {"u": ["soon"]}},
    ],
)
def test_what_is_no_dump_is_refused_and_changes_nothing(damage: object) -> None:
    book = RatingBook(RatingTerms())
    crowd(book, 3, 0.5)
    before = book.dump()
    with pytest.raises(ValueError, match="not a dump"):
        book.load(before | damage if isinstance(damage, dict) and damage else damage)
    assert book.dump() == before


def test_a_dump_with_too_much_is_cut_to_the_bounds() -> None:
    large = RatingBook(RatingTerms())
    crowd(large, 60, 0.5)
    small = RatingBook(RatingTerms(voices_per_variant=5, ids=7, sources=9))
    small.load(large.dump())
    dump = small.dump()
    assert (len(dump["variants"][0]["voices"]), len(dump["ids"]), len(dump["sources"])) == (5, 7, 9)
