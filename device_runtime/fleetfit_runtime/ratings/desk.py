"""Takes the ratings of all models of the node: finds what is rated and by whom, and keeps the books and the journal.

It knows neither HTTP nor Kubernetes. The books change on the event loop; the disk is written in a thread, a moment
later and many ratings at once, so a power cut can take the last seconds of ratings.
"""

import asyncio
import logging
import secrets
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from fleetfit_api.model_status import RatingSummary

from fleetfit_runtime.ratings.ask import Asker
from fleetfit_runtime.ratings.book import Outcome, Rating, RatingBook, RatingTerms
from fleetfit_runtime.ratings.given import GivenRating, RatingError
from fleetfit_runtime.ratings.journal import JournalEntry, RatingJournal, Recovered, Snapshot
from fleetfit_runtime.ratings.recent_requests import AnsweredRequest, RecentRequests
from fleetfit_runtime.ratings.source import Network, SourceNamer

logger = logging.getLogger(__name__)

REFUSED: Final = "refused"
_SALT_BYTES = 32
# A node has at most this many models at a time; a model that comes back finds its ratings while they are kept.
_MOST_BOOKS = 64
_MOST_UNWRITTEN = 4096
_COLLECT_S = 2.0
_AFTER_FAILURE_S = 60.0


class RatedModel(Protocol):
    """What answers under a name: a variant and the digest of its file."""

    @property
    def name(self) -> str:
        """Name in the Open Inference Protocol."""

    @property
    def variant(self) -> str:
        """Name of the variant."""

    @property
    def sha256(self) -> str:
        """Digest of its file."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a rating, and for a limited one after how many seconds it may be sent again."""

    outcome: Outcome
    wait_s: float = 0.0


class RatingDesk:
    """Takes ratings.

    Args:
        journal: what survives a restart.
        asker: draws whom to ask.
        trusted: networks whose declared users are believed.
        now_s: the wall clock in seconds.
        terms: the numbers of the rules.
    """

    def __init__(
        self,
        journal: RatingJournal,
        asker: Asker,
        trusted: Sequence[Network],
        now_s: Callable[[], float],
        terms: RatingTerms | None = None,
    ) -> None:
        self._journal = journal
        self._asker = asker
        self._trusted = trusted
        self._now_s = now_s
        self._terms = terms or RatingTerms()
        self._requests = RecentRequests()
        self._books: OrderedDict[str, RatingBook] = OrderedDict()
        self._unwritten: deque[JournalEntry] = deque(maxlen=_MOST_UNWRITTEN)
        self._work = asyncio.Event()
        self._salt = secrets.token_bytes(_SALT_BYTES)
        self._salt_is_written = False
        self._namer = SourceNamer(self._salt, trusted)
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.asks: Counter[str] = Counter()

    # requests

    def note(self, model: RatedModel, request_id: str, latency_s: float, predicted_class: int | None) -> None:
        """Remember what a request got a moment ago, so that a rating can name it."""
        answered = AnsweredRequest(model.variant, model.sha256, self._now_s(), latency_s, predicted_class)
        self._requests.note(model.name, request_id, answered)

    def wants_rating(self, model: str, share: float, address: str, user: str | None) -> bool:
        """Tell whether to ask for a rating of the reply that is being made; may be called from any thread."""
        if not self._asker.wants(lambda: self._namer.name(address, user).key, share):
            return False
        self.asks[model] += 1
        return True

    # ratings

    def rate(self, model: RatedModel, given: GivenRating, address: str) -> Verdict:
        """Take a rating.

        Raises:
            RatingError: it says something that cannot be.
        """
        verdict = self._rate(model, given, address)
        self.outcomes[model.name, verdict.outcome] += 1
        return verdict

    def count_refused(self, model: str) -> None:
        """Count a rating that could not be taken as given."""
        self.outcomes[model, REFUSED] += 1

    def summaries(self, model: str) -> list[RatingSummary]:
        """Return what users say of a model's variants."""
        book = self._books.get(model)
        return [] if book is None else book.summaries(self._now_s())

    def all_summaries(self) -> dict[str, list[RatingSummary]]:
        """Return what users say, by model name."""
        return {model: self.summaries(model) for model in self._books}

    def forget_counts(self, model: str) -> None:
        """Drop the counts of a model that is no longer assigned."""
        self.asks.pop(model, None)
        for key in [key for key in self.outcomes if key[0] == model]:
            del self.outcomes[key]

    def _rate(self, model: RatedModel, given: GivenRating, address: str) -> Verdict:
        now_s = self._now_s()
        book = self._book(model.name)
        rated = self._rated(model, given, now_s)
        if rated is None:
            return Verdict(Outcome.LATE)
        source = self._namer.name(address, given.user)
        rating = Rating(
            id=given.id,
            source=source.key,
            score=None if given.score is None else min(1.0, max(0.0, given.score)),
            variant=rated.variant,
            sha256=rated.sha256,
            at_s=rated.at_s,
            latency_s=rated.latency_s,
            label_correct=_is_correct(given, rated),
            peer=source.peer,
        )
        outcome = book.add(rating, now_s)
        if outcome is Outcome.LIMITED:
            return Verdict(outcome, book.wait_s(rating.source, rating.peer, now_s))
        if outcome is Outcome.ACCEPTED:
            self._unwritten.append(
                JournalEntry(model=model.name, received_s=now_s, rating=rating, context=dict(given.context))
            )
            self._work.set()
        return Verdict(outcome)

    def _rated(self, model: RatedModel, given: GivenRating, now_s: float) -> AnsweredRequest | None:
        """Return what is rated; None when it is too late to tell, or for it to matter."""
        if given.request_id is not None:
            answered = self._requests.find(model.name, given.request_id)
            if answered is not None:
                return _still_counts(model, given, answered)
            if given.variant is None:
                return None
        variant = given.variant or model.variant
        if variant == model.variant:
            return AnsweredRequest(variant, model.sha256, min(given.at_s, now_s), 0.0, None)
        if self._book(model.name).knows(variant):
            return None
        raise RatingError(f"model {model.name!r} has no variant {variant!r}; it has {model.variant!r}")

    def _book(self, model: str) -> RatingBook:
        book = self._books.pop(model, None) or RatingBook(self._terms)
        self._books[model] = book
        while len(self._books) > _MOST_BOOKS:
            self._books.popitem(last=False)
        return book

    # disk

    def recover(self) -> None:
        """Take over what the disk holds; blocks, and comes before the first rating."""
        recovered = self._journal.read()
        if recovered.snapshot is not None:
            self._take(recovered.snapshot)
        self._replay(recovered)

    async def run(self) -> None:
        """Write down what comes, until cancelled."""
        pause_s = _COLLECT_S
        while True:
            await self._work.wait()
            self._work.clear()
            await asyncio.sleep(pause_s)
            pause_s = _COLLECT_S if await self.flush() else _AFTER_FAILURE_S

    async def flush(self) -> bool:
        """Write down what has come; return False if the disk refuses, and keep it then."""
        if not self._unwritten:
            return True
        entries = list(self._unwritten)
        self._unwritten.clear()
        try:
            if not self._salt_is_written:
                await self._write_snapshot()
            await asyncio.to_thread(self._journal.append, entries)
            if self._journal.wants_snapshot:
                await self._write_snapshot()
        except OSError as error:
            logger.error("ratings cannot be written", extra={"error": str(error)})
            self._unwritten.extendleft(reversed(entries))
            self._work.set()
            return False
        return True

    async def _write_snapshot(self) -> None:
        books = {model: book.dump() for model, book in self._books.items()}
        await asyncio.to_thread(self._journal.replace, Snapshot(salt=self._salt.hex(), books=books))
        self._salt_is_written = True

    def _take(self, snapshot: Snapshot) -> None:
        self._salt = bytes.fromhex(snapshot.salt)
        self._salt_is_written = True
        self._namer = SourceNamer(self._salt, self._trusted)
        for model, dumped in snapshot.books.items():
            try:
                self._book(model).load(dumped)
            except ValueError as error:
                logger.warning("ratings are damaged", extra={"model": model, "error": str(error)})

    def _replay(self, recovered: Recovered) -> None:
        for entry in recovered.entries:
            self._book(entry.model).add(entry.rating, entry.received_s)


def _still_counts(model: RatedModel, given: GivenRating, answered: AnsweredRequest) -> AnsweredRequest | None:
    if given.variant not in (None, answered.variant):
        raise RatingError(
            f"request {given.request_id!r} was answered by {answered.variant!r}, not by {given.variant!r}"
        )
    replaced = answered.variant == model.variant and answered.sha256 != model.sha256
    return None if replaced else answered


def _is_correct(given: GivenRating, rated: AnsweredRequest) -> bool | None:
    if given.label is None:
        return given.correct
    if rated.predicted_class is None:
        raise RatingError(f"no class is known of request {given.request_id!r}; give correct instead of label")
    return given.label == rated.predicted_class
